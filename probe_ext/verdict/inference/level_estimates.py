"""One row for each level: what was measured, what is proven, and if nothing is, why and how many replies would."""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.dispersion import PRIOR
from probe_ext.verdict.inference.level_evidence import LevelEvidence
from probe_ext.verdict.inference.observations import MAX_BLOCKS, Level
from probe_ext.verdict.inference.quantiles import (
    divergence,
    replies_to_prove,
    score_limits,
    signed_root,
    student_quantile,
)
from probe_ext.verdict.inference.user_differences import split_users, user_residuals
from probe_ext.verdict.values.capacity_estimate import Criteria, LevelEstimate, Reason, UserGroup

MAX_SECONDS_NEEDED = 3600.0
"""A level that needs more than another hour is too near the limit to settle."""
MAX_CYCLES, MANY_USERS = 10_000, 1000
MOST_DEMANDING = 0.98
"""a served share up to here can be proven, whatever else"""


def level_estimates(evidence: LevelEvidence, criteria: Criteria) -> tuple[LevelEstimate, ...]:
    """Describe every level, by rising users."""
    low, high = score_limits(evidence.counts.good, evidence.counts.of, evidence.critical)
    return tuple(
        _describe(i, level, (float(low[i]), float(high[i])), evidence, criteria)
        for i, level in enumerate(evidence.levels)
    )


def _describe(
    i: int, level: Level, limits: tuple[float, float], evidence: LevelEvidence, criteria: Criteria
) -> LevelEstimate:
    proven = evidence.held[i] or evidence.failed[i]
    needed = None if proven else _replies_needed(i, level, evidence, criteria)
    reply_seconds = level.seconds / level.replies
    if needed is not None and needed * reply_seconds > MAX_SECONDS_NEEDED:
        needed = None
    differ = evidence.comparison.differ
    return LevelEstimate(
        users=level.users,
        visits=len(level.visits),
        replies=level.replies,
        seconds=level.seconds,
        served_share=level.served / level.replies,
        share_low=limits[0],
        share_high=limits[1],
        share_fit=float(evidence.fit[i]),
        broken_share=level.broken / level.replies,
        broken_high=float(evidence.broken.high[i]),
        state="held" if evidence.held[i] else "failed" if evidence.failed[i] else "unproven",
        reasons=() if proven else _reasons(i, evidence, criteria),
        users_differ=differ,
        worse_group=_worse_group(level) if differ else None,
        replies_needed=needed,
        seconds_needed=needed * reply_seconds if needed is not None and reply_seconds > 0 else None,
        people=level.people if level.people != level.users else None,
    )


def _replies_needed(i: int, level: Level, evidence: LevelEvidence, criteria: Criteria) -> int | None:
    """Further replies after which the level would probably be proven, if its fitted share is the true one.

    None if replies alone would not prove it: users differ, visits disagree, or the share is at the limit. However long
    they take: `_describe` drops what would take more than MAX_SECONDS_NEEDED.
    """
    share, phi = float(evidence.fit[i]), float(evidence.counts.phi[i])
    not_for_want_of_replies = bool(evidence.disturbed[i] or evidence.contradicting[i] or evidence.outvoted[i])
    if not_for_want_of_replies or not evidence.served_alike[i] or level.users in evidence.drift:
        return None
    distance = float(divergence(share, criteria.served_share))
    in_all = phi * float(replies_to_prove(share, criteria.served_share, evidence.critical))
    if share >= criteria.served_share and not evidence.broken.allows_holding[i]:
        in_all = max(in_all, float(evidence.broken.replies_to_allow[i]))
    if not np.isfinite(in_all):
        return None
    # Half a reply of continuity correction: it draws the share towards the limit by that much less per reply.
    correction = 0.5 * abs(float(np.log(_odds(share) / _odds(criteria.served_share)))) / distance
    return max(1, int(np.ceil(in_all + correction)) - level.replies)


def _odds(share: float) -> float:
    within = min(max(share, 1e-3), 1 - 1e-3)
    return within / (1 - within)


def _reasons(i: int, evidence: LevelEvidence, criteria: Criteria) -> tuple[Reason, ...]:
    """Return why a level is unproven, the reason to name first: that users differ is none where replies are too few."""
    in_number = _too_few_or_too_close(i, evidence, criteria)
    known: dict[Reason, bool] = {
        "needs_second_visit": bool(evidence.disturbed[i]),
        "visits_disagree": evidence.levels[i].users in evidence.drift,
        "contradicts_higher_level": bool(evidence.contradicting[i] or evidence.outvoted[i]),
        "too_few_replies": in_number == "too_few_replies" and not evidence.served_alike[i],
        "users_differ": not evidence.served_alike[i],
        "broken_bound": not evidence.broken.allows_holding[i],
    }
    reasons = tuple(reason for reason, applies in known.items() if applies)
    return reasons or (in_number,)


def _too_few_or_too_close(i: int, evidence: LevelEvidence, criteria: Criteria) -> Reason:
    """Too few replies: not even if all had been served would they have proven the level."""
    of, phi = evidence.counts.of[i : i + 1], float(evidence.counts.phi[i])
    at_best = float(signed_root(of, of, criteria.served_share, 0.5 / phi)[0])
    return "too_few_replies" if at_best <= evidence.critical else "too_close"


def _worse_group(level: Level) -> UserGroup | None:
    mixture = split_users(user_residuals(level.visits)) if level.people > 1 else None
    if mixture is None:
        return None
    return UserGroup(mixture.worse_at_once(level), mixture.worse_share, mixture.others_share)


@dataclass(frozen=True)
class LeastProof:
    """The shortest proof that a level can have by itself."""

    replies: int
    seconds: float
    """of the measured part; settling is not included"""


def least_proof(users: int, reply_cycle_seconds: float, criteria: Criteria | None = None) -> LeastProof | None:
    """Return the shortest proof, in whole cycles of one reply a user; None where no reasonable time is enough.

    It takes least if every reply is served. With nothing unserved a run says nothing of its dispersion, so the one
    assumed beforehand counts.
    """
    wanted = criteria or Criteria()
    cycles = np.arange(1, MAX_CYCLES + 1)
    replies, blocks = cycles * float(users), np.minimum(cycles, MAX_BLOCKS)
    worth = replies / PRIOR.factor(replies / blocks, blocks)
    roots = signed_root(worth, worth, wanted.served_share, 0.5 * worth / replies)
    proven = np.flatnonzero(roots > student_quantile(1 - wanted.error, PRIOR.nu))
    least = int(cycles[proven[0]]) if len(proven) else None
    return None if least is None else LeastProof(least * users, least * reply_cycle_seconds)


def is_provable(criteria: Criteria) -> bool:
    """Whether a run of reasonable length could prove that many users are served, if every reply is."""
    return criteria.served_share <= MOST_DEMANDING or least_proof(MANY_USERS, 0.0, criteria) is not None

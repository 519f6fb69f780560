"""One row for each level: what was measured, what is proven, and if nothing is, why and how many replies would."""

import numpy as np

from probe_ext.verdict.inference.level_evidence import LevelEvidence
from probe_ext.verdict.inference.observations import Level
from probe_ext.verdict.inference.quantiles import divergence, replies_to_prove, score_limits, signed_root
from probe_ext.verdict.inference.user_differences import split_users, user_residuals
from probe_ext.verdict.values.capacity_estimate import Criteria, LevelEstimate, Reason, UserGroup
from probe_ext.verdict.values.json_types import State

MAX_SECONDS_NEEDED = 3600.0
"""A level that needs more than another hour is too near the limit to settle."""


def level_estimates(evidence: LevelEvidence, criteria: Criteria) -> tuple[LevelEstimate, ...]:
    """Describe every level, by rising users."""
    return tuple(_describe(i, level, evidence, criteria) for i, level in enumerate(evidence.levels))


def _describe(i: int, level: Level, evidence: LevelEvidence, criteria: Criteria) -> LevelEstimate:
    state: State = "held" if evidence.held[i] else "failed" if evidence.failed[i] else "unproven"
    counts = evidence.counts
    low, high = score_limits(counts.good[i : i + 1], counts.of[i : i + 1], evidence.bounds.proof)
    needed = _replies_needed(i, level, evidence, criteria) if state == "unproven" else None
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
        share_low=float(low[0]),
        share_high=float(high[0]),
        share_fit=float(evidence.fit[i]),
        broken_share=level.broken / level.replies,
        broken_high=float(evidence.broken.high[i]),
        state=state,
        reasons=_reasons(i, evidence, criteria) if state == "unproven" else (),
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
    in_all = phi * float(replies_to_prove(share, criteria.served_share, evidence.bounds.proof))
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
    return "too_few_replies" if at_best <= evidence.bounds.proof else "too_close"


def _worse_group(level: Level) -> UserGroup | None:
    mixture = split_users(user_residuals(level.visits)) if level.people > 1 else None
    if mixture is None:
        return None
    return UserGroup(mixture.worse_at_once(level), mixture.worse_share, mixture.others_share)

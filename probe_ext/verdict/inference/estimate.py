"""One estimator: how many users are served, and how sure that is.

State, interval, bracket, sentence, gate and search all come from here, so they can't disagree. Of an open stream, the
rate takes the place of the users, in thousandths of a request per second; each arrival is then a person of its own.

The steps:

1. `observations`: which replies count; visits, levels and blocks of about one reply a user.
2. `dispersion`: what a reply is worth, as replies of one moment share one fate.
3. `disturbances`, `user_differences`: what must not be taken for an answer to the load.
4. `level_proofs`: which levels are proven to hold or to fail, with the help of their neighbours.
5. `capacity_curve`: where between the levels the served share crosses the limit.

`level_evidence` takes steps 1 to 4, this module the last; `level_estimates` says what each level shows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.rate import in_unit_of
from probe_ext.verdict.inference.capacity_curve import Crossing, fit_crossing, monotone_crossing
from probe_ext.verdict.inference.level_estimates import level_estimates
from probe_ext.verdict.inference.level_evidence import LevelEvidence, gather
from probe_ext.verdict.inference.level_proofs import gaps_of_crossing
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.inference.user_differences import split_users
from probe_ext.verdict.values.capacity_estimate import (
    CapacityEstimate,
    Criteria,
    Dispersion,
    GroupCapacity,
    LevelEstimate,
    Suggestion,
)
from probe_ext.verdict.values.json_types import Bracket, Interval

ON_THE_WAY = (0.10, 0.98)
"""served shares of a level that shows where the share falls"""
GAP_DEVIANCE = 1.0
"""the interval covers the gaps between levels whose deviance is at most so much above the best gap's"""


def estimate(
    visits: Sequence[Visit], criteria: Criteria | None = None, *, critical: float | None = None
) -> CapacityEstimate:
    """Estimate the capacity from judged replies.

    `critical`: standard errors that a proof takes where dispersion is well known, for a search that looks repeatedly;
    otherwise Student's t at `criteria.error`.
    """
    return _estimate(visits, criteria or Criteria(), critical)


def _estimate(visits: Sequence[Visit], criteria: Criteria, critical: float | None) -> CapacityEstimate:
    evidence = gather(visits, criteria, critical)
    placed = _place(evidence, criteria)
    levels = level_estimates(evidence, criteria)
    return CapacityEstimate(
        levels=levels,
        estimate=placed.point,
        interval=placed.interval,
        bracket=placed.bracket,
        served_users=placed.served,
        suggestion=_suggestion(evidence, levels, placed, criteria),
        dispersion=_dispersion(evidence, criteria),
        drift=evidence.drift,
        contradictions=evidence.users_at(evidence.contradicting),
        disturbed=evidence.users_at(evidence.visits_left_out),
        users_differ=evidence.comparison.differ,
        groups=_groups(evidence, levels, criteria),
        placed_by_curve=placed.by_curve,
        unsteady=evidence.unsteady,
        uneven=evidence.uneven,
    )


@dataclass(frozen=True)
class _Place:
    """Where the capacity lies. Users."""

    bracket: Bracket
    point: float | None
    served: int | None
    interval: Interval | None
    by_curve: bool


def _place(evidence: LevelEvidence, criteria: Criteria) -> _Place:
    """Place the crossing: by a curve if one falling curve may describe all replies, else between levels."""
    limit, users, broken = criteria.served_share, evidence.users, bool(evidence.broken.above.any())
    held = max(evidence.users_at(evidence.held), default=None)
    failed = min(evidence.users_at(evidence.failed), default=None)
    one_curve = not (evidence.comparison.differ or broken or evidence.contradicting.any())
    curve = (
        fit_crossing(users, evidence.sound, evidence.fit, limit, evidence.critical, evidence.pooled.nu)
        if one_curve
        else None
    )
    point = curve.point if curve else monotone_crossing(users, evidence.fit, limit)
    if evidence.comparison.differ or broken:
        point = None
    if point is not None:
        point = float(np.clip(point, held or 0, np.inf if failed is None else np.nextafter(failed, 0)))
    by_curve = point is not None and curve is not None and not evidence.drift and _passes_limit(evidence, held, failed)
    like = evidence.levels[0].users if evidence.levels else 0
    served = 0 if held is None and failed == 1 else held
    if by_curve and point is not None:
        served = in_unit_of(like, point)
    interval = None
    if evidence.levels:
        low, high = _interval(evidence, (held, failed), curve, limit)
        low = in_unit_of(like, low if served is None else min(low, served))
        interval = low, None if math.isinf(high) else in_unit_of(like, high, up=True)
    return _Place((held, failed), point, served, interval, by_curve)


def _passes_limit(evidence: LevelEvidence, held: int | None, failed: int | None) -> bool:
    """Whether a level shows the share on its way down: from all served to none, any curve or a cliff would fit."""
    if held is None or failed is None:
        return False
    inside = (evidence.users >= held) & (evidence.users <= failed)
    low, high = ON_THE_WAY
    return bool((inside & (evidence.fit > low) & (evidence.fit < high)).any())


def _interval(evidence: LevelEvidence, bracket: Bracket, curve: Crossing | None, limit: float) -> tuple[float, float]:
    """What is not proven otherwise; narrower where a curve, and the gaps in which shares may cross, rule out more."""
    held, failed = bracket
    low, high = held or 0, math.inf if failed is None else failed - 1
    if curve is None:
        return low, high
    users = evidence.users
    first, last = gaps_of_crossing(evidence.sound, limit, GAP_DEVIANCE)
    edges = np.concatenate([[0.0], users, [np.inf]])
    lowest, highest = min(curve.low, edges[first]), max(curve.high, edges[last + 1] - 1)
    # Nothing is known of what lies below the lowest level or above the highest.
    low = max(low, int(lowest) if lowest >= users[0] else 0)
    return low, max(low, min(high, np.floor(highest) if highest <= users[-1] else np.inf))


def _suggestion(
    evidence: LevelEvidence, levels: Sequence[LevelEstimate], placed: _Place, criteria: Criteria
) -> Suggestion | None:
    if placed.interval is None:
        return None
    low, high = placed.interval
    users = int(placed.point) if placed.point is not None else _most_served(evidence, levels, criteria)
    likely = int(np.clip(users, low, np.inf if high is None else high))
    return Suggestion(in_unit_of(evidence.levels[0].users, likely), low, high)


def _most_served(evidence: LevelEvidence, levels: Sequence[LevelEstimate], criteria: Criteria) -> int:
    """Return the most users of a level that seems to be served, below any at which too many are worse off."""
    good = evidence.users_at((evidence.fit >= criteria.served_share) & (evidence.sound.of > 0))
    differ = [level for level, alike in zip(levels, evidence.served_alike, strict=True) if not alike]
    apart = min((level.users for level in differ if _too_many_are_worse_off(level, criteria)), default=math.inf)
    return max((users for users in good if users < apart), default=0)


def _too_many_are_worse_off(level: LevelEstimate, criteria: Criteria) -> bool:
    group, people = level.worse_group, level.people or level.users
    return (
        group is not None and group.share < criteria.served_share and group.users > (1 - criteria.users_share) * people
    )


def _dispersion(evidence: LevelEvidence, criteria: Criteria) -> Dispersion:
    pooled, counts = evidence.pooled, evidence.counts
    nearest = int(np.argmin(np.abs(counts.share - criteria.served_share))) if evidence.levels else None
    phi = 1.0 if nearest is None else float(counts.phi[nearest])
    return Dispersion(phi, pooled.nu, pooled.lag, pooled.icc, pooled.source)


def _groups(evidence: LevelEvidence, levels: Sequence[LevelEstimate], criteria: Criteria) -> GroupCapacity | None:
    """Estimate each group's capacity, in users of both groups, from the replies of the group alone."""
    if evidence.groups is None:
        return None
    worse, others = (_place(group, criteria) for group in evidence.groups)
    apart = [(level.users, level.worse_group) for level in levels if level.worse_group is not None]
    told = [(users, group) for users, group in apart if group.others_share >= criteria.served_share] or apart
    if told:
        users, worse_users = told[-1][0], told[-1][1].users
    else:
        top, mixture = evidence.levels[-1], split_users(evidence.comparison.residuals)
        users, worse_users = top.users, mixture.worse_at_once(top) if mixture else 1
    return GroupCapacity(
        worse_users=worse_users,
        users=users,
        worse=worse.point,
        worse_interval=worse.interval,
        others=others.point,
        others_interval=others.interval,
    )

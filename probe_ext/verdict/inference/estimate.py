"""One estimator: how many users are served, how sure that is, and what to measure next.

State, interval, bracket, sentence, gate and search all come from here, so they can't disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference import level_proofs as proofs
from probe_ext.verdict.inference.capacity_curve import Crossing, fit_crossing, monotone_crossing
from probe_ext.verdict.inference.dispersion import Pooled, level_factor, pool, pool_broken
from probe_ext.verdict.inference.disturbances import find_disturbed
from probe_ext.verdict.inference.level_proofs import EffectiveCounts, effective_counts
from probe_ext.verdict.inference.observations import Level, Visit, group_by_users
from probe_ext.verdict.inference.quantiles import divergence, student_quantile
from probe_ext.verdict.inference.user_differences import UserResiduals, split_users, user_residuals, without_worst
from probe_ext.verdict.values.capacity_estimate import (
    CapacityEstimate,
    Criteria,
    Dispersion,
    GroupCapacity,
    LevelEstimate,
    NextStep,
    Reason,
    Suggestion,
    UserGroup,
)
from probe_ext.verdict.values.columns import Bools, Floats
from probe_ext.verdict.values.json_types import Bracket, Interval, State

USERS_DIFFER, USERS_DIFFER_IN_SEARCH, USERS_DIFFER_AT_LEVEL, REST_ALIKE = 2.05, 2.9, 3.3, 0.84
"""standard errors"""
GAP_DEVIANCE = 1.0
EXPECTED_BROKEN = 3.0
TIE = 1e-4
"""nats a reply: closer to the limit than that, no reasonable number of replies tells"""
MIN_STEP_S, MAX_STEP_S = 20.0, 600.0


@dataclass(frozen=True)
class _Bounds:
    """Critical values: of a proof, and of what must not happen by chance in a whole run."""

    proof: float
    contradiction: float
    nu: float


@dataclass(frozen=True)
class _Users:
    """Whether users differ, in the run and at each level."""

    residuals: UserResiduals
    anywhere: bool
    at: Bools
    rest_alike: bool
    """whether those are alike who remain when as many are left out as need not be served"""


def estimate(
    visits: Sequence[Visit], criteria: Criteria | None = None, *, critical: float | None = None
) -> CapacityEstimate:
    """Estimate the capacity from judged replies.

    `critical` replaces Student's t at `criteria.error`: a search that looks often needs more.
    """
    return _estimate(visits, criteria or Criteria(), critical, look_for_groups=True)


def _estimate(
    visits: Sequence[Visit], criteria: Criteria, critical: float | None, *, look_for_groups: bool
) -> CapacityEstimate:
    levels = group_by_users(visits)
    pooled = pool(levels, criteria.served_share)
    bounds = _bounds(pooled.nu, criteria, critical)
    who = _users(levels, criteria, searching=critical is not None) if look_for_groups else _alike(levels)
    served = _served_counts(levels, pooled)
    disturbed = find_disturbed(levels, pooled, criteria.served_share)
    contradicting = proofs.find_contradictions(served.without(disturbed), criteria.served_share, bounds.contradiction)
    clean = served.without(disturbed | contradicting)
    served_alone = proofs.evidence_of_failing(clean, criteria.served_share) > bounds.proof
    broken = _Broken.of(levels, criteria, critical, served_alone)
    held, failed = _proven(levels, clean, who, broken, criteria, bounds, pooled)
    bracket = _bracket(levels, held, failed)
    fit = proofs.monotone_fit(clean)
    plain = not who.anywhere and not contradicting.any() and not broken.above.any()
    users = np.array([level.users for level in levels], dtype=np.float64)
    curve = fit_crossing(users, clean, fit, criteria.served_share, bounds.proof, pooled.nu) if plain else None
    crossing = monotone_crossing(users, fit, criteria.served_share)
    first, last = proofs.gaps_of_crossing(clean, criteria.served_share, GAP_DEVIANCE)
    edges = np.concatenate([[0.0], users, [np.inf]])
    gap = (float(edges[first]), float(edges[last + 1]))
    interval = _interval(levels, bracket, curve, gap)
    point = _point(users, curve, crossing, bracket) if not who.anywhere and not broken.above.any() else None
    placed = curve is not None and point is not None and bracket[0] is not None and bracket[1] is not None
    states = _Judged(held, failed, disturbed, contradicting, clean, fit)
    results = tuple(_level(i, level, states, who, broken, bounds, criteria) for i, level in enumerate(levels))
    return CapacityEstimate(
        levels=results,
        estimate=point,
        interval=interval,
        bracket=bracket,
        served_users=_served_users(levels, bracket, point if placed else None),
        suggestion=_suggestion(levels, fit, point, interval, criteria),
        dispersion=_dispersion(served, pooled, criteria),
        drift=_drift(levels, pooled, bounds),
        contradictions=tuple(level.users for level, one in zip(levels, contradicting, strict=True) if one),
        users_differ=who.anywhere,
        groups=_groups(visits, levels, who, criteria, critical),
        placed_by_curve=placed,
        next=_next(results, bracket, point, interval),
    )


def _bounds(nu: float, criteria: Criteria, critical: float | None) -> _Bounds:
    proof = student_quantile(1 - criteria.error, nu)
    extra = 1.0 if critical is None else critical / student_quantile(1 - criteria.error, 1e9)
    return _Bounds(proof * extra, student_quantile(1 - criteria.error / 5, nu) * extra, nu)


def _served_counts(levels: Sequence[Level], pooled: Pooled) -> EffectiveCounts:
    served = np.array([float(level.served) for level in levels])
    replies = np.array([float(level.replies) for level in levels])
    phi = np.array([level_factor(level, pooled, [blocks.served for blocks in level.blocks]) for level in levels])
    return effective_counts(served, replies, phi)


# Users who differ


def _alike(levels: Sequence[Level]) -> _Users:
    return _Users(user_residuals([]), False, np.zeros(len(levels), dtype=np.bool_), True)


def _users(levels: Sequence[Level], criteria: Criteria, *, searching: bool) -> _Users:
    residuals = user_residuals([visit for level in levels for visit in level.visits])
    bound = USERS_DIFFER_IN_SEARCH if searching else USERS_DIFFER
    anywhere = residuals.excess() > bound
    at = np.array([user_residuals(level.visits).excess() > USERS_DIFFER_AT_LEVEL for level in levels], dtype=np.bool_)
    rest_alike = True
    if anywhere or at.any():
        rest = [without_worst(level, residuals, 1 - criteria.users_share) for level in levels]
        rest_alike = user_residuals([visit for level in rest for visit in level.visits]).excess() < REST_ALIKE
    return _Users(residuals, bool(anywhere or at.any()), at, rest_alike)


# Proofs


@dataclass(frozen=True)
class _Broken:
    """What is proven of broken replies, by level."""

    above: Bools
    """fitted share above what is allowed"""
    fails: Bools
    allows_holding: Bools
    high: Floats

    @classmethod
    def of(cls, levels: Sequence[Level], criteria: Criteria, critical: float | None, too_slow: Bools) -> "_Broken":
        pooled = pool_broken(levels, 1 - criteria.broken_share)
        bounds = _bounds(pooled.nu, criteria, critical)
        broken = np.array([float(level.broken) for level in levels])
        replies = np.array([float(level.replies) for level in levels])
        phi = np.array([level_factor(level, pooled, [b.broken for b in level.blocks]) for level in levels])
        counts = effective_counts(replies - broken, replies, phi)
        fails = proofs.evidence_of_failing(counts, 1 - criteria.broken_share) > bounds.proof
        low = proofs.evidence_of_holding(counts, 1 - criteria.broken_limit) > bounds.proof
        none_broke = not broken[~too_slow].any() and _load_breaks(broken, replies, too_slow, criteria)
        above = 1 - proofs.monotone_fit(counts) > criteria.broken_share + 1e-9
        high = _limits(counts.of - counts.good, counts.of, bounds.proof)[1]
        return cls(above & (broken > 0), fails, ~above & (none_broke | low), high)


def _load_breaks(broken: Floats, replies: Floats, too_slow: Bools, criteria: Criteria) -> bool:
    """Return whether replies that broke at failing levels say nothing of the others.

    They don't if few broke, or if so many that some would have been seen at the others, were it not for the load.
    """
    share = broken[too_slow].sum() / max(1.0, float(replies[too_slow].sum()))
    expected = share * float(replies[~too_slow].sum())
    return bool(share <= criteria.broken_share or expected > EXPECTED_BROKEN)


def _proven(
    levels: Sequence[Level],
    clean: EffectiveCounts,
    who: _Users,
    broken: _Broken,
    criteria: Criteria,
    bounds: _Bounds,
    pooled: Pooled,
) -> tuple[Bools, Bools]:
    limit = criteria.served_share
    holding = proofs.evidence_of_holding(clean, limit) > bounds.proof
    held = holding & broken.allows_holding & who.rest_alike
    if who.anywhere:
        # Those who need not be served must not be what makes a level fail.
        rest = [without_worst(level, who.residuals, 1 - criteria.users_share) for level in levels]
        emptied = clean.of <= 0
        clean = _served_counts(rest, pooled).without(emptied)
    failed = (proofs.evidence_of_failing(clean, limit) > bounds.proof) | broken.fails
    # Above a level that fails none holds, and what is proven both ways is proven neither way.
    both = held & failed
    return held & ~both, failed & ~both


def _bracket(levels: Sequence[Level], held: Bools, failed: Bools) -> Bracket:
    lowest = next((level.users for level, one in zip(levels, failed, strict=True) if one), None)
    highest = max((level.users for level, one in zip(levels, held, strict=True) if one), default=None)
    return highest, lowest


# Interval and point


def _interval(
    levels: Sequence[Level], bracket: Bracket, curve: Crossing | None, gap: tuple[float, float]
) -> Interval | None:
    if not levels:
        return None
    held, failed = bracket
    core = (held or 0, np.inf if failed is None else failed - 1)
    if curve is None:
        return core[0], None if np.isinf(core[1]) else int(core[1])
    low, high = curve.low, curve.high
    low, high = min(low, gap[0]), max(high, gap[1] - 1)
    low = 0 if low < levels[0].users else int(low)
    high = np.inf if high > levels[-1].users else int(high)
    low, high = max(low, core[0]), min(high, core[1])
    return int(low), None if np.isinf(high) else int(max(high, low))


def _point(users: Floats, curve: Crossing | None, crossing: float | None, bracket: Bracket) -> float | None:
    point = crossing if curve is None else curve.point
    if point is None or not users[0] <= point <= users[-1]:
        return None
    low, high = bracket
    return float(np.clip(point, low or 0, np.inf if high is None else high))


def _served_users(levels: Sequence[Level], bracket: Bracket, placed: float | None) -> int | None:
    held, failed = bracket
    if placed is not None:
        return int(placed)
    if held is None and failed == 1:
        return 0
    return held


def _suggestion(
    levels: Sequence[Level], fit: Floats, point: float | None, interval: Interval | None, criteria: Criteria
) -> Suggestion | None:
    if interval is None:
        return None
    good = [level.users for level, share in zip(levels, fit, strict=True) if share >= criteria.served_share]
    users = int(point) if point is not None else max(good, default=0)
    return Suggestion(users, *interval)


# Results by level


@dataclass(frozen=True)
class _Judged:
    held: Bools
    failed: Bools
    disturbed: Bools
    contradicting: Bools
    counts: EffectiveCounts
    fit: Floats


def _level(
    i: int, level: Level, judged: _Judged, who: _Users, broken: _Broken, bounds: _Bounds, criteria: Criteria
) -> LevelEstimate:
    state: State = "held" if judged.held[i] else "failed" if judged.failed[i] else "unproven"
    of = level.replies / float(judged.counts.phi[i])
    share = level.served / level.replies
    low, high = _limits(np.array([share * of]), np.array([of]), bounds.proof)
    needed = None if state != "unproven" else _replies_needed(level.replies, of, float(judged.fit[i]), bounds, criteria)
    rate = level.replies / level.seconds if level.seconds > 0 else None
    return LevelEstimate(
        users=level.users,
        visits=len(level.visits),
        replies=level.replies,
        seconds=level.seconds,
        served_share=share,
        share_low=float(low[0]),
        share_high=float(high[0]),
        share_fit=float(judged.fit[i]),
        broken_share=level.broken / level.replies,
        broken_high=float(broken.high[i]),
        state=state,
        reasons=() if state != "unproven" else _reasons(i, of, judged, who, broken, bounds, criteria),
        users_differ=bool(who.at[i] or who.anywhere),
        worse_group=_worse_group(level, who) if who.anywhere else None,
        replies_needed=needed,
        seconds_needed=None if needed is None or not rate else needed / rate,
    )


def _limits(good: Floats, of: Floats, t: float) -> tuple[Floats, Floats]:
    """Limits of a share from its score test (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
    of = np.maximum(of, 1e-9)
    share = np.clip(good / of, 0.0, 1.0)
    centre = (share + t * t / (2 * of)) / (1 + t * t / of)
    half = t * np.sqrt(share * (1 - share) / of + t * t / (4 * of * of)) / (1 + t * t / of)
    return np.maximum(0.0, centre - half), np.minimum(1.0, centre + half)


def _replies_needed(had: int, of: float, share: float, bounds: _Bounds, criteria: Criteria) -> int | None:
    distance = float(divergence(share, criteria.served_share))
    if distance < TIE or of <= 0:
        return None
    return max(1, int(np.ceil(had / of * bounds.proof**2 / (2 * distance))) - had)


def _reasons(
    i: int, of: float, judged: _Judged, who: _Users, broken: _Broken, bounds: _Bounds, criteria: Criteria
) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    if judged.disturbed[i]:
        reasons.append("needs_second_visit")
    if judged.contradicting[i]:
        reasons.append("contradicts_higher_level")
    if who.anywhere and not who.rest_alike:
        reasons.append("users_differ")
    if not broken.allows_holding[i]:
        reasons.append("broken_bound")
    if not reasons:
        # Even if all had been served, so few would not have proven it.
        few = of * float(divergence(1.0, criteria.served_share)) * 2 < bounds.proof**2
        reasons.append("too_few_replies" if few else "too_close")
    return tuple(reasons)


def _worse_group(level: Level, who: _Users) -> UserGroup | None:
    mixture = split_users(user_residuals(level.visits))
    if mixture is None:
        return None
    return UserGroup(round(mixture.size), mixture.worse_share, mixture.others_share)


def _groups(
    visits: Sequence[Visit], levels: Sequence[Level], who: _Users, criteria: Criteria, critical: float | None
) -> GroupCapacity | None:
    """Estimate each group's capacity from its own replies."""
    mixture = split_users(who.residuals) if who.anywhere else None
    if mixture is None:
        return None
    codes = who.residuals.users[mixture.worse]
    worse = [visit.select(np.isin(visit.user, codes)) for visit in visits]
    others = [visit.select(~np.isin(visit.user, codes)) for visit in visits]
    one, two = (_estimate(group, criteria, critical, look_for_groups=False) for group in (worse, others))
    top = levels[-1]
    number = len(np.intersect1d(np.concatenate([visit.user for visit in top.visits]), codes))
    return GroupCapacity(number, top.users, one.estimate, one.interval, two.estimate, two.interval)


# What else the data say


def _dispersion(served: EffectiveCounts, pooled: Pooled, criteria: Criteria) -> Dispersion:
    nearest = np.abs(served.share - criteria.served_share)
    phi = float(served.phi[int(np.argmin(nearest))]) if len(nearest) else 1.0
    return Dispersion(phi, pooled.nu, pooled.lag, pooled.icc, pooled.source)


def _drift(levels: Sequence[Level], pooled: Pooled, bounds: _Bounds) -> tuple[int, ...]:
    """Levels whose first and last visit differ by more than chance."""
    found = []
    for level in levels:
        if len(level.visits) < 2:
            continue
        of = [len(visit.sent) / pooled.factor(visit_size, len(b.replies))
              for visit, b in zip(level.visits, level.blocks, strict=True)
              for visit_size in [len(visit.sent) / len(b.replies)]]  # fmt: skip
        shares = [float(visit.served.mean()) for visit in level.visits]
        both = (shares[0] * of[0] + shares[-1] * of[-1]) / (of[0] + of[-1])
        error = np.sqrt(max(both * (1 - both), 1e-9) * (1 / of[0] + 1 / of[-1]))
        if abs(shares[0] - shares[-1]) > bounds.contradiction * error:
            found.append(level.users)
    return tuple(found)


def _next(
    levels: Sequence[LevelEstimate], bracket: Bracket, point: float | None, interval: Interval | None
) -> NextStep | None:
    if not levels or interval is None:
        return None
    for level in levels:
        if "needs_second_visit" in level.reasons:
            return NextStep(level.users, _bounded(level.seconds), "second_visit")
    usual = float(np.median([level.seconds / level.visits for level in levels]))
    held, failed = bracket
    low, high = interval
    if high is None:
        unproven = [level for level in levels if level.state == "unproven" and level.seconds_needed is not None]
        if failed is None and not unproven:
            return NextStep(2 * levels[-1].users, _bounded(usual), "above")
        if unproven:
            return NextStep(unproven[-1].users, _bounded(unproven[-1].seconds_needed or usual), "narrow")
        return NextStep(levels[-1].users, _bounded(usual), "narrow")
    if low < levels[0].users:
        return NextStep(max(1, levels[0].users // 2), _bounded(usual), "below")
    if high <= low:
        return None
    users = round(point) if point is not None else (low + high + 1) // 2
    return NextStep(int(np.clip(users, max(1, low), high)), _bounded(usual), "inside_bracket")


def _bounded(seconds: float) -> float:
    return float(np.clip(seconds, MIN_STEP_S, MAX_STEP_S))

"""One estimate of kinds of user who share a server: a number of users is served where every kind of them is.

Each kind is judged by its own replies and its own profile, over the same numbers of users. A level holds where it holds
for every kind, and fails where it fails for one. So the run's capacity is the smallest of the kinds' capacities. Each
kind's claims have an error of at most `criteria.error` ÷ kinds, so that all of them together keep the run's
(Bonferroni). Shares of a level are those of all its replies; its fit is that of the kind that is served least.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria, LevelEstimate, Reason, Suggestion
from probe_ext.verdict.values.json_types import Bracket, Interval, State


def split_error(criteria: Criteria, kinds: int) -> Criteria:
    """Return the criteria with the part of the error that one of so many kinds may have."""
    return replace(criteria, error=criteria.error / max(1, kinds))


def split_critical(critical: float | None, kinds: int) -> float | None:
    """Return the same for the standard errors of a search."""
    if critical is None or kinds < 2:
        return critical
    normal = NormalDist()
    return normal.inv_cdf(1 - (1 - normal.cdf(critical)) / kinds)


def combine(pooled: CapacityEstimate, kinds: Mapping[str, CapacityEstimate]) -> CapacityEstimate:
    """Return the estimate of all kinds. `pooled`: of all replies together, for the shares of levels."""
    measured = {name: kind for name, kind in kinds.items() if kind.levels}
    parts = tuple(measured.values())
    if not parts:
        return pooled
    levels = tuple(_combine_level(level, parts) for level in pooled.levels)
    held = max((level.users for level in levels if level.state == "held"), default=None)
    failed = min((level.users for level in levels if level.state == "failed"), default=None)
    limiting = min(parts, key=_limit)
    served = _served(parts, (held, failed))
    placed = limiting.placed_by_curve and served is not None and served == limiting.served_users and held is not None
    interval = _interval(parts, served)
    return replace(
        pooled,
        levels=levels,
        estimate=_point(parts, interval, (held, failed)),
        interval=interval,
        bracket=(held, failed),
        served_users=served,
        suggestion=_suggestion(parts, interval),
        drift=_union(part.drift for part in parts),
        contradictions=_union(part.contradictions for part in parts),
        disturbed=_union(part.disturbed for part in parts),
        users_differ=any(part.users_differ for part in parts),
        groups=None,
        placed_by_curve=placed,
        unsteady=_union(part.unsteady for part in parts),
        uneven=_union(part.uneven for part in parts),
        parts=measured,
    )


def _combine_level(level: LevelEstimate, parts: Sequence[CapacityEstimate]) -> LevelEstimate:
    states = [_state_at(part, level.users) for part in parts]
    state: State = "failed" if "failed" in states else "held" if {*states} == {"held"} else "unproven"
    own = [(part, found) for part in parts if (found := part.level(level.users)) is not None]
    worse = next((found.worse_group for _, found in own if found.worse_group is not None), None)
    fits = [found.share_fit for _, found in own]
    level = replace(
        level,
        state=state,
        share_fit=min(fits, default=level.share_fit),
        worse_group=worse,
        users_differ=any(found.users_differ for _, found in own),
    )
    if state != "unproven":
        return replace(level, reasons=(), replies_needed=None, seconds_needed=None)
    waiting = [found for _, found in own if found.state == "unproven"]
    reasons: tuple[Reason, ...] = tuple(dict.fromkeys(reason for found in waiting for reason in found.reasons))
    needed = [_replies_of_all(level, found) for found in waiting]
    seconds = [found.seconds_needed for found in waiting]
    return replace(
        level,
        reasons=reasons or ("too_few_replies",),
        replies_needed=None if not needed or None in needed else max(n for n in needed if n is not None),
        seconds_needed=None if not seconds or None in seconds else max(s for s in seconds if s is not None),
    )


def _state_at(part: CapacityEstimate, users: int) -> State:
    """Return what is proven of a kind; where it was not measured, by its bracket: more users never help."""
    known = part.level(users)
    if known is not None:
        return known.state
    held, failed = part.bracket
    if held is not None and users <= held:
        return "held"
    return "failed" if failed is not None and users >= failed else "unproven"


def _replies_of_all(level: LevelEstimate, kind: LevelEstimate) -> int | None:
    """Return how many replies of all kinds come with those that a kind needs."""
    if kind.replies_needed is None:
        return None
    return round(kind.replies_needed * max(1.0, level.replies / kind.replies))


def _limit(part: CapacityEstimate) -> float:
    if part.served_users is not None and (part.placed_by_curve or part.bracket[1] is not None):
        return part.served_users
    high = part.interval[1] if part.interval else None
    return float("inf") if high is None else high


def _served(parts: Sequence[CapacityEstimate], bracket: Bracket) -> int | None:
    held, failed = bracket
    if held is None:
        return 0 if failed == 1 else None
    return max(held, min(part.served_users or 0 for part in parts))


def _interval(parts: Sequence[CapacityEstimate], served: int | None) -> Interval | None:
    known = [part.interval for part in parts if part.interval is not None]
    if not known:
        return None
    low = min(low for low, _ in known)
    low = low if served is None else min(low, served)
    return low, min((high for _, high in known if high is not None), default=None)


def _point(parts: Sequence[CapacityEstimate], interval: Interval | None, bracket: Bracket) -> float | None:
    """Return the lowest estimate; None where another kind, which has none, may have the lower limit."""
    point = min((part.estimate for part in parts if part.estimate is not None), default=None)
    if point is None or interval is None:
        return None
    low, high = interval
    held, failed = bracket
    inside = max(low, held or 0) <= point < min(float("inf") if high is None else high + 1, failed or float("inf"))
    return point if inside else None


def _suggestion(parts: Sequence[CapacityEstimate], interval: Interval | None) -> Suggestion | None:
    guesses = [part.suggestion.users for part in parts if part.suggestion is not None]
    if interval is None or not guesses:
        return None
    low, high = interval
    return Suggestion(max(low, min(guesses) if high is None else min(high, *guesses)), low, high)


def _union(numbers: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({users for some in numbers for users in some}))

"""Why the range of the capacity is wider than it was: a range that only grows without a word looks like a mistake.

The estimator reads all replies anew each time. An end that a curve gave may move outwards with the next level, and even
a proof may be lost, where later replies show that earlier ones were worth less.
"""

from dataclasses import dataclass

from probe_ext.verdict.phrasing.plurals import Who, is_or_are, people
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, LevelEstimate
from probe_ext.verdict.values.json_types import Load
from probe_ext.verdict.wording.unproven_level import reason_in_words

SAID_FOR_S = 60.0
"""that long a wider range comes with its reason, unless it is as narrow again before"""
NOTICED_SHARE = 0.1
"""of the range's width, and at least 1: a smaller step outwards is that of any estimate"""
MORE_DISPERSED = 1.1
"""times the dispersion it had: the reason why a proof was lost"""
_BY_REPLIES_ALONE = {"too_few_replies", "too_close"}


@dataclass(frozen=True)
class Widening:
    """Why a range became wider."""

    short: str
    """`37 was not proven`"""
    sentence: str


@dataclass(frozen=True)
class _Moved:
    """An end of the range that moved outwards."""

    at: float
    """when that was seen, in seconds"""
    why: Widening
    lower: bool
    before: Load
    """where the end was"""


class RangeMemory:
    """Remembers the narrowest range. Give it each new estimate."""

    def __init__(self, who: Who = "people") -> None:
        self._who: Who = who
        self._low: CapacityEstimate | None = None
        """the estimate with the highest lower end"""
        self._high: CapacityEstimate | None = None
        """the one with the lowest upper end"""
        self._moved: _Moved | None = None
        """the last of which the reason is still given"""

    def update(self, now: float, estimate: CapacityEstimate | None) -> Widening | None:
        """Return why the range is wider than it was, None if it is not, or not any more."""
        if estimate is None or estimate.interval is None:
            return None
        for lower in (False, True):
            before = self._low if lower else self._high
            moved = _moved(before, estimate, lower=lower)
            if before is not None and moved is not None and moved > _noticed(before):
                why = _widening(before, estimate, self._who, lower=lower)
                self._moved = _Moved(now, why, lower, _end(before, lower=lower) or 0)
            if before is None or moved is None or moved <= 0 or moved > _noticed(before):
                self._remember(estimate, lower=lower)
        if self._moved and (now - self._moved.at > SAID_FOR_S or _is_back(estimate, self._moved)):
            self._moved = None
        return self._moved.why if self._moved else None

    def _remember(self, estimate: CapacityEstimate, *, lower: bool) -> None:
        if lower:
            self._low = estimate
        else:
            self._high = estimate


def _end(estimate: CapacityEstimate, *, lower: bool) -> Load | None:
    low, high = estimate.interval or (0, None)
    return low if lower else high


def _moved(before: CapacityEstimate | None, now: CapacityEstimate, *, lower: bool) -> float | None:
    """How far an end has moved outwards, infinite if there is none any more; None while there was none."""
    old, new = (None if before is None else _end(before, lower=lower)), _end(now, lower=lower)
    if old is None:
        return None
    if new is None:
        return float("inf")
    return float(old - new if lower else new - old)


def _noticed(before: CapacityEstimate) -> float:
    low, high = before.interval or (0, None)
    return max(1.0, NOTICED_SHARE * ((low if high is None else high) - (0 if high is None else low)))


def _is_back(estimate: CapacityEstimate, moved: _Moved) -> bool:
    now = _end(estimate, lower=moved.lower)
    return now is not None and (now >= moved.before if moved.lower else now <= moved.before)


def _widening(before: CapacityEstimate, now: CapacityEstimate, who: Who, *, lower: bool) -> Widening:
    end = _end(before, lower=lower) or 0
    proven = before.bracket[0] if lower else before.bracket[1]
    if proven is None or proven != (end if lower else end + 1):
        side = "lower" if lower else "upper"
        what = f"The range's {side} end was {end:,} before, by a curve through the levels; that was not proven"
        return Widening(f"{end:,} was not proven", f"{what}, and the replies since then allow more.")
    why = _why_lost(before, now, proven)
    state = f"{people(proven, who)} {is_or_are(proven)} {'served' if lower else 'too many'}"
    return Widening(f"{proven:,} no longer proven", f"That {state} is no longer proven: {why}.")


def _why_lost(before: CapacityEstimate, now: CapacityEstimate, users: Load) -> str:
    then, level = before.level(users), now.level(users)
    if level is None:
        return "this level is no longer judged"  # as others used the server, or as it was no level after all
    reason = level.reasons[:1]
    if reason and reason[0] not in _BY_REPLIES_ALONE:
        return reason_in_words(reason)
    if now.dispersion.phi > MORE_DISPERSED * before.dispersion.phi:
        return "the served share changes more from moment to moment than it seemed to, so each reply tells less"
    if then is not None and level.replies > then.replies and _came_closer(then, level):
        return "further replies at this level are nearer to the limit"
    return "what other levels show since then makes it doubtful"


def _came_closer(then: LevelEstimate, level: LevelEstimate) -> bool:
    return (level.served_share < then.served_share) == (then.state == "held")

"""Levels: stretches with a constant number of users, found from what happened rather than from the plan.

Of an open stream, a level is a stretch with a constant rate of arrivals; the rate then stands where users stand.

A stretch lasts from the moment the count stops changing until it changes again or the run begins to stop. Its measured
part excludes the settling time at its start. The same number of users reached twice makes two levels. A ramp that never
stays constant is cut into bands, see `bands`.

The count is sampled about once a second, so a change lies between two samples. It is placed at the earlier one: replies
that new users may have sent then never belong to the previous level, and nothing that the load counted as measured is
lost. Where samples are further apart (one per change), the change is at its own sample.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.load.level_plan import min_level_seconds
from probe_ext.measure.rate import PER_SECOND, Rate
from probe_ext.verdict.evidence.columns import Floats, Ints, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.manifest_view import Span, mapping, mappings, number, planned_levels
from probe_ext.verdict.levels.bands import cut_bands

SETTLE_S = 5.0
"""Excluded after the count stops changing, where the run had no plan."""
DRAINED_SHARE = 0.95
"""After users leave, the share of their replies in flight that must have ended before a lower level is measured."""
MAX_SAMPLE_GAP_S = 1.5
"""Samples further apart mark single changes, not a regular sampling."""
STILL_FALLING = 0.8
"""A queue that is shorter than this share of what it was is still draining."""
STOPPING = frozenset({"stopping", "stopped", "cleanup"})


@dataclass(frozen=True)
class Stretch:
    """A span with a constant number of users, or a constant rate, seconds of the run."""

    users: int
    start: float
    end: float


@dataclass(frozen=True)
class Level:
    """A span whose replies are judged together, seconds of the run. A reply belongs to the level it was sent in."""

    users: int
    users_low: int
    users_high: int
    t_start: float
    t_end: float
    band: bool
    """part of a ramp from users_low to users_high, which never proves anything"""

    @property
    def seconds(self) -> float:
        """Length of the measured part."""
        return self.t_end - self.t_start


def find_levels(
    users: Columns,
    plan: Mapping[str, Any] | None,
    last_sent: float | None,
    absences: Sequence[Span] = (),
    drained_at: Callable[[float], float] = float,
) -> list[Level]:
    """Return the levels and bands of a run, in order of time.

    `plan` is the manifest's, None where the load was set by hand; `last_sent` is when the last reply was sent, which
    may be after the last sample. During `absences` of a worker its users were not counted but may have continued, so
    replies sent then belong to no level. `drained_at` tells when the replies in flight at a moment have ended: a level
    that follows one with more users is measured from then on. A search says itself what it measured, however short.
    """
    stretches = without(find_stretches(users, last_sent), absences)
    settle = SETTLE_S if plan is None else number(plan, "settle", SETTLE_S)
    shortest = min_level_seconds(number(plan or {}, "hold", math.inf))
    planned = _planned_users(plan)
    visits = _search_visits(plan)
    if visits:
        return _levels_of_search(stretches, settle, visits)
    measured = _measured_from(stretches, settle, drained_at)
    plateaus = [s for s in stretches if s.users > 0 and s.end - measured[s] >= shortest]
    plateaus = [s for s in plateaus if planned is None or s.users in planned]
    levels = [Level(s.users, s.users, s.users, measured[s], s.end, band=False) for s in plateaus]
    if plan is None:
        levels += [
            Level(round((band.low + band.high) / 2), band.low, band.high, band.start, band.end, band=True)
            for ramp in _ramps(stretches, plateaus)
            for band in cut_bands([(s.start, s.end, s.users) for s in ramp])
        ]
    return sorted(levels, key=lambda level: level.t_start)


def _measured_from(
    stretches: Sequence[Stretch], settle: float, drained_at: Callable[[float], float]
) -> dict[Stretch, float]:
    """Return when each stretch's measured part starts."""
    measured = {}
    for previous, stretch in zip([None, *stretches], stretches, strict=False):
        fewer_users = previous is not None and previous.users > stretch.users
        start = drained_at(stretch.start) if fewer_users else stretch.start
        measured[stretch] = max(stretch.start + settle, start)
    return measured


def _levels_of_search(
    stretches: Sequence[Stretch], settle: float, visits: Sequence[tuple[int, float, float]]
) -> list[Level]:
    """Return what a search measured, from the moment it started to until it went on, which samples don't tell exactly.

    What follows the absence of a worker settles anew.
    """
    levels = []
    for s in stretches:
        own = [(t, end) for users, t, end in visits if users == s.users and t <= s.end and end > s.start]
        if not own:
            continue
        start, until = own[-1]
        start = start if start >= s.start else s.start + settle
        end = until if abs(until - s.end) <= MAX_SAMPLE_GAP_S else s.end
        if end > start:
            levels.append(Level(s.users, s.users, s.users, start, end, band=False))
    return levels


def _search_visits(plan: Mapping[str, Any] | None) -> list[tuple[int, float, float]]:
    """Return the number of users, the start and the end of what each step of a search measured, in order of time."""
    search = mapping(mapping(plan).get("search"))
    visits = []
    for step in mappings(search.get("steps")):
        users, start, end = (step.get(key) for key in ("users", "measured_from", "until"))
        if isinstance(users, int) and isinstance(start, (int, float)):
            visits.append((users, float(start), float(end) if isinstance(end, (int, float)) else math.inf))
    return sorted(visits, key=lambda visit: visit[1])


def drain_times(replies: Columns, sent: Floats) -> Callable[[float], float]:
    """Return a function that tells when DRAINED_SHARE of the replies in flight at a moment had ended.

    `sent`: see `sent_at`.
    """
    end = numbers(replies, "end")

    def drained_at(moment: float) -> float:
        ends = end[(sent < moment) & (end > moment)]
        return float(np.quantile(ends, DRAINED_SHARE, method="inverted_cdf")) if len(ends) else moment

    return drained_at


def backlog_times(replies: Columns, sent: Floats) -> Callable[[float], float]:
    """Return a function that tells when the queue that an open stream had at a moment was gone.

    What arrives while it drains has to wait, too. So from one drained moment to the next, until there are no fewer
    replies in flight than before.
    """
    end, drained_at = numbers(replies, "end"), drain_times(replies, sent)

    def in_flight(moment: float) -> int:
        return int(((sent < moment) & (end > moment)).sum())

    def gone_at(moment: float) -> float:
        while (later := drained_at(moment)) > moment and in_flight(later) < STILL_FALLING * in_flight(moment):
            moment = later
        return moment

    return gone_at


def without(stretches: Sequence[Stretch], absences: Sequence[Span]) -> list[Stretch]:
    """Cut absences out of stretches. Users of a worker that never returned were counted out when a stretch ended."""
    left = list(stretches)
    for start, end in absences:
        left = [piece for stretch in left for piece in _pieces(stretch, start, end)]
    return left


def _pieces(stretch: Stretch, start: float, end: float | None) -> list[Stretch]:
    if end is None:
        end = stretch.end if stretch.start <= start else start
    if end <= stretch.start or start >= stretch.end:
        return [stretch]
    before, after = Stretch(stretch.users, stretch.start, start), Stretch(stretch.users, end, stretch.end)
    return [piece for piece in (before, after) if piece.end > piece.start]


def _planned_users(plan: Mapping[str, Any] | None) -> frozenset[int] | None:
    """Return the planned numbers of users (others are only passed through); None where nothing was planned."""
    planned = planned_levels(plan)
    return frozenset(planned) if planned else None


def find_stretches(users: Columns, last_sent: float | None) -> list[Stretch]:
    """Return all stretches of a constant load, in order of time; without any while the run is stopping."""
    t, count = numbers(users, "t"), numbers(users, "users")
    open_stream = is_open_stream(users)
    if open_stream:
        count = np.round(np.nan_to_num(numbers(users, "rate")) * PER_SECOND)
    stopping = is_any(users, "state", STOPPING)
    known = ~np.isnan(t) & ~np.isnan(count)
    t, users_at = t[known], np.where(stopping, 0, count)[known].astype(np.int64)
    if not len(t):
        return []
    changed = np.flatnonzero(np.diff(users_at)) + 1
    starts = np.concatenate([[0], changed])
    bounds = [float(t[0]), *(_change_time(t, int(i)) for i in changed), _end_time(t, users_at, last_sent)]
    as_load = Rate if open_stream else int
    return [Stretch(as_load(users_at[i]), bounds[k], bounds[k + 1]) for k, i in enumerate(starts)]


def is_open_stream(users: Columns) -> bool:
    """Tell whether requests arrived at a given rate, whoever was still waiting."""
    return bool((~np.isnan(numbers(users, "rate"))).any())


def _change_time(t: Floats, i: int) -> float:
    """Return when the count changed to the value of sample i."""
    return float(t[i - 1] if t[i] - t[i - 1] <= MAX_SAMPLE_GAP_S else t[i])


def _end_time(t: Floats, count: Ints, last_sent: float | None) -> float:
    """Return the end of the last stretch: if it has users, not before the last reply was sent."""
    end = float(t[-1])
    return max(end, last_sent) if last_sent is not None and count[-1] > 0 else end


def _ramps(stretches: Sequence[Stretch], plateaus: Sequence[Stretch]) -> list[list[Stretch]]:
    """Group consecutive stretches with growing numbers of users, outside plateaus."""
    levels = set(plateaus)
    ramps: list[list[Stretch]] = [[]]
    for stretch in stretches:
        if stretch in levels or not stretch.users:
            ramps.append([])
            continue
        if ramps[-1] and stretch.users < ramps[-1][-1].users:
            ramps.append([])
        ramps[-1].append(stretch)
    return [ramp for ramp in ramps if ramp]


def assign_replies(sent: Floats, levels: Sequence[Level]) -> NDArray[np.int32]:
    """Return the index of the level in which each reply was sent; −1 outside all levels."""
    if not levels:
        return np.full(len(sent), -1, dtype=np.int32)
    starts = np.array([level.t_start for level in levels])
    ends = np.array([level.t_end for level in levels])
    index = np.searchsorted(starts, sent, side="right") - 1
    inside = (index >= 0) & (sent <= ends[index])
    return np.where(inside, index, -1).astype(np.int32)

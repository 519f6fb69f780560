"""Levels: stretches in which the number of users stood still, found from what happened and not from what was planned.

A stretch lasts from the moment at which the count stops changing until it changes again, or until the run begins to
stop. Its measured part leaves out the settling time at its start. The same number of users reached twice makes two
levels; `capacity` puts them together. A climb that never stands still is cut into bands, see `bands`.

A count is sampled about once a second, so a change lies somewhere between two samples. It is put at the last sample
before it: what may have been sent by newcomers is then no part of the level before, and nothing that the load counted
as measured is left out. Where samples lie further apart (one only when the count changes), a change is at its sample.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.load.level_plan import min_level_seconds
from probe_ext.verdict.levels.bands import cut_bands
from probe_ext.verdict.values.columns import Floats, Ints, numbers, texts
from probe_ext.verdict.values.evidence import Columns
from probe_ext.verdict.values.manifest_view import number

SETTLE = 5.0
"""seconds left out after the count stops changing, where the run had no plan"""
SETTLED = 0.95
"""of the replies that went on when users left have ended: their queue is gone"""
SAMPLING = 1.5
"""seconds: samples further apart are changes, not a steady sampling"""
STOPPING = frozenset({"stopping", "stopped", "cleanup"})


Away = tuple[float, float | None]
"""Seconds of the run between which a worker was not heard; None: to the end."""


@dataclass(frozen=True)
class Stretch:
    """A constant number of users, seconds of the run."""

    users: int
    start: float
    end: float


@dataclass(frozen=True)
class Level:
    """Where replies are judged together, seconds of the run. A reply belongs to the level in which it was sent."""

    users: int
    users_low: int
    users_high: int
    t_start: float
    t_end: float
    band: bool
    """cut out of a climb: labelled users_low–users_high, never proven"""

    @property
    def seconds(self) -> float:
        """The length of the measured part."""
        return self.t_end - self.t_start


def find_levels(
    users: Columns,
    plan: Mapping[str, Any] | None,
    last_sent: float | None,
    away: Sequence[Away] = (),
    free: Callable[[float], float] = float,
) -> list[Level]:
    """The levels and bands of a run, in order of time.

    `plan` is the manifest's (its `settle` is used), None where the load was driven by hand; `last_sent` is when the
    last reply was sent, which may lie behind the last sample. While a worker was `away`, its users were not counted but
    may have gone on: what was sent then is in no level. `free` says when a queue of a moment is gone: coming down from
    more users, a level is measured from then on.
    """
    stretches = without(find_stretches(users, last_sent), away)
    settle = SETTLE if plan is None else number(plan, "settle", SETTLE)
    shortest = min_level_seconds(number(plan or {}, "hold", math.inf))
    meant = _meant(plan)
    measured = _measured_from(stretches, settle, free, _searched(plan))
    plateaus = [s for s in stretches if s.users > 0 and s.end - measured[s] >= shortest]
    plateaus = [s for s in plateaus if meant is None or s.users in meant]
    levels = [Level(s.users, s.users, s.users, measured[s], s.end, band=False) for s in plateaus]
    if plan is None:
        levels += [
            Level(round((band.low + band.high) / 2), band.low, band.high, band.start, band.end, band=True)
            for climb in _climbs(stretches, plateaus)
            for band in cut_bands([(s.start, s.end, s.users) for s in climb])
        ]
    return sorted(levels, key=lambda level: level.t_start)


def _measured_from(
    stretches: Sequence[Stretch],
    settle: float,
    free: Callable[[float], float],
    searched: Sequence[tuple[int, float]],
) -> dict[Stretch, float]:
    """From when each stretch is measured; of a search, from when it measured itself, so that both judge the same."""
    measured = {}
    for last, now in zip([None, *stretches], stretches, strict=False):
        own = (since for users, since in searched if users == now.users and now.start <= since <= now.end)
        down = last is not None and last.users > now.users
        since = next(own, None) or (free(now.start) if down else now.start)
        measured[now] = max(now.start + settle, since)
    return measured


def _searched(plan: Mapping[str, Any] | None) -> list[tuple[int, float]]:
    """Users and beginning of the measured part of each visit of a search."""
    search = plan.get("search") if plan is not None else None
    steps = search.get("steps") if isinstance(search, Mapping) else None
    known = [step for step in steps if isinstance(step, Mapping)] if isinstance(steps, (list, tuple)) else []
    told = [(step.get("users"), step.get("measured_from")) for step in known]
    return [(users, since) for users, since in told if isinstance(users, int) and isinstance(since, (int, float))]


def free_from(replies: Columns) -> Callable[[float], float]:
    """Tells when nearly all (SETTLED) of the replies that went on at a moment had ended."""
    sent, end = numbers(replies, "sent"), numbers(replies, "end")

    def free(moment: float) -> float:
        ends = end[(sent < moment) & (end > moment)]
        return float(np.quantile(ends, SETTLED, method="inverted_cdf")) if len(ends) else moment

    return free


def without(stretches: Sequence[Stretch], away: Sequence[Away]) -> list[Stretch]:
    """What is left of the stretches. One who never came back was counted out when its stretch ended."""
    left = list(stretches)
    for since, until in away:
        left = [piece for stretch in left for piece in _pieces(stretch, since, until)]
    return left


def _pieces(stretch: Stretch, since: float, until: float | None) -> list[Stretch]:
    if until is None:
        until = stretch.end if stretch.start <= since else since
    if until <= stretch.start or since >= stretch.end:
        return [stretch]
    before, after = Stretch(stretch.users, stretch.start, since), Stretch(stretch.users, until, stretch.end)
    return [piece for piece in (before, after) if piece.end > piece.start]


def _meant(plan: Mapping[str, Any] | None) -> frozenset[int] | None:
    """The planned numbers of users; others are passed through on the way. None where nothing was planned."""
    planned = plan.get("levels") if plan is not None else None
    if not isinstance(planned, (list, tuple)) or not planned:
        return None
    return frozenset(users for users in planned if isinstance(users, int))


def find_stretches(users: Columns, last_sent: float | None) -> list[Stretch]:
    """Every stretch of a constant count, in order of time; no users while the run is stopping."""
    t, count = numbers(users, "t"), numbers(users, "users")
    stopping = np.array([state in STOPPING for state in texts(users, "state")], dtype=np.bool_)
    known = ~np.isnan(t) & ~np.isnan(count)
    t, users_at = t[known], np.where(stopping, 0, count)[known].astype(np.int64)
    if not len(t):
        return []
    changed = np.flatnonzero(np.diff(users_at)) + 1
    first = np.concatenate([[0], changed])
    bounds = [float(t[0]), *(_moment(t, int(i)) for i in changed), _last_moment(t, users_at, last_sent)]
    return [Stretch(int(users_at[i]), bounds[k], bounds[k + 1]) for k, i in enumerate(first)]


def _moment(t: Floats, i: int) -> float:
    """When the count changed to what sample i shows."""
    return float(t[i - 1] if t[i] - t[i - 1] <= SAMPLING else t[i])


def _last_moment(t: Floats, count: Ints, last_sent: float | None) -> float:
    """A last count with users lasts at least until the last reply was sent."""
    end = float(t[-1])
    return max(end, last_sent) if last_sent is not None and count[-1] > 0 else end


def _climbs(stretches: Sequence[Stretch], plateaus: Sequence[Stretch]) -> list[list[Stretch]]:
    """Runs of stretches that grow and are no plateau."""
    standing = set(plateaus)
    climbs: list[list[Stretch]] = [[]]
    for stretch in stretches:
        if stretch in standing or not stretch.users:
            climbs.append([])
            continue
        if climbs[-1] and stretch.users < climbs[-1][-1].users:
            climbs.append([])
        climbs[-1].append(stretch)
    return [climb for climb in climbs if climb]


def place(sent: Floats, levels: Sequence[Level]) -> Ints:
    """The number of the level in which each reply was sent; −1 outside all levels."""
    if not levels:
        return np.full(len(sent), -1, dtype=np.int64)
    starts = np.array([level.t_start for level in levels])
    ends = np.array([level.t_end for level in levels])
    number = np.searchsorted(starts, sent, side="right") - 1
    inside = (number >= 0) & (sent <= ends[number])
    return np.where(inside, number, -1).astype(np.int64)

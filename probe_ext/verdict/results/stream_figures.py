"""How an open stream fared: what was scheduled, and in each level what was sent, had to wait, or was not sent."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.level_result import StreamFigures
from probe_ext.workload.arrival_times import TRACE, ArrivalForm, segment_seed

DELAYED_S = 0.010
"""An arrival that waited as long for a free connection was delayed: less is what handing it over takes."""

EDGE_S = 0.02
"""Arrivals so near to a segment's end may be counted on either side of it: clocks are compared to milliseconds."""
_CLOCK_ERROR_S = 0.1
"""What is left then is matched so far apart: a worker's clock is known less well across a slow network."""
_SAME_S = 0.001
"""Rows so near to a scheduled time are matched with it first: the worker read the clock by which it is stated."""
MAX_ARRIVALS = 5_000_000
"""More are not counted again: a damaged manifest must not keep the report busy."""


def stream_figures(replies: Columns, rows: Ints, level: Level) -> StreamFigures:
    """Return the figures of one level; `rows`: the replies that were due in it."""
    if not isinstance(level.users, Rate):
        return StreamFigures()
    sent, due, late = (numbers(replies, name) for name in ("sent", "due", "late"))
    within = int(((sent >= level.t_start) & (sent <= level.t_end)).sum())
    unsent = is_any(replies, "outcome", {Outcome.NOT_SENT})[rows]
    waited = (sent - due - np.nan_to_num(late))[rows]
    return StreamFigures(
        rate=level.users.per_second,
        sent_rate=within / level.seconds if level.seconds > 0 else None,
        delayed=int(((waited >= DELAYED_S) | unsent).sum()),
        unsent=int(unsent.sum()),
    )


@dataclass(frozen=True)
class Schedule:
    """The arrivals that a run's schedule asked for, in order."""

    times: Floats
    """seconds of the run"""
    certain: Bools
    """False where clocks decide whether an arrival belonged to the run: it was due just before its rate ended"""

    @property
    def size(self) -> int:
        """How many arrivals must have a row."""
        return int(self.certain.sum())


@dataclass(frozen=True)
class Mismatch:
    """Where the rows of a run differ from its schedule, seconds of the run."""

    missing: Floats
    """times of arrivals without a row"""
    surplus: Floats
    """times of rows that are of no arrival"""

    def within(self, start: float, end: float) -> "Mismatch":
        """Return what lies between two moments."""
        cut = [times[(times >= start) & (times <= end)] for times in (self.missing, self.surplus)]
        return Mismatch(*cut)

    @property
    def size(self) -> int:
        """How many arrivals and rows are concerned."""
        return len(self.missing) + len(self.surplus)


def scheduled_arrivals(manifest: Mapping[str, Any]) -> Schedule | None:
    """Return when the schedule of a run asked for requests; None where that is not known.

    It is computed once more from the run's seed: nothing that the workers counted is taken on trust.
    """
    plan = mapping(manifest.get("arrivals"))
    seed, segments = plan.get("seed"), mappings(plan.get("segments"))
    starts = [number(segment, "from") for segment in segments]
    known = [start for start in [*starts, number(plan, "ended")] if start is not None]
    try:
        form = ArrivalForm.from_json(plan)
    except ValueError:
        return None
    if not isinstance(seed, int) or not segments or len(known) <= len(segments):
        return None
    times: list[float] = []
    certain: list[bool] = []
    for i, (segment, (start, end)) in enumerate(zip(segments, itertools.pairwise(known), strict=True)):
        rate = number(segment, "rate", 0.0)
        if len(times) + rate * (end - start) > MAX_ARRIVALS:
            return None
        if rate > 0:
            arrivals = form.times(rate, segment_seed(seed, i))
            own = list(itertools.takewhile((end - start + EDGE_S).__gt__, arrivals))
            times += [start + at for at in own]
            certain += [at < end - start - EDGE_S for at in own]
    order = np.argsort(times, kind="stable")
    return Schedule(np.array(times)[order], np.array(certain, dtype=np.bool_)[order])


def replayed_arrivals(manifest: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many requests of a replayed trace were due, and how many of them it is uncertain of.

    Uncertain are those so near to the moment at which the run was ended in mid-pass that clocks decide. None where no
    trace was replayed at its recorded times.
    """
    plan = mapping(manifest.get("arrivals"))
    counts = [segment.get("requests") for segment in mappings(plan.get("segments"))]
    known = [count for count in counts if isinstance(count, int)]
    if plan.get("form") != TRACE or not known or len(known) < len(counts):
        return None
    last_rate = number(mappings(plan.get("segments"))[-1], "rate", 0.0)
    return sum(known), math.ceil(last_rate * 2 * EDGE_S) + 1 if last_rate else 0


def compare_arrivals(schedule: Schedule, replies: Columns) -> Mismatch:
    """Match each scheduled arrival with one row that was due then, and return what is left of either.

    A count alone would let rows that should not exist make up for arrivals that have none.
    """
    due = np.sort(numbers(replies, "due"))
    within = (due >= schedule.times[0] - EDGE_S) & (due <= schedule.times[-1] + EDGE_S)
    left, rows = np.arange(len(schedule.times)), due[within]
    for tolerance in (_SAME_S, EDGE_S, _CLOCK_ERROR_S):
        free, unused = _unmatched(schedule.times[left].tolist(), rows.tolist(), tolerance)
        left, rows = left[free], rows[unused]
    return Mismatch(schedule.times[left[schedule.certain[left]]], rows)


def _unmatched(times: list[float], rows: list[float], tolerance: float) -> tuple[Ints, Ints]:
    """Return the indices of what has no partner when two ordered lists are matched one to one."""
    free: list[int] = []
    unused: list[int] = []
    i = j = 0
    while i < len(times) and j < len(rows):
        if rows[j] < times[i] - tolerance:
            unused.append(j)
            j += 1
        elif rows[j] > times[i] + tolerance:
            free.append(i)
            i += 1
        else:
            i, j = i + 1, j + 1
    free += range(i, len(times))
    unused += range(j, len(rows))
    return np.array(free, dtype=np.int64), np.array(unused, dtype=np.int64)

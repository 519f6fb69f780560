"""Do spans of time meet the rises of a series more often than chance explains?

A bracket is the time between two samples of which the later shows a rise. Chance is measured by rotation: within each
stretch of a constant number of users, all spans are shifted by one random time, and what leaves at the end re-enters at
the start. How often they then meet brackets is what would be seen if both had nothing in common but the load. Rotation
preserves bursts and periods, which drawing single moments would not (surrogate data: J. Theiler et al., "Testing for
nonlinearity in time series: the method of surrogate data", Physica D 58, 1992).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.bootstrap import CONFIDENCE, SEED
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import STALE_S, Series
from probe_ext.verdict.values.columns import Bools, Floats, Ints
from probe_ext.verdict.values.pause_types import Overlap

MIN_ROTATIONS, MAX_ROTATIONS = 40, 200
MAX_LOOKUPS = 8_000_000
"""With very many spans, fewer rotations are precise enough."""
MIN_STRETCH_S = 20.0
"""A shorter stretch leaves no room to rotate and is joined to the next one."""


@dataclass(frozen=True)
class Brackets:
    """Disjoint spans of time in order, each after `low` up to and including `high`."""

    low: Floats
    high: Floats

    def met_by(self, start: Floats, end: Floats) -> Bools:
        """Tell which spans meet a bracket; a moment is a span that ends where it starts."""
        if not len(self.high):
            return np.zeros(len(start), dtype=np.bool_)
        first = np.searchsorted(self.high, start, side="left")
        inside = np.minimum(first, len(self.high) - 1)
        return (first < len(self.high)) & (self.low[inside] < end)


def rises(engines: Sequence[Series]) -> Brackets:
    """Return the brackets in which a metric of any engine rose; samples too far apart bracket nothing."""
    low: list[Floats] = []
    high: list[Floats] = []
    for series in engines:
        rose = (series.rises() > 0) & (np.diff(series.t) <= STALE_S)
        low.append(series.t[:-1][rose])
        high.append(series.t[1:][rose])
    return _joined(np.concatenate([*low, np.empty(0)]), np.concatenate([*high, np.empty(0)]))


def _joined(low: Floats, high: Floats) -> Brackets:
    """Merge brackets that overlap or touch."""
    order = np.argsort(low, kind="stable")
    low, reach = low[order], np.maximum.accumulate(high[order]) if len(high) else high
    starts = np.flatnonzero(np.concatenate([[True], low[1:] > reach[:-1]])) if len(low) else np.empty(0, dtype=np.int64)
    ends = np.concatenate([starts[1:] - 1, [len(low) - 1]]).astype(np.int64) if len(low) else starts
    return Brackets(low[starts], reach[ends])


def stretches(levels: Sequence[Level], end: float) -> Floats:
    """Return where to cut the run for rotation: at the end of each level, so that its settling time stays with it."""
    edges = [0.0]
    for level in sorted(levels, key=lambda level: level.t_end):
        if level.t_end - edges[-1] >= MIN_STRETCH_S:
            edges.append(level.t_end)
    if len(edges) > 1 and end - edges[-1] < MIN_STRETCH_S:
        edges.pop()
    return np.array([*edges, max(end, edges[-1] + MIN_STRETCH_S)])


def overlap(brackets: Brackets, start: Floats, end: Floats, edges: Floats) -> Overlap:
    """Count the spans that meet a bracket, and how many would by chance."""
    seen = int(brackets.met_by(start, end).sum())
    rounds = int(np.clip(MAX_LOOKUPS // max(len(start), 1), MIN_ROTATIONS, MAX_ROTATIONS))
    counted = np.zeros(rounds, dtype=np.int64)
    rng = np.random.default_rng(SEED)
    stretch_of = np.clip(np.searchsorted(edges, start, side="right") - 1, 0, len(edges) - 2)
    for i in range(len(edges) - 1):
        inside = stretch_of == i
        counted += _rotated(brackets, (start[inside], end[inside]), edges[i : i + 2], rng, rounds)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(counted, [tail, 1 - tail]).tolist()
    return Overlap(seen, float(counted.mean()), low, high)


def _active_part(stretch: Floats, starts: Floats, lows: Floats) -> tuple[float, float]:
    """Return start and length of the part that has spans and brackets, with half a mean distance on either side.

    Quiet time before the first and after the last would make chance look smaller than it is.
    """
    fewer = min(len(starts), len(lows))
    if fewer < 2:
        return float(stretch[0]), float(stretch[1] - stretch[0])
    first, last = float(min(starts.min(), lows.min())), float(max(starts.max(), lows.max()))
    around = (last - first) / (2 * (fewer - 1))
    first, last = max(first - around, float(stretch[0])), min(last + around, float(stretch[1]))
    return first, max(last - first, 1e-9)


def _rotated(
    brackets: Brackets, spans: tuple[Floats, Floats], stretch: Floats, rng: np.random.Generator, rounds: int
) -> Ints:
    """Count the spans of one stretch that meet its brackets, for each of some random rotations."""
    start, end = spans
    inside = (brackets.high > stretch[0]) & (brackets.low < stretch[1])
    low, high = np.maximum(brackets.low[inside], stretch[0]), np.minimum(brackets.high[inside], stretch[1])
    if not len(start) or not len(low):
        return np.zeros(rounds, dtype=np.int64)
    a, length = _active_part(stretch, np.minimum(start, stretch[1]), low)
    low, high = np.maximum(low, a), np.minimum(high, a + length)
    turns = rng.uniform(0.0, length, rounds)
    # Spans may reach past the end, so the brackets are repeated.
    twice = _joined(np.concatenate([low, low + length]), np.concatenate([high, high + length]))
    duration = np.minimum(end - start, length)
    counted = np.empty(rounds, dtype=np.int64)
    for n, turn in enumerate(turns):
        moved = a + (start - a + turn) % length
        counted[n] = twice.met_by(moved, moved + duration).sum()
    return counted

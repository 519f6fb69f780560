"""Do spans of time meet brackets more often than chance explains?

A bracket is the time between two samples of a series of which the later shows that something rose. Chance is measured
by rotating the brackets against the spans: within each stretch of a constant number of users all spans are moved on by
one random time, and what falls out at the end comes in at the start. How often they meet brackets then is what would be
seen if the two had nothing in common but the load that both depend on. Rotation keeps bursts and periods as they are,
which drawing single moments anew would not (a surrogate in the sense of J. Theiler et al., "Testing for nonlinearity in
time series: the method of surrogate data", Physica D 58, 1992).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.bootstrap import CONFIDENCE, SEED
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import STALE, Series
from probe_ext.verdict.values.columns import Bools, Floats, Ints
from probe_ext.verdict.values.pause_types import Overlap

ROTATIONS = 200
FEWEST_ROTATIONS = 40
LOOK_UPS = 8_000_000
"""so many at most: with very many spans, fewer rotations say as much"""
SHORTEST = 20.0
"""seconds: a shorter stretch is joined to the next, there is nothing to rotate in it"""


@dataclass(frozen=True)
class Brackets:
    """Stretches of time, apart from each other and in order: after `low`, up to and with `high`."""

    low: Floats
    high: Floats

    def met_by(self, start: Floats, end: Floats) -> Bools:
        """Which spans meet one; a moment is a span that ends where it starts."""
        if not len(self.high):
            return np.zeros(len(start), dtype=np.bool_)
        first = np.searchsorted(self.high, start, side="left")
        inside = np.minimum(first, len(self.high) - 1)
        return (first < len(self.high)) & (self.low[inside] < end)


def rises(engines: Sequence[Series]) -> Brackets:
    """The brackets in which a figure rose, of any engine; samples too far apart bracket nothing."""
    low: list[Floats] = []
    high: list[Floats] = []
    for series in engines:
        which = (series.rises() > 0) & (np.diff(series.t) <= STALE)
        low.append(series.t[:-1][which])
        high.append(series.t[1:][which])
    return _joined(np.concatenate([*low, np.empty(0)]), np.concatenate([*high, np.empty(0)]))


def _joined(low: Floats, high: Floats) -> Brackets:
    """What overlaps or touches is one."""
    order = np.argsort(low, kind="stable")
    low, reach = low[order], np.maximum.accumulate(high[order]) if len(high) else high
    starts = np.flatnonzero(np.concatenate([[True], low[1:] > reach[:-1]])) if len(low) else np.empty(0, dtype=np.int64)
    ends = np.concatenate([starts[1:] - 1, [len(low) - 1]]).astype(np.int64) if len(low) else starts
    return Brackets(low[starts], reach[ends])


def stretches(levels: Sequence[Level], end: float) -> Floats:
    """Where the run is cut for rotating: at the end of each level, so that settling goes with what it settles into."""
    edges = [0.0]
    for level in sorted(levels, key=lambda one: one.t_end):
        if level.t_end - edges[-1] >= SHORTEST:
            edges.append(level.t_end)
    if len(edges) > 1 and end - edges[-1] < SHORTEST:
        edges.pop()
    return np.array([*edges, max(end, edges[-1] + SHORTEST)])


def overlap(brackets: Brackets, start: Floats, end: Floats, edges: Floats) -> Overlap:
    """How many spans meet a bracket, and how many would by chance."""
    seen = int(brackets.met_by(start, end).sum())
    rounds = int(np.clip(LOOK_UPS // max(len(start), 1), FEWEST_ROTATIONS, ROTATIONS))
    counted = np.zeros(rounds, dtype=np.int64)
    rng = np.random.default_rng(SEED)
    where = np.clip(np.searchsorted(edges, start, side="right") - 1, 0, len(edges) - 2)
    for number in range(len(edges) - 1):
        counted += _rotated(
            brackets, (start[where == number], end[where == number]), edges[number : number + 2], rng, rounds
        )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(counted, [tail, 1 - tail]).tolist()
    return Overlap(seen, float(counted.mean()), low, high)


def _in_use(stretch: Floats, starts: Floats, lows: Floats) -> tuple[float, float]:
    """The start and length of the part in which there are spans and brackets at all, with half a usual distance around.

    Calm before the first and behind the last would make chance look smaller than it is.
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
    """How many spans of one stretch meet its brackets, for each of some random rotations."""
    start, end = spans
    inside = (brackets.high > stretch[0]) & (brackets.low < stretch[1])
    low, high = np.maximum(brackets.low[inside], stretch[0]), np.minimum(brackets.high[inside], stretch[1])
    if not len(start) or not len(low):
        return np.zeros(rounds, dtype=np.int64)
    a, length = _in_use(stretch, np.minimum(start, stretch[1]), low)
    low, high = np.maximum(low, a), np.minimum(high, a + length)
    turns = rng.uniform(0.0, length, rounds)
    twice = _joined(
        np.concatenate([low, low + length]), np.concatenate([high, high + length])
    )  # spans reach past the end
    lasts = np.minimum(end - start, length)
    counted = np.empty(rounds, dtype=np.int64)
    for n, turn in enumerate(turns):
        moved = a + (start - a + turn) % length
        counted[n] = twice.met_by(moved, moved + lasts).sum()
    return counted

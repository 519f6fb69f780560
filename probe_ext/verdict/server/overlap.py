"""Do moments coincide with the rises of a counter more often than chance explains?

A bracket is the time between two samples of which the later shows a rise. Chance is measured by rotation: the run is
cut into short windows, within which the load hardly changes, and in each window all moments are shifted by one random
time; what leaves at the end re-enters at the start. How often they then meet brackets is what would be seen if both had
nothing in common but the load. Short windows allow for busy spells that both share, and moving all moments of a window
together preserves bursts (conditional inference by jitter: A. Amarasingham et al., J. Neurophysiol. 107, 2012).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import STALE_S, Series
from probe_ext.verdict.values.pause_types import Overlap, OverlapResult

ERROR, SEED = 0.025, 20_240_607
"""Share of runs without a connection in which one is found, at most."""
MAX_PROBABILITY = 0.01
"""Of as many coincidences by rotation: stricter than ERROR, because busy spells may be shorter than a window."""
MIN_ROTATIONS, MAX_ROTATIONS = 100, 400
MAX_LOOKUPS = 8_000_000
"""With very many moments, fewer rotations are precise enough."""
WINDOW_SAMPLES = 6
"""Samples per window: long enough for chance to miss a bracket, short enough for the load not to change."""
MIN_EXCESS = 0.2
"""Share of the moments beyond chance that is worth a word."""


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


def counter_rises(engines: Sequence[Series]) -> Brackets:
    """Return the brackets in which a counter of any engine rose; one that fell was reset, and counts from zero."""
    return _brackets(engines, [series.rises() for series in engines])


def gauge_rises(engines: Sequence[Series]) -> Brackets:
    """Return the brackets in which a gauge of any engine rose."""
    return _brackets(engines, [np.diff(series.value) for series in engines])


def _brackets(engines: Sequence[Series], steps: Sequence[Floats]) -> Brackets:
    """Return where steps are positive; samples too far apart bracket nothing."""
    low: list[Floats] = []
    high: list[Floats] = []
    for series, step in zip(engines, steps, strict=True):
        rose = (step > 0) & (np.diff(series.t) <= STALE_S)
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


def windows(levels: Sequence[Level], engines: Sequence[Series], end: float) -> Floats:
    """Return the edges of the windows for rotation: a few samples long, and none across the end of a level."""
    steps = [np.diff(series.t) for series in engines if len(series.t) > 1]
    length = WINDOW_SAMPLES * float(np.median(np.concatenate(steps))) if steps else WINDOW_SAMPLES
    cuts = [0.0]
    for cut in sorted({level.t_end for level in levels} | {end}):
        if cut - cuts[-1] >= length / 2:
            parts = max(1, round((cut - cuts[-1]) / length))
            cuts += np.linspace(cuts[-1], cut, parts + 1)[1:].tolist()
    cuts[-1] = max(cuts[-1], end)
    return np.array(cuts if len(cuts) > 1 else [0.0, max(end, length)])


def overlap(brackets: Brackets, moments: Floats, edges: Floats) -> Overlap:
    """Count the moments in a bracket and how many there would be by chance, and compare both."""
    seen = int(brackets.met_by(moments, moments).sum())
    rotations = int(np.clip(MAX_LOOKUPS // max(len(moments), 1), MIN_ROTATIONS, MAX_ROTATIONS))
    rng = np.random.default_rng(SEED)
    lengths = np.diff(edges)
    window = np.clip(np.searchsorted(edges, moments, side="right") - 1, 0, len(lengths) - 1)
    start, length = edges[window], lengths[window]
    counted = np.empty(rotations, dtype=np.int64)
    for n in range(rotations):
        shift = rng.uniform(0.0, lengths)[window]
        moved = start + (moments - start + shift) % length
        counted[n] = brackets.met_by(moved, moved).sum()
    low, high = np.quantile(counted, [ERROR, 1 - ERROR]).tolist()
    chance = float(counted.mean())
    probability = float(1 + (counted >= seen).sum()) / (rotations + 1)
    excess, most = (seen - chance) / max(len(moments), 1), (seen - low) / max(len(moments), 1)
    return Overlap(seen, len(moments), chance, low, high, _result(probability, excess, most))


def _result(probability: float, excess: float, most: float) -> OverlapResult:
    """Compare the share of moments beyond chance, and the most that it can be, with what is worth a word."""
    if most < MIN_EXCESS:
        return "no_sign"
    return "more_than_chance" if probability <= MAX_PROBABILITY and excess >= MIN_EXCESS else "cannot_tell"

"""How many replies were in flight and how many streamed at the same time: the batch as clients see it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.evidence.columns import Bools, Floats, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.levels.find_levels import Level

Counts = NDArray[np.int32]

_COUNTED_AT_ONCE = 1 << 20
CROWDED = 1.5
"""Mean number of replies in flight from which replies run side by side."""
TYPING_TOP_QUANTILE = 0.9
"""Share of the time in which `typing_top` is not exceeded."""


@dataclass(frozen=True)
class Crowd:
    """Concurrency of replies in a stretch; means are over time.

    A reply is in flight from sent to end, and typing from its first token to its last.
    """

    in_flight: float
    typing: float
    crowded: float
    """seconds with at least two replies in flight"""
    typing_top: float | None
    """number of replies typing at once that is not exceeded in 90 % of the crowded time"""
    together: float | None
    """share of the crowded time with two or more replies typing"""
    any_typing: float | None
    """share of the crowded time with at least one reply typing"""


def crowd(replies: Columns, level: Level) -> Crowd | None:
    """Measure all replies in flight during the level's measured part, whenever sent; None without any."""
    flying = _spans(replies, "sent", "end", level)
    typing = _spans(replies, "first", "last", level)
    edges = np.unique(np.concatenate([*flying, *typing, [level.t_start, level.t_end]]))
    if not len(flying[0]) or len(edges) < 2:
        return None
    seconds = np.diff(edges)
    fly, typ = _count(flying, edges), _count(typing, edges)
    del edges, flying, typing  # there are four for each reply
    total = float(seconds.sum())
    busy: Bools = fly >= 2
    crowded = float(seconds[busy].sum())
    return Crowd(
        in_flight=float((fly * seconds).sum()) / total,
        typing=float((typ * seconds).sum()) / total,
        crowded=crowded,
        typing_top=_weighted_quantile(typ[busy], seconds[busy], TYPING_TOP_QUANTILE) if crowded else None,
        together=float(seconds[busy & (typ >= 2)].sum()) / crowded if crowded else None,
        any_typing=float(seconds[busy & (typ >= 1)].sum()) / crowded if crowded else None,
    )


def _spans(replies: Columns, start: str, end: str, level: Level) -> tuple[Floats, Floats]:
    """Return starts and ends clipped to the level; replies without them, or outside the level, are left out."""
    a, b = numbers(replies, start), numbers(replies, end)
    known = ~np.isnan(a) & ~np.isnan(b)
    inside = known & (a < level.t_end) & (b > level.t_start)
    return np.maximum(a[inside], level.t_start), np.minimum(b[inside], level.t_end)


def _count(spans: tuple[Floats, Floats], edges: Floats) -> Counts:
    """Return how many spans there are in the middle between each two edges."""
    starts, ends = (np.sort(moments) for moments in spans)
    counts = np.empty(len(edges) - 1, dtype=np.int32)
    for first in range(0, len(counts), _COUNTED_AT_ONCE):
        part = edges[first : first + _COUNTED_AT_ONCE + 1]
        middle = (part[1:] + part[:-1]) / 2
        begun = np.searchsorted(starts, middle, side="right")
        counts[first : first + _COUNTED_AT_ONCE] = begun - np.searchsorted(ends, middle, side="right")
    return counts


def _weighted_quantile(values: Counts, weights: Floats, q: float) -> float:
    order = np.argsort(values, kind="stable")
    share = weights[order]
    np.cumsum(share, out=share)
    share /= weights.sum()
    return float(values[order][min(int(np.searchsorted(share, q)), len(order) - 1)])

"""How many replies were in flight and how many streamed at the same time: the batch as clients see it."""

from collections.abc import Sequence
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
    edges = _edges([*flying, *typing], level)
    if not len(flying[0]) or len(edges) < 2:
        return None
    for moments in (*flying, *typing):
        moments.sort()
    total = in_flight = typed = crowded = together = any_typing = 0.0
    weights = np.zeros(1)
    """seconds of the crowded time with each number of replies typing"""
    for first in range(0, len(edges) - 1, _COUNTED_AT_ONCE):
        part = edges[first : first + _COUNTED_AT_ONCE + 1]
        seconds, fly, typ = np.diff(part), _count(flying, part), _count(typing, part)
        busy: Bools = fly >= 2
        total += float(seconds.sum())
        in_flight += float((fly * seconds).sum())
        typed += float((typ * seconds).sum())
        crowded += float(seconds[busy].sum())
        together += float(seconds[busy & (typ >= 2)].sum())
        any_typing += float(seconds[busy & (typ >= 1)].sum())
        weights = _sum(weights, np.bincount(typ[busy], weights=seconds[busy]).astype(np.float64))
    return Crowd(
        in_flight=in_flight / total,
        typing=typed / total,
        crowded=crowded,
        typing_top=_weighted_quantile(weights, TYPING_TOP_QUANTILE) if crowded else None,
        together=together / crowded if crowded else None,
        any_typing=any_typing / crowded if crowded else None,
    )


def _edges(moments: Sequence[Floats], level: Level) -> Floats:
    """Return the moments, four of each reply, and both ends of the level in order, each once."""
    edges = np.concatenate([*moments, [level.t_start, level.t_end]])
    edges.sort()
    is_new = np.ones(len(edges), dtype=np.bool_)
    np.not_equal(edges[1:], edges[:-1], out=is_new[1:])
    size = 0
    for start in range(0, len(edges), _COUNTED_AT_ONCE):  # in place: a copy would take 32 bytes for each reply
        kept = edges[start : start + _COUNTED_AT_ONCE][is_new[start : start + _COUNTED_AT_ONCE]]
        edges[size : size + len(kept)] = kept
        size += len(kept)
    return edges[:size]


def _sum(one: Floats, other: Floats) -> Floats:
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    longer[: len(shorter)] += shorter
    return longer


def _spans(replies: Columns, start: str, end: str, level: Level) -> tuple[Floats, Floats]:
    """Return starts and ends clipped to the level; replies without them, or outside the level, are left out."""
    a, b = numbers(replies, start), numbers(replies, end)
    known = ~np.isnan(a) & ~np.isnan(b)
    inside = known & (a < level.t_end) & (b > level.t_start)
    return np.maximum(a[inside], level.t_start), np.minimum(b[inside], level.t_end)


def _count(spans: tuple[Floats, Floats], edges: Floats) -> Counts:
    """Return how many spans, given by their sorted starts and ends, there are in the middle between each two edges."""
    middle = (edges[1:] + edges[:-1]) / 2
    begun, ended = (np.searchsorted(moments, middle, side="right") for moments in spans)
    return (begun - ended).astype(np.int32)


def _weighted_quantile(weights: Floats, q: float) -> float:
    """Return the number that is not exceeded in this share of the weights of all numbers from 0 on."""
    share = np.cumsum(weights)
    share /= share[-1]
    return float(min(int(np.searchsorted(share, q)), len(share) - 1))

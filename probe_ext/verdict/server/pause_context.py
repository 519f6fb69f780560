"""What the server said of itself around each silent pause.

Three things about each can be seen in the server's samples: it *meets* a rise of the preemption counter; it *ends* in
one (vLLM counts a preemption when its victim runs again); it *starts* as the queue grew (the victim stands there at
once).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.overlap import rises
from probe_ext.verdict.server.server_series import STALE, Engine, Metrics, Series
from probe_ext.verdict.values.columns import Bools, Floats


@dataclass(frozen=True)
class Moments:
    """What the server said of each pause; NaN where it said nothing."""

    watched: Bools
    """whether the preemption counter was read throughout"""
    meets: Bools
    ends: Bools
    starts: Bools
    kv_usage: Floats
    """highest from the sample before the pause to its end, of the fullest engine"""
    waiting: Floats
    """the same, of all engines together"""


def look_at(spans: Spans, metrics: Metrics) -> Moments:
    """What the server's samples show of each pause."""
    counters = list(metrics.get("preemptions", {}).values())
    queues = list(metrics.get("waiting", {}).values())
    counted, grew = rises(counters), rises(queues)
    return Moments(
        watched=_watched(spans, counters),
        meets=counted.met_by(spans.start, spans.end),
        ends=spans.resumed & counted.met_by(spans.end, spans.end),
        starts=grew.met_by(spans.start, spans.start),
        kv_usage=_highest(spans, metrics.get("kv_usage", {}), together=False),
        waiting=_highest(spans, metrics.get("waiting", {}), together=True),
    )


def _watched(spans: Spans, engines: Sequence[Series]) -> Bools:
    """Whether samples follow each other closely from before the pause to after it."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines)]))
    if len(t) < 2:
        return np.zeros(len(spans), dtype=np.bool_)
    holes = np.concatenate([[0], np.cumsum(np.diff(t) > STALE)])
    before = np.searchsorted(t, spans.start, side="right") - 1
    after = np.searchsorted(t, spans.end, side="left")
    known = (before >= 0) & (after < len(t))
    through: Bools = known & (holes[np.maximum(before, 0)] == holes[np.minimum(after, len(t) - 1)])
    return through


def _highest(spans: Spans, engines: Mapping[Engine, Series], *, together: bool) -> Floats:
    """The highest value from the sample before each pause to its end; NaN without a sample."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines.values())]))
    if not len(t) or not len(spans):
        return np.full(len(spans), np.nan)
    each = np.array([_fresh(series, t) for series in engines.values()])
    value = np.nansum(each, axis=0) if together else np.nanmax(each, axis=0)
    first = np.searchsorted(t, spans.start, side="right") - 1
    behind = np.searchsorted(t, spans.end, side="right")
    stale = (first >= 0) & (spans.start - t[np.maximum(first, 0)] > STALE)
    first = np.where(stale, first + 1, np.maximum(first, 0))
    some = behind > first
    edges = np.column_stack([first, np.maximum(behind, first + 1)])[some].ravel()
    out = np.full(len(spans), np.nan)
    if some.any():
        out[some] = np.maximum.reduceat(np.append(value, -np.inf), edges)[::2]
    return out


def _fresh(series: Series, moments: Floats) -> Floats:
    """The latest sample at each moment; NaN where there is none, or only a stale one."""
    at = np.searchsorted(series.t, moments, side="right") - 1
    fresh = (at >= 0) & (moments - series.t[at] <= STALE)
    return np.where(fresh, series.value[at], np.nan)

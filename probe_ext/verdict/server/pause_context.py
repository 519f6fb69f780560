"""What the server reported around each silent pause.

Its samples show whether a pause *meets* a rise of the preemption counter, *ends* in one (vLLM counts a preemption when
the preempted request runs again), or *starts* while the queue grows (the preempted request is queued at once).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.overlap import counter_rises, gauge_rises
from probe_ext.verdict.server.server_series import STALE_S, Engine, Metrics, Series


@dataclass(frozen=True)
class PauseContext:
    """What the server reported around each pause; NaN where it reported nothing."""

    watched: Bools
    """whether the preemption counter was read throughout"""
    meets: Bools
    ends: Bools
    starts: Bools
    kv_usage: Floats
    """peak from the sample before the pause to its end, of the fullest engine"""
    waiting: Floats
    """the same, summed over all engines"""


def pause_context(spans: Spans, metrics: Metrics) -> PauseContext:
    """Return what the server's samples show around each pause."""
    counters = list(metrics.get("preemptions", {}).values())
    queues = list(metrics.get("waiting", {}).values())
    preemptions, queue_growth = counter_rises(counters), gauge_rises(queues)
    return PauseContext(
        watched=_watched(spans, counters),
        meets=preemptions.met_by(spans.start, spans.end),
        ends=spans.resumed & preemptions.met_by(spans.end, spans.end),
        starts=queue_growth.met_by(spans.start, spans.start),
        kv_usage=_highest(spans, metrics.get("kv_usage", {}), together=False),
        waiting=_highest(spans, metrics.get("waiting", {}), together=True),
    )


def _watched(spans: Spans, engines: Sequence[Series]) -> Bools:
    """Tell whether samples follow each other closely from before each pause to after it."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines)]))
    if len(t) < 2:
        return np.zeros(len(spans), dtype=np.bool_)
    holes = np.concatenate([[0], np.cumsum(np.diff(t) > STALE_S)])
    before = np.searchsorted(t, spans.start, side="right") - 1
    after = np.searchsorted(t, spans.end, side="left")
    covered = (before >= 0) & (after < len(t))
    watched: Bools = covered & (holes[np.maximum(before, 0)] == holes[np.minimum(after, len(t) - 1)])
    return watched


def _highest(spans: Spans, engines: Mapping[Engine, Series], *, together: bool) -> Floats:
    """Return the peak from the sample before each pause to its end; NaN without a sample."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines.values())]))
    if not len(t) or not len(spans):
        return np.full(len(spans), np.nan)
    samples = np.array([_fresh(series, t) for series in engines.values()])
    value = np.nansum(samples, axis=0) if together else np.nanmax(samples, axis=0)
    first = np.searchsorted(t, spans.start, side="right") - 1
    after = np.searchsorted(t, spans.end, side="right")
    stale = (first >= 0) & (spans.start - t[np.maximum(first, 0)] > STALE_S)
    first = np.where(stale, first + 1, np.maximum(first, 0))
    sampled = after > first
    edges = np.column_stack([first, np.maximum(after, first + 1)])[sampled].ravel()
    out = np.full(len(spans), np.nan)
    if sampled.any():
        out[sampled] = np.maximum.reduceat(np.append(value, -np.inf), edges)[::2]
    return out


def _fresh(series: Series, moments: Floats) -> Floats:
    """Return the latest sample at each moment; NaN where there is none, or only a stale one."""
    at = np.searchsorted(series.t, moments, side="right") - 1
    fresh = (at >= 0) & (moments - series.t[at] <= STALE_S)
    return np.where(fresh, series.value[at], np.nan)

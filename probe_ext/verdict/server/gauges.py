"""The server's gauges sample by sample within one level, and how fast its counters grew there."""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import STALE, Metrics, Series
from probe_ext.verdict.values.columns import Bools, Floats

SAMPLES = 3
"""of the server's gauges with somebody waiting"""


@dataclass(frozen=True)
class Gauges:
    """Samples of a level, arrays of one length; NaN where the server did not tell."""

    running: Floats
    """all engines together, as the next"""
    waiting: Floats
    kv: Floats
    """fraction of the KV cache, of the fullest engine"""

    @property
    def queued(self) -> Bools:
        """Samples in which somebody waited for a place."""
        return np.asarray(self.waiting >= 1)

    @property
    def room(self) -> Floats:
        """How many replies more the KV cache would have held, each as large as the running ones on average."""
        with np.errstate(divide="ignore", invalid="ignore"):
            each = self.kv / self.running
            room: Floats = np.where(each > 0, (1 - self.kv) / each, np.nan)
        return room


def gauges(metrics: Metrics, level: Level) -> Gauges:
    """The gauges at every moment of the level at which one of them was sampled."""
    names = ("running", "waiting", "kv_usage")
    all_series = [series for name in names for series in metrics.get(name, {}).values()]
    moments = np.unique(np.concatenate([series.t for series in all_series] or [np.empty(0)]))
    moments = moments[(moments >= level.t_start) & (moments <= level.t_end)]
    told = {name: np.array([_as_of(one, moments) for one in metrics.get(name, {}).values()]) for name in names}
    return Gauges(
        running=_over_engines(told["running"], len(moments), np.add),
        waiting=_over_engines(told["waiting"], len(moments), np.add),
        kv=_over_engines(told["kv_usage"], len(moments), np.fmax),
    )


def _over_engines(told: Floats, count: int, fold: np.ufunc) -> Floats:
    if not told.size:
        return np.full(count, np.nan)
    known = ~np.isnan(told)
    filled = np.where(known, told, 0.0)
    out: Floats = np.where(known.any(axis=0), fold.reduce(filled, axis=0), np.nan)
    return out


def _as_of(series: Series, moments: Floats) -> Floats:
    at = np.searchsorted(series.t, moments, side="right") - 1
    fresh = (at >= 0) & (moments - series.t[at] <= STALE)
    out: Floats = np.where(fresh, series.value[at], np.nan)
    return out


def growth(metrics: Metrics, quantity: str, level: Level) -> tuple[float, float] | None:
    """By how much a counter grew, all engines together, and in how many seconds; None without two samples."""
    grown = [_grown(series, level) for series in metrics.get(quantity, {}).values()]
    known = [one for one in grown if one is not None]
    return (sum(rise for rise, _ in known), max(seconds for _, seconds in known)) if known else None


def _grown(series: Series, level: Level) -> tuple[float, float] | None:
    inside = np.flatnonzero((series.t >= level.t_start) & (series.t <= level.t_end))
    if len(inside) < 2:
        return None
    seconds = float(series.t[inside[-1]] - series.t[inside[0]])
    return float(series.rises()[inside[0] : inside[-1]].sum()), seconds


def mean_of(metrics: Metrics, name: str, level: Level) -> float | None:
    """The mean of a latency that the server told as sum and count, of what it counted within the level."""
    total, count = growth(metrics, f"{name}_sum", level), growth(metrics, f"{name}_count", level)
    return total[0] / count[0] if total and count and count[0] else None

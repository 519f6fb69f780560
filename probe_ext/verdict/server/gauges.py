"""The server's gauges sample by sample within one level, and the growth of its counters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import STALE_S, Engine, Metrics, Series

MIN_QUEUED_SAMPLES = 3
"""Samples with requests waiting that a conclusion needs."""


@dataclass(frozen=True)
class Gauges:
    """Samples of a level, arrays of one length; NaN where the server reported nothing."""

    running: Floats
    """sum over all engines, as is `waiting`"""
    waiting: Floats
    kv: Floats
    """fraction of the KV cache, of the fullest engine"""

    @property
    def queued(self) -> Bools:
        """Mask of samples with requests waiting."""
        return np.asarray(self.waiting >= 1)

    @property
    def room(self) -> Floats:
        """Number of further replies that the KV cache has room for, at the mean size of the running ones."""
        with np.errstate(divide="ignore", invalid="ignore"):
            per_reply = self.kv / self.running
            room: Floats = np.where(per_reply > 0, (1 - self.kv) / per_reply, np.nan)
        return room


_NAMES = ("running", "waiting", "kv_usage")


def gauges_by_engine(metrics: Metrics, level: Level) -> Mapping[Engine, Gauges]:
    """Return the gauges of each engine by itself, which has its own slots, queue and KV cache."""
    known = [frozenset(metrics[name]) for name in _NAMES if name in metrics]
    if len(set(known)) != 1:  # some are reported by engine and some in total
        return {("", ""): gauges(metrics, level)}
    return {engine: gauges(of_engine(metrics, engine), level) for engine in sorted(known[0])}


def of_engine(metrics: Metrics, engine: Engine) -> Metrics:
    """Return the metrics of one engine alone."""
    return {name: {engine: series[engine]} for name, series in metrics.items() if engine in series}


def gauges(metrics: Metrics, level: Level) -> Gauges:
    """Return the gauges at every moment of the level at which one of them was sampled."""
    all_series = [series for name in _NAMES for series in metrics.get(name, {}).values()]
    moments = np.unique(np.concatenate([series.t for series in all_series] or [np.empty(0)]))
    moments = moments[(moments >= level.t_start) & (moments <= level.t_end)]
    samples = {
        name: np.array([_fresh_sample(series, moments) for series in metrics.get(name, {}).values()]) for name in _NAMES
    }
    return Gauges(
        running=_over_engines(samples["running"], len(moments), np.add),
        waiting=_over_engines(samples["waiting"], len(moments), np.add),
        kv=_over_engines(samples["kv_usage"], len(moments), np.fmax),
    )


def _over_engines(samples: Floats, count: int, combine: np.ufunc) -> Floats:
    if not samples.size:
        return np.full(count, np.nan)
    known = ~np.isnan(samples)
    filled = np.where(known, samples, 0.0)
    out: Floats = np.where(known.any(axis=0), combine.reduce(filled, axis=0), np.nan)
    return out


def _fresh_sample(series: Series, moments: Floats) -> Floats:
    at = np.searchsorted(series.t, moments, side="right") - 1
    fresh = (at >= 0) & (moments - series.t[at] <= STALE_S)
    out: Floats = np.where(fresh, series.value[at], np.nan)
    return out


def growth(metrics: Metrics, quantity: str, level: Level) -> tuple[float, float] | None:
    """Return the growth of a counter over all engines and the seconds it took; None without two samples."""
    grown = (_growth(series, level) for series in metrics.get(quantity, {}).values())
    known = [rise_and_seconds for rise_and_seconds in grown if rise_and_seconds is not None]
    return (sum(rise for rise, _ in known), max(seconds for _, seconds in known)) if known else None


def _growth(series: Series, level: Level) -> tuple[float, float] | None:
    inside = np.flatnonzero((series.t >= level.t_start) & (series.t <= level.t_end))
    if len(inside) < 2:
        return None
    seconds = float(series.t[inside[-1]] - series.t[inside[0]])
    return float(series.rises()[inside[0] : inside[-1]].sum()), seconds


def mean_of(metrics: Metrics, name: str, level: Level) -> float | None:
    """Return the mean within the level of a latency that the server reports as sum and count."""
    total, count = growth(metrics, f"{name}_sum", level), growth(metrics, f"{name}_count", level)
    return total[0] / count[0] if total and count and count[0] else None

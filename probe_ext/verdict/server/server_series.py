"""What the server said of itself: samples of several engines put together, counters that may start anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.columns import Floats, numbers, texts
from probe_ext.verdict.values.evidence import Columns
from probe_ext.verdict.values.level_result import ServerFigures

STALE = 5.0
"""seconds: an engine's sample no longer counts as its present state"""
_MISSED = 2.5
"""spacings of an engine's samples: where it is asked seldom, a sample counts for that much longer"""

Engine = tuple[str, str]
"""URL and engine"""


@dataclass(frozen=True)
class Series:
    """Samples of one quantity of one engine, in order of time."""

    t: Floats
    value: Floats

    def rises(self) -> Floats:
        """Growth of a counter up to each sample after the first. One that fell had started anew from nothing."""
        step = np.diff(self.value)
        return np.where(step < 0, self.value[1:], step)


Metrics = Mapping[str, Mapping[Engine, Series]]
"""by quantity and engine"""


def read_metrics(server: Columns) -> Metrics:
    """Sort the samples by quantity and engine. Where an engine's parts and their sum both stand, the sum is taken."""
    t, value = numbers(server, "t"), numbers(server, "value")
    keys = list(zip(texts(server, "quantity"), texts(server, "url"), texts(server, "engine"), strict=True))
    rows: dict[tuple[str, str, str], list[int]] = {}
    for i in np.flatnonzero(~np.isnan(t) & ~np.isnan(value)):
        rows.setdefault(keys[i], []).append(int(i))
    metrics: dict[str, dict[Engine, Series]] = {}
    for (quantity, url, engine), of in sorted(rows.items()):
        if engine == "all" or (quantity, url, "all") not in rows:
            order = np.array(of)[np.argsort(t[of], kind="stable")]
            metrics.setdefault(quantity, {})[url, engine] = Series(t[order], value[order])
    return metrics


def server_figures(metrics: Metrics, level: Level) -> ServerFigures:
    """The figures of one level; None where the server said nothing."""
    return ServerFigures(
        kv_usage_max=_highest(metrics, "kv_usage", level),
        preemptions=_rise(metrics, "preemptions", level),
        waiting_max=_highest_sum(metrics, "waiting", level),
        running_max=_highest_sum(metrics, "running", level),
    )


def _within(series: Series, level: Level) -> Floats:
    return series.value[(series.t >= level.t_start) & (series.t <= level.t_end)]


def _highest(metrics: Metrics, quantity: str, level: Level) -> float | None:
    """Over engines: each stands for itself, and the fullest one binds."""
    values = [_within(series, level) for series in metrics.get(quantity, {}).values()]
    present = np.concatenate([v for v in values if len(v)] or [np.empty(0)])
    return float(present.max()) if len(present) else None


def _highest_sum(metrics: Metrics, quantity: str, level: Level) -> float | None:
    """The highest sum over engines, at any sample in the level."""
    moments, values = put_together(list(metrics.get(quantity, {}).values()))
    inside = values[(moments >= level.t_start) & (moments <= level.t_end)]
    return float(inside.max()) if len(inside) else None


def put_together(engines: Sequence[Series], *, fullest: bool = False) -> tuple[Floats, Floats]:
    """All engines at every moment at which one was asked: their sum, or the fullest, of each one's latest sample.

    They are asked at different moments. One whose sample is stale is left out, not taken for idle.
    """
    moments = np.unique(np.concatenate([s.t for s in engines] or [np.empty(0)]))
    if not len(moments):
        return moments, moments
    latest = np.array([_as_of(series, moments) for series in engines])
    return moments, np.nanmax(latest, axis=0) if fullest else np.nansum(latest, axis=0)


def _as_of(series: Series, moments: Floats) -> Floats:
    """The latest sample at each moment; NaN where there is none, or only a stale one."""
    at = np.searchsorted(series.t, moments, side="right") - 1
    spacing = float(np.median(np.diff(series.t))) if len(series.t) > 1 else 0.0
    fresh = (at >= 0) & (moments - series.t[at] <= max(STALE, _MISSED * spacing))
    return np.where(fresh, series.value[at], np.nan)


def _rise(metrics: Metrics, quantity: str, level: Level) -> int | None:
    """Growth of a counter over all engines, put at the sample that showed it."""
    rises = []
    for series in metrics.get(quantity, {}).values():
        seen = (series.t[1:] > level.t_start) & (series.t[1:] <= level.t_end)
        if seen.any():
            rises.append(float(series.rises()[seen].sum()))
    return round(sum(rises)) if rises else None


def total_rise(metrics: Metrics, quantity: str) -> float | None:
    """Growth of a counter over the whole run and all engines; None where no engine was asked twice."""
    grown = [float(s.rises().sum()) for s in metrics.get(quantity, {}).values() if len(s.t) > 1]
    return sum(grown) if grown else None


RUNAWAY = 1.05
"""vLLM up to 0.26 counts look-ups at every attempt to schedule: beyond this share of the prompt tokens neither queries
nor hits may be used"""


def server_hit_rate(metrics: Metrics) -> float | None:
    """The share of the run's prompt tokens that the server found in its prefix cache; None where it cannot tell."""
    queries, hits = total_rise(metrics, "prefix_queries"), total_rise(metrics, "prefix_hits")
    prompts = total_rise(metrics, "prompt_tokens")
    if queries and hits is not None and prompts and queries <= RUNAWAY * prompts:
        return min(1.0, hits / queries)
    return None


COUNTERS = ("preemptions", "prompt_tokens", "generation_tokens", "requests_finished")


def restarts(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """URL and second of each sample that shows a server that had started anew: a counter fell, or its start moved."""
    for quantity in COUNTERS:
        for (url, _), series in metrics.get(quantity, {}).items():
            yield from ((url, float(t)) for t in series.t[1:][np.diff(series.value) < 0])
    for (url, _), series in metrics.get("process_start", {}).items():
        yield from ((url, float(t)) for t in series.t[1:][np.diff(series.value) > 1])

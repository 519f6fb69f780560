"""Server metrics as time series: several engines merged, counters that may be reset."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.target.metrics.quantities import QUANTITIES
from probe_ext.verdict.evidence.columns import Floats, Ints, numbers, text_column
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.values.level_result import ServerFigures

STALE_S = 5.0
"""Age from which a sample no longer counts as the current state."""
STALE_INTERVALS = 2.5
"""The same in sampling intervals, for engines that are sampled less often."""
MAX_PREFIX_QUERY_RATIO = 1.05
"""Prefix-cache queries over prompt tokens. vLLM up to 0.26 counts a query at every scheduling attempt: above this ratio
neither queries nor hits can be used."""
RESTART_COUNTERS = ("preemptions", "prompt_tokens", "generation_tokens", "requests_finished")

Engine = tuple[str, str]
"""URL and engine."""


@dataclass(frozen=True)
class Series:
    """Samples of one metric of one engine, in order of time."""

    t: Floats
    value: Floats

    def rises(self) -> Floats:
        """Return the growth of a counter up to each sample after the first. A counter that falls was reset to zero."""
        step = np.diff(self.value)
        return np.where(step < 0, self.value[1:], step)


Metrics = Mapping[str, Mapping[Engine, Series]]
"""By metric and engine."""


def read_metrics(server: Columns) -> Metrics:
    """Group the samples by metric and engine; where a server reports parts and their sum, take the sum.

    Values that no server can have are left out: an earlier version may have recorded them.
    """
    t, value = numbers(server, "t"), numbers(server, "value")
    rows: dict[str, dict[Engine, Ints]] = {}
    for quantity, url, name, indices in _groups(server, np.flatnonzero(~np.isnan(t) & ~np.isnan(value))):
        highest = QUANTITIES[quantity].highest if quantity in QUANTITIES else np.inf
        possible = indices[(quantity not in QUANTITIES) | ((value[indices] >= 0) & (value[indices] <= highest))]
        if len(possible):
            rows.setdefault(quantity, {})[url, name] = possible
    metrics: dict[str, dict[Engine, Series]] = {}
    for quantity, by_engine in sorted(rows.items()):
        for engine, indices in sorted(by_engine.items()):
            if not is_part(engine, by_engine):
                order = indices[np.argsort(t[indices], kind="stable")]
                metrics.setdefault(quantity, {})[engine] = Series(t[order], value[order])
    return metrics


def _groups(server: Columns, rows: Ints) -> Iterator[tuple[str, str, str, Ints]]:
    """Yield quantity, URL, engine and the rows of each series, in their order."""
    quantity, url, engine = (text_column(server, name)[rows] for name in ("quantity", "url", "engine"))
    series = (quantity.codes.astype(np.int64) * len(url.names) + url.codes) * len(engine.names) + engine.codes
    order = np.argsort(series, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(series[order])) + 1) if len(order) else ():
        yield quantity[part[0]], url[part[0]], engine[part[0]], rows[part]


def is_part(engine: Engine, known: Container[Engine]) -> bool:
    """Tell whether the server's total is known too, which then counts instead of its parts."""
    return engine[1] != "all" and (engine[0], "all") in known


def server_figures(metrics: Metrics, level: Level) -> ServerFigures:
    """Return the figures of one level; None where the server reported nothing."""
    return ServerFigures(
        kv_usage_max=_highest(metrics, "kv_usage", level),
        preemptions=_rise(metrics, "preemptions", level),
        waiting_max=_highest_sum(metrics, "waiting", level),
        running_max=_highest_sum(metrics, "running", level),
    )


def _within(series: Series, level: Level) -> Floats:
    return series.value[(series.t >= level.t_start) & (series.t <= level.t_end)]


def _highest(metrics: Metrics, quantity: str, level: Level) -> float | None:
    """Return the peak over all engines: each has its own limit, and the fullest one matters."""
    values = [_within(series, level) for series in metrics.get(quantity, {}).values()]
    present = np.concatenate([v for v in values if len(v)] or [np.empty(0)])
    return float(present.max()) if len(present) else None


def _highest_sum(metrics: Metrics, quantity: str, level: Level) -> float | None:
    """Return the peak of the sum over all engines."""
    moments, values = combine(list(metrics.get(quantity, {}).values()))
    inside = values[(moments >= level.t_start) & (moments <= level.t_end)]
    return float(inside.max()) if len(inside) else None


def combine(engines: Sequence[Series], *, fullest: bool = False) -> tuple[Floats, Floats]:
    """Combine engines, which are sampled at different moments, at every moment at which one was sampled.

    Returns the moments, and the sum (or the maximum) over the latest sample of each engine. An engine with a stale
    sample is left out, not counted as idle.
    """
    moments = np.unique(np.concatenate([s.t for s in engines] or [np.empty(0)]))
    if not len(moments):
        return moments, moments
    latest = np.array([latest_sample(series, moments) for series in engines])
    return moments, np.nanmax(latest, axis=0) if fullest else np.nansum(latest, axis=0)


def latest_sample(series: Series, moments: Floats) -> Floats:
    """Return the latest sample at each moment; NaN where there is none, or only a stale one."""
    at = np.searchsorted(series.t, moments, side="right") - 1
    interval = float(np.median(np.diff(series.t))) if len(series.t) > 1 else 0.0
    fresh = (at >= 0) & (moments - series.t[at] <= max(STALE_S, STALE_INTERVALS * interval))
    return np.where(fresh, series.value[at], np.nan)


def _rise(metrics: Metrics, quantity: str, level: Level) -> int | None:
    """Return the growth of a counter over all engines, attributed to the sample that showed it."""
    rises = []
    for series in metrics.get(quantity, {}).values():
        seen = (series.t[1:] > level.t_start) & (series.t[1:] <= level.t_end)
        if seen.any():
            rises.append(float(series.rises()[seen].sum()))
    return round(sum(rises)) if rises else None


def total_rise(metrics: Metrics, quantity: str) -> float | None:
    """Return the growth of a counter over the whole run and all engines; None without two samples of an engine."""
    grown = [float(s.rises().sum()) for s in metrics.get(quantity, {}).values() if len(s.t) > 1]
    return sum(grown) if grown else None


def server_hit_rate(metrics: Metrics) -> float | None:
    """Return the share of the run's prompt tokens that hit the prefix cache; None where the counters do not show it."""
    queries, hits = total_rise(metrics, "prefix_queries"), total_rise(metrics, "prefix_hits")
    prompts = total_rise(metrics, "prompt_tokens")
    if queries and hits is not None and prompts and queries <= MAX_PREFIX_QUERY_RATIO * prompts:
        return min(1.0, hits / queries)
    return None


def restarts(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """Yield URL and second of each sample that shows a restart: a counter fell, or the process start time changed."""
    for quantity in RESTART_COUNTERS:
        for (url, _), series in metrics.get(quantity, {}).items():
            yield from ((url, float(t)) for t in series.t[1:][np.diff(series.value) < 0])
    for (url, _), series in metrics.get("process_start", {}).items():
        yield from ((url, float(t)) for t in series.t[1:][np.diff(series.value) > 1])


def usable_metrics(metrics: Metrics) -> Metrics:
    """Return the metrics without those of URLs at which different servers answer in turn, and impossible counters."""
    mixed = alternating_urls(metrics)
    kept = {
        name: {e: s for e, s in series.items() if e[0] not in mixed and not _too_fast(name, s)}
        for name, series in metrics.items()
    }
    return {name: series for name, series in kept.items() if series}


def _too_fast(name: str, series: Series) -> bool:
    """Tell whether a counter grew faster than any engine works."""
    limit = QUANTITIES[name].max_rate if name in QUANTITIES else None
    return limit is not None and bool((np.diff(series.value) > limit * np.maximum(np.diff(series.t), 0.1)).any())


MAX_RESTARTS = 4
"""Of one server in a run; more resets of its counters mean several servers behind one address."""


def alternating_urls(metrics: Metrics) -> frozenset[str]:
    """Return the URLs whose samples come from different servers in turn, so that their counters tell nothing."""
    backwards = {
        url for (url, _), series in metrics.get("process_start", {}).items() if (np.diff(series.value) < -1).any()
    }
    falls = Counter(
        (url, float(t))
        for name in RESTART_COUNTERS
        for (url, _), series in metrics.get(name, {}).items()
        for t in series.t[1:][np.diff(series.value) < 0]
    )
    resets = Counter(url for url, _ in falls)
    return frozenset(backwards | {url for url, times in resets.items() if times > MAX_RESTARTS})

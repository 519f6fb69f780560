"""The GPUs' metrics as time series: how often they change, how busy, fast and hot a GPU was, and what it consumed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.phrasing.formats import span
from probe_ext.verdict.server.server_series import Engine, Series, read_metrics

MIN_UPDATES = 10
"""Changes of an exporter's values within a level that an energy needs: the edges are then known to a tenth."""
MAX_DISAGREEMENT = 1.25
"""Ratio of the energies by counter and by power above which neither is used."""
MIN_SAMPLES = 6
"""Samples of a level that its thirds are compared by."""

Gpu = Mapping[str, Series]
"""One GPU's series by quantity."""


@dataclass(frozen=True)
class Energy:
    """Energy of all GPUs in a level, in joules, and where it is from."""

    joules: float | None
    source: Literal["counter", "power"] | None
    why: str = ""
    """reason where it is missing"""


@dataclass(frozen=True)
class GpuState:
    """One GPU in a level; None where its exporter does not report it."""

    utilisation: float | None
    """mean"""
    clock: float | None
    """mean MHz"""
    clock_start: float | None
    """median MHz of the level's first third"""
    clock_end: float | None
    """median MHz of its last third"""
    temperature: float | None
    """peak, °C"""
    heated: float | None
    """rise of the temperature from the first third to the last, °C"""
    power: float | None
    """mean watts"""
    power_limit: float | None
    power_at_end: float | None
    """median watts of the last third"""
    power_capped: float | None
    """share of samples at the power limit, as the GPU reports"""
    slowed: float | None
    """share of samples slowed down for heat or by the hardware, as the GPU reports"""
    memory: float | None
    """peak share of the memory in use"""


def read_gpus(columns: Columns) -> Mapping[Engine, Gpu]:
    """Return each GPU's series by URL and name."""
    if "gpu" not in columns or not len(columns["gpu"]):
        return {}
    metrics = read_metrics({**columns, "engine": columns["gpu"]})
    keys = sorted({key for by_gpu in metrics.values() for key in by_gpu})
    return {key: {quantity: by_gpu[key] for quantity, by_gpu in metrics.items() if key in by_gpu} for key in keys}


def update_interval(gpu: Gpu) -> float | None:
    """Return how often any of the GPU's values changes, in seconds; None where they never do.

    An exporter has its own interval (dcgm-exporter: 30 s by default) and repeats its values in between.
    """
    changed = _changes(gpu)
    if len(changed) < 2:
        return None
    return float(np.median(np.diff(changed)))


def _changes(gpu: Gpu) -> Floats:
    moments = [series.t[1:][np.diff(series.value) != 0] for series in gpu.values()]
    return np.unique(np.concatenate([*moments, np.empty(0)]))


def energy(gpus: Mapping[Engine, Gpu], level: Level) -> Energy:
    """Return the energy of all GPUs in a level, if each reports it often enough."""
    if not gpus:
        return Energy(None, None, "no GPU was read")
    intervals = [update_interval(gpu) for gpu in gpus.values()]
    slowest = max((interval for interval in intervals if interval is not None), default=None)
    if slowest is None:
        return Energy(None, None, "the exporter's values never changed")
    if level.seconds < MIN_UPDATES * slowest:
        return Energy(None, None, _too_slow(slowest, level.seconds))
    counted = _sum([_by_counter(gpu, level, slowest) for gpu in gpus.values()])
    integrated = _sum([_by_power(gpu, level, slowest) for gpu in gpus.values()])
    if counted is None and integrated is None:
        return Energy(None, None, "not every GPU reports its power or energy throughout the level")
    if counted and integrated and max(counted, integrated) > MAX_DISAGREEMENT * min(counted, integrated):
        return Energy(None, None, "the GPUs' energy counter and their power disagree")
    return Energy(counted, "counter") if counted else Energy(integrated, "power")


def _too_slow(interval: float, seconds: float) -> str:
    return (
        f"the exporter's values change only every {span(interval)}, too rarely for a level of {span(seconds)}: "
        "shorten its collection interval (dcgm-exporter: -c 1000), or hold levels longer"
    )


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _by_counter(gpu: Gpu, level: Level, interval: float) -> float | None:
    """Return the rise of the energy counter, interpolated between its changes; joules."""
    series = gpu.get("gpu_energy")
    if series is None or len(series.t) < 2:
        return None
    rises = series.rises()
    new = np.concatenate([[True], rises != 0])
    t, total = series.t[new], np.concatenate([[0.0], np.cumsum(rises)])[new]
    if not _covers(t, level, interval) or len(t) < MIN_UPDATES / 2:
        return None
    start, end = np.interp([level.t_start, level.t_end], t, total)
    known = min(level.t_end, t[-1]) - max(level.t_start, t[0])
    return float(end - start) * level.seconds / float(known) if known > 0 and end > start else None


def _by_power(gpu: Gpu, level: Level, interval: float) -> float | None:
    """Return mean power times duration; joules."""
    series = gpu.get("gpu_power")
    if series is None or not _covers(series.t, level, interval):
        return None
    inside = _inside(series, level)
    return float(inside.mean()) * level.seconds if len(inside) else None


def _covers(t: Floats, level: Level, interval: float) -> bool:
    """Tell whether samples reach from the level's start to its end without a long hole."""
    slack = 2.5 * max(interval, 1.0)
    inside = t[(t >= level.t_start - slack) & (t <= level.t_end + slack)]
    if len(inside) < 2:
        return False
    edges = inside[0] <= level.t_start + slack and inside[-1] >= level.t_end - slack
    return bool(edges and np.diff(inside).max() <= max(2 * slack, level.seconds / 5))


def _inside(series: Series, level: Level) -> Floats:
    return series.value[(series.t >= level.t_start) & (series.t <= level.t_end)]


def state(gpu: Gpu, level: Level) -> GpuState:
    """Return how busy, fast and hot a GPU was in a level."""

    def of(quantity: str, summary: Callable[[Floats], float]) -> float | None:
        values = _inside(gpu[quantity], level) if quantity in gpu else np.empty(0)
        return float(summary(values)) if len(values) else None

    start, end = _thirds(level)
    slowed = [of(name, np.mean) for name in ("gpu_thermal_slowdown", "gpu_hardware_slowdown")]
    heat = [_median(gpu, "gpu_temperature", part) for part in (start, end)]
    return GpuState(
        utilisation=of("gpu_utilisation", np.mean),
        clock=of("gpu_clock", np.mean),
        clock_start=_median(gpu, "gpu_clock", start),
        clock_end=_median(gpu, "gpu_clock", end),
        temperature=of("gpu_temperature", np.max),
        heated=None if heat[0] is None or heat[1] is None else heat[1] - heat[0],
        power=of("gpu_power", np.mean),
        power_limit=of("gpu_power_limit", np.median),
        power_at_end=_median(gpu, "gpu_power", end),
        power_capped=of("gpu_power_capped", np.mean),
        slowed=max((share for share in slowed if share is not None), default=None),
        memory=_memory(gpu, level),
    )


def _thirds(level: Level) -> tuple[Level, Level]:
    third = level.seconds / 3
    start = Level(level.users, level.users, level.users, level.t_start, level.t_start + third, False)
    return start, Level(level.users, level.users, level.users, level.t_end - third, level.t_end, False)


def _median(gpu: Gpu, quantity: str, part: Level) -> float | None:
    values = _inside(gpu[quantity], part) if quantity in gpu else np.empty(0)
    return float(np.median(values)) if len(values) >= MIN_SAMPLES / 3 else None


def _memory(gpu: Gpu, level: Level) -> float | None:
    if "gpu_memory_used" not in gpu or "gpu_memory_total" not in gpu:
        return None
    used, total = _inside(gpu["gpu_memory_used"], level), _inside(gpu["gpu_memory_total"], level)
    return min(1.0, float(used.max() / total.max())) if len(used) and len(total) else None


def busiest(states: Mapping[Engine, GpuState]) -> GpuState | None:
    """Return the GPU that works most, by its utilisation, else by its power; None without either."""
    for key in ("utilisation", "power"):
        known = [gpu for gpu in states.values() if getattr(gpu, key) is not None]
        if known:
            return max(known, key=lambda gpu: float(getattr(gpu, key)))
    return None

"""Lanes of the GPUs: how busy, how fast, how hot, and what they draw. Only for runs that read them."""

from collections.abc import Callable, Sequence

from probe_ext.report.charts import lane_chart
from probe_ext.report.charts.lane_chart import Axis, Lane
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.server.gpu_series import read_gpus
from probe_ext.verdict.server.server_series import Series, combine

_LANES: tuple[tuple[str, str, str, str, bool, float, Callable[[float | None], str]], ...] = (
    ("gpu_utilisation", "gpu_busy", "GPU", "busiest", True, 1.0, formats.percent),
    ("gpu_clock", "gpu_clock", "GPU clock", "MHz, fastest", True, 0.0, formats.count),
    ("gpu_temperature", "gpu_heat", "GPU temperature", "°C, hottest", True, 0.0, formats.count),
    ("gpu_power", "gpu_power", "GPU power", "W, all", False, 0.0, formats.count),
    ("gpu_memory_used", "gpu_memory", "GPU memory", "GB, all", False, 0.0, lambda value: formats.decimals(value or 0)),
)
"""Quantity, term, name, unit, whether the highest GPU stands for all, top of the scale, format."""
_BYTES_PER_GB = 1e9


def gpus(evidence: Evidence, axis: Axis) -> Sequence[Lane]:
    """Return a lane for each quantity that the exporter reports."""
    known = read_gpus(evidence.gpu)
    lanes = []
    for quantity, term, name, unit, highest, top, text in _LANES:
        series = [gpu[quantity] for gpu in known.values() if quantity in gpu]
        if not series:
            continue
        if quantity == "gpu_memory_used":
            series = [Series(one.t, one.value / _BYTES_PER_GB) for one in series]
        data = combine(series, fullest=highest)
        scale = top or float(data[1].max())
        lanes.append(lane_chart.filled(axis, term, name, unit, data, scale, text))
    return lanes

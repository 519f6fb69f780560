"""Lanes of the server: KV cache, queue, preemptions."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from probe_ext.report.charts import downsample, lane_chart, svg
from probe_ext.report.charts.downsample import Floats
from probe_ext.target.metrics.quantities import QUANTITIES
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.server.server_series import combine, read_metrics

Table = Mapping[str, tuple[Floats, Floats]]
"""Moments and values of each metric."""


def server(evidence: Evidence, axis: lane_chart.Axis, why_empty: str) -> list[lane_chart.Lane]:
    """Return KV cache, queue and preemptions; `why_empty` is the reason if the server's metrics are missing."""
    table, why_empty = combined(evidence.server), why_empty or "not reported by the server"
    kv = table.get("kv_usage")
    kv_lane = lane_chart.Lane("kv", "KV cache", "", None, why_empty)
    if kv is not None:
        kv_lane = lane_chart.filled(axis, "kv", "KV cache", "", kv, 1.0, formats.percent)
    return [kv_lane, _queue(axis, table, why_empty), _preemptions(axis, evidence, why_empty)]


def combined(columns: Columns) -> Table:
    """Combine all servers and engines into one series per metric: their sum or maximum, as the metric requires."""
    found: dict[str, tuple[Floats, Floats]] = {}
    for quantity, engines in read_metrics(columns).items():
        known = QUANTITIES.get(quantity)
        found[quantity] = combine(list(engines.values()), fullest=known is not None and known.over == "max")
    return found


def _queue(axis: lane_chart.Axis, table: Table, why_empty: str) -> lane_chart.Lane:
    """Return the requests running and waiting in the server."""
    present = [name for name in ("running", "waiting") if name in table]
    if not present:
        return lane_chart.Lane("waiting", "running, waiting", "", None, why_empty)
    thin = {name: downsample.line(*table[name]) for name in present}
    scale = svg.Linear(0, max(*(float(v.max()) for _, v in thin.values()), 1.0) * 1.12)
    shapes = [svg.Shape(svg.polyline(axis.points(*thin[n], scale)), f"ln thin {n}") for n in present]
    if "waiting" in thin:
        shapes.insert(0, svg.Shape(svg.area(axis.points(*thin["waiting"], scale)), "area waiting"))
    labels = lane_chart.scale_labels(
        [(scale.top(tick), formats.count(tick)) for tick in scale.ticks(2) if tick == round(tick)]
    )
    description = "; ".join(f"{name} up to {formats.count(float(v.max()))}" for name, (_, v) in thin.items()) + "."
    plot = svg.Plot("Requests running and waiting in the server", description, 76, shapes, labels)
    return lane_chart.Lane("waiting", "running, waiting", "waiting is dashed", plot,
                series=[lane_chart.series(n, "", *thin[n], holds=False) for n in present])  # fmt: skip


def _preemptions(axis: lane_chart.Axis, evidence: Evidence, why_empty: str) -> lane_chart.Lane:
    """Return a stroke wherever the server's counter rose."""
    metrics = read_metrics(evidence.server)
    if "preemptions" not in metrics:
        return lane_chart.Lane("preemptions", "preemptions", "", None, why_empty)
    engines = metrics["preemptions"].values()
    t, rise = np.concatenate([s.t[1:] for s in engines]), np.concatenate([s.rises() for s in engines])
    kept = downsample.cloud(t, np.where(rise > 0, rise, np.nan), 2000)
    total = int(rise.sum())
    description = f"{formats.count(total)} in total." if total else "The server counted none."
    plot = svg.Plot(
        "Preemptions over time", description, 26, [svg.Shape(svg.marks(axis.x(x) for x in t[kept].tolist()), "tick")]
    )
    return lane_chart.Lane("preemptions", "preemptions", formats.count(total), plot, series=[
                replace(lane_chart.series("preempted", "", t[kept], rise[kept], holds=False), zero=True)])  # fmt: skip

"""Lanes of the clients: users, first words, throughput."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.measure.rate import PER_SECOND, Rate
from probe_ext.report.charts import downsample, lane_chart, svg
from probe_ext.report.charts.downsample import Floats
from probe_ext.settings.slo import FirstWord
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.levels.find_levels import is_open_stream
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things


def users(evidence: Evidence, axis: lane_chart.Axis, levels: Sequence[Mapping[str, Any]]) -> lane_chart.Lane:
    """Return the number of users over time, or the rate of an open stream, labelled at each level."""
    t, v = evidence.users["t"], evidence.users["users"]
    if not t.size:
        return lane_chart.Lane("users", "users", "", None, "users.csv is empty")
    name, what = "users", ""
    if is_open_stream(evidence.users):
        name, what, v = "rate", "requests/s", np.round(np.nan_to_num(evidence.users["rate"]) * PER_SECOND)
    changes = np.flatnonzero(np.diff(v, prepend=np.nan) != 0)
    t, v = downsample.line(t[changes], v[changes])
    scale = svg.Linear(0, float(v.max()) * 1.35)
    labels = [
        svg.Label(100 * (lv["t_start"] + lv["t_end"]) / 2 / axis.end, scale.top(lv["users"]),
                  formats.count(lv["users"]), "lab", dy=-5, moves=True)
        for lv in _spread(levels)
    ]  # fmt: skip
    line = svg.Shape(svg.steps(axis.points(t, v, scale), svg.WIDTH), "ln")
    description = f"Up to {things((Rate if what else int)(v.max()), 'user')}."
    shown = v / PER_SECOND if what else v
    plot = svg.Plot(f"{name.capitalize()} over time", description, 64, [line], labels)
    return lane_chart.Lane("users", name, what, plot, series=[lane_chart.series(name, what, t, shown, holds=True)])


def first_word(evidence: Evidence, axis: lane_chart.Axis, bounds: FirstWord | None) -> lane_chart.Lane:
    """Return the TTFT of each reply, on a logarithmic scale, with the profile's bounds."""
    name = "TTFT"
    sent, wait = evidence.replies["sent"], evidence.replies["first"] - evidence.replies["sent"]
    kept = downsample.cloud(sent, np.where(wait > 0, wait, np.nan))
    if not kept.size:
        return lane_chart.Lane("ttft", name, "", None, "no reply had a first token")
    t, v = sent[kept], wait[kept]
    low, high = float(v.min()), float(v.max())
    limits = [bounds.served, bounds.strained] if bounds else [math.inf, math.inf]
    scale = svg.Log(min(low, limits[0] / 10), max(high, limits[0] * 2) if bounds else high)
    shown = [limit for limit in limits if limit < scale.high]
    shapes = [svg.Shape(f"M0 {svg.number(scale.top(limit))}H{svg.WIDTH}", "thr") for limit in shown]
    shapes += _dots(axis.points(t, v, scale), v, (-1.0, *limits, math.inf))
    labels = lane_chart.scale_labels([(scale.top(tick), formats.bound(tick)) for tick in scale.ticks(4)])
    named = zip(("served", "strained"), shown, strict=False)
    labels += [
        svg.Label(0, scale.top(limit), f"{state} up to {formats.bound(limit)}", "thrlab", "start", dx=4, dy=-4)
        for state, limit in named
    ]
    description = f"From {formats.seconds(low)} to {formats.seconds(high)}."
    plot = svg.Plot("Time to first token of each reply", description, 110, shapes, labels)
    note = lane_chart.thinned(kept.size, int(np.isfinite(wait).sum()), "replies")
    return lane_chart.Lane("ttft", name, "", plot, note=note, series=[lane_chart.series(name, "s", t, v, holds=False)])


def _dots(at: Sequence[tuple[float, float]], values: Floats, edges: Sequence[float]) -> list[svg.Shape]:
    """Return points in three colours: served, strained, broken."""
    kinds = zip("smb", edges[:-1], edges[1:], strict=True)
    values_at = list(zip(at, values.tolist(), strict=True))
    return [svg.Shape(svg.dots(p for p, v in values_at if low < v <= high), f"dot {kind}") for kind, low, high in kinds]


def tokens(evidence: Evidence, axis: lane_chart.Axis) -> lane_chart.Lane:
    """Return the tokens that arrived in each second, all users together."""
    name = "throughput"
    counted = [w for w in evidence.windows if w.metric == "tokens" and w.count is not None]
    if not counted:
        return lane_chart.Lane("tokens_per_s", name, "tokens/s", None, "sketches.jsonl has no token counts")
    start = np.array([w.start for w in counted])
    step = counted[0].seconds
    second = np.arange(0, max(axis.end, float(start.max()) + step), step)
    value = np.zeros(second.size)
    np.add.at(
        value, np.minimum((start / step).astype(int), second.size - 1), [(w.count or 0) / w.seconds for w in counted]
    )
    return lane_chart.filled(
        axis, "tokens_per_s", name, "tokens/s", (second + step / 2, value), float(value.max()), formats.tick
    )


def locust_rate(evidence: Evidence, axis: lane_chart.Axis) -> lane_chart.Lane:
    """Return the replies that ended per second, from Locust's own history."""
    name = "replies/s"
    t, rate = (evidence.locust_history.get(key, np.array([])) for key in ("t", "requests_per_s"))
    inside = (t >= 0) & (t <= axis.end)
    if not inside.any():
        return lane_chart.Lane("locust_rate", name, "", None, "Locust wrote no history of this run")
    t, rate = t[inside], rate[inside]
    return lane_chart.filled(
        axis, "locust_rate", name, "by Locust, 10 s mean", (t, rate), float(rate.max()), formats.tick
    )


def _spread(levels: Sequence[Mapping[str, Any]], most: int = 16) -> Sequence[Mapping[str, Any]]:
    return levels[:: max(1, -(-len(levels) // most))]

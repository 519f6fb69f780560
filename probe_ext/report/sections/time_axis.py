"""Timeline: clients and server on one time axis."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.report.charts import client_lanes, gpu_lanes, server_lanes, svg, user_lanes
from probe_ext.report.charts.lane_chart import Axis, Lane
from probe_ext.report.sections import pauses
from probe_ext.report.wording.level_names import in_time, label
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.server.find_pauses import threshold

MAX_RUN_S = 30 * 86400.0
"""A later moment is damaged data and would squash all others."""
_TICK_STEPS_S = (1, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True)
class Stretch:
    """A level on the axis."""

    name: str
    start: float
    end: float
    """seconds of the run"""
    state: str
    d: str
    """path of its shading, in units of a plot"""


@dataclass(frozen=True)
class TimeAxis:
    """The lanes and their common scale."""

    lanes: Sequence[Lane]
    ticks: Sequence[svg.Label]
    seconds: float
    stretches: Sequence[Stretch]


def time_axis(
    levels: Sequence[Mapping[str, Any]],
    evidence: Evidence,
    profile: SloProfile,
    no_server: str,
    more: Callable[[Axis], Sequence[Lane]],
) -> TimeAxis | None:
    """Build all lanes; None for an empty run.

    `no_server` is the reason if the server's metrics are missing; `more` makes the lanes between clients and server.
    """
    end = _last_moment(evidence)
    if end <= 0:
        return None
    axis = Axis(end)
    lanes = [
        client_lanes.users(evidence, axis, levels),
        client_lanes.first_word(evidence, axis, profile.first_word),
        client_lanes.tokens(evidence, axis),
        client_lanes.locust_rate(evidence, axis),
        user_lanes.token_stream(evidence, axis, threshold(profile)),
        pauses.silent_lane(evidence, axis, profile),
        *more(axis),
        *server_lanes.server(evidence, axis, no_server),
        *gpu_lanes.gpus(evidence, axis),
    ]
    ticks = [_tick(t, end) for t in _ticks(end)]
    return TimeAxis(lanes, ticks, round(end, 3), [_stretch(level, axis) for level in in_time(levels)])


def _stretch(level: Mapping[str, Any], axis: Axis) -> Stretch:
    start, end = level["t_start"], level["t_end"]
    band = svg.box(axis.x(start), 0, axis.x(end - start), svg.HEIGHT)
    return Stretch(label(level), start, end, level["state"], band)


def _last_moment(evidence: Evidence) -> float:
    moments = np.concatenate([evidence.replies["end"], evidence.users["t"], evidence.server["t"]])
    return float(np.max(moments, where=moments <= MAX_RUN_S, initial=0.0))


def _tick(t: float, end: float) -> svg.Label:
    """Return a label that stays inside the picture."""
    return svg.Label(100 * t / end, 0, formats.moment(t), anchor="end" if t > 0.97 * end else "middle", dy=12)


def _ticks(end: float) -> list[float]:
    step = next((s for s in _TICK_STEPS_S if end / s <= 7), end / 5)
    return [n * step for n in range(int(end / step) + 1)]

"""One lane of the timeline: its static picture, and the values that the pointer reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.report.charts import downsample, svg
from probe_ext.report.charts.downsample import Floats
from probe_ext.verdict.phrasing import formats


@dataclass(frozen=True)
class Series:
    """Values to read at the pointer."""

    name: str
    unit: str
    t: Sequence[float]
    v: Sequence[float]
    holds: bool
    """whether a value holds until the next one, rather than only at its moment"""
    zero: bool = False
    """whether it is zero between its moments, rather than unknown"""


@dataclass(frozen=True)
class Lane:
    """One lane of the timeline."""

    term: str
    name: str
    unit: str
    plot: svg.Plot | None
    why_empty: str = ""
    """reason if there is nothing to draw"""
    note: str = ""
    series: Sequence[Series] = ()


@dataclass(frozen=True)
class Axis:
    """Maps seconds of the run to the units of a plot."""

    end: float

    def x(self, t: float) -> float:
        """Return the position from the left."""
        return t / self.end * svg.WIDTH

    def points(self, t: Floats, v: Floats, scale: svg.Linear | svg.Log) -> list[tuple[float, float]]:
        """Return values as points of a plot."""
        return [(self.x(a), scale.top(b)) for a, b in zip(t.tolist(), v.tolist(), strict=True)]


def filled(axis: Axis, term: str, name: str, unit: str, data: tuple[Floats, Floats], top: float, text: Any) -> Lane:
    """Return a lane with the area under a line; `text` formats its values."""
    t, v = downsample.line(*data)
    if not t.size:
        return Lane(term, name, unit, None, "no sample")
    scale = svg.Linear(0, (top or 1) * 1.08)
    at = axis.points(t, v, scale)
    shapes = [svg.Shape(svg.area(at), "area"), svg.Shape(svg.polyline(at), "ln thin")]
    labels = scale_labels([(scale.top(tick), text(tick)) for tick in scale.ticks(2)])
    description = f"From {text(float(v.min()))} to {text(float(v.max()))}."
    plot = svg.Plot(f"{name} over time", description, 76, shapes, labels, [scale.top(tick) for tick in scale.ticks(2)])
    factor = (100.0, "%") if text is formats.percent else (1.0, "")
    return Lane(term, name, unit, plot, series=[series(name, factor[1], t, v * factor[0], holds=False)])


def scale_labels(ticks: Sequence[tuple[float, str]]) -> list[svg.Label]:
    return [svg.Label(0, top, text, anchor="end", dx=-6, dy=4) for top, text in ticks]


def thinned(shown: int, of: int, what: str) -> str:
    return f"{formats.count(shown)} of {formats.count(of)} {what} shown" if shown < of else ""


def series(name: str, unit: str, t: Floats, v: Floats, *, holds: bool) -> Series:
    return Series(name, unit, [round(x, 2) for x in t.tolist()], [float(f"{x:.4g}") for x in v.tolist()], holds)

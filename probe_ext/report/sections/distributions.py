"""Distribution of the gaps between tokens at each level: a histogram and three percentiles.

Taken from the sketches of the five-second windows that lie entirely within a level's measured part, accurate to the
sketches' half a percent. A gap belongs to the level in which its token arrived. Gaps and inter-token latency have
separate histograms, because an event may carry several tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.sketch import MIN_COUNTS, LatencySketch
from probe_ext.report.charts import svg
from probe_ext.report.wording.level_names import by_users, label, users_label
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Evidence, Window
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

METRICS = (("gap", "Gaps between stream events"), ("itl", "Inter-token latency (ITL)"))
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_BINS = 60
_MAX_ROWS = 16
"""With more levels, every n-th and the last are shown."""
_UNRESOLVED = (
    "Not stated: many tokens arrived together, so the gaps between them are those of whatever bundled them (see the "
    "check unresolved_reads)."
)
_SAME_TOLERANCE = 0.02
"""Relative difference up to which percentiles are equal: more than twice the error of a sketch."""


@dataclass(frozen=True)
class Spread:
    """One level's row."""

    head: str
    plot: svg.Plot | None
    figures: Sequence[str]
    """the percentiles as text"""
    taken: str
    """number of gaps and covered part of the level; or why there are none"""


@dataclass(frozen=True)
class Distribution:
    """One metric over all levels, on a common axis."""

    term: str
    name: str
    rows: Sequence[Spread]
    ticks: Sequence[svg.Label]


@dataclass(frozen=True)
class Distributions:
    """The distributions to show, and a note on one that is left out because it is the same."""

    shown: Sequence[Distribution]
    note: str


def distributions(
    levels: Sequence[Mapping[str, Any]], evidence: Evidence, profile: SloProfile, *, resolved: bool = True
) -> Distributions | None:
    """Return the gaps, and the ITL where it differs; None where no window lies within a level.

    `resolved`: whether nearly every token came in a read of its own; only a note otherwise.
    """
    some = by_users(levels)[:: -max(1, -(-len(levels) // _MAX_ROWS))][::-1]
    merged = {metric: [_inside(level, metric, evidence.windows) for level in some] for metric, _ in METRICS}
    if not any(sketch.count for sketch, _ in merged["gap"]):
        return None
    if not resolved:
        return Distributions([], _UNRESOLVED)
    alike = all(_alike(gap, itl) for (gap, _), (itl, _) in zip(merged["gap"], merged["itl"], strict=True))
    bound = profile.silence.served if profile.silence else None
    wanted = METRICS[:1] if alike else METRICS
    shown = [_distribution(metric, name, some, merged[metric], bound) for metric, name in wanted]
    note = "Every event carried one token, so the inter-token latency (ITL) is the same." if alike else ""
    return Distributions(shown, note)


def _inside(level: Mapping[str, Any], metric: str, windows: Sequence[Window]) -> tuple[LatencySketch, float]:
    """Merge the windows that lie entirely within a level; return the sketch and the seconds covered."""
    merged, seconds = LatencySketch(), 0.0
    for window in windows:
        inside = level["t_start"] <= window.start and window.start + window.seconds <= level["t_end"]
        if window.metric == metric and window.sketch and inside:
            merged.merge(window.sketch)
            seconds += window.seconds
    return merged, seconds


def _alike(gap: LatencySketch, itl: LatencySketch) -> bool:
    """Tell whether both have the same percentiles, or there is no ITL to compare."""
    if not itl.count or not gap.count:
        return True
    pairs = [(gap.quantile(q) or 0.0, itl.quantile(q) or 0.0) for q in PERCENTILES.values()]
    return all(math.isclose(a, b, rel_tol=_SAME_TOLERANCE) for a, b in pairs)


def _distribution(
    metric: str,
    name: str,
    levels: Sequence[Mapping[str, Any]],
    merged: Sequence[tuple[LatencySketch, float]],
    bound: float | None,
) -> Distribution:
    filled = [sketch for sketch, _ in merged if sketch.count]
    low = min(sketch.quantile(0.01) or 0.0 for sketch in filled)
    axis = _LogAxis(max(low, 1e-4), max(sketch.maximum for sketch in filled))
    rows = [_spread(level, *one, axis, bound) for level, one in zip(levels, merged, strict=True)]
    ticks = [
        svg.Label(axis.x(tick) / svg.WIDTH * 100, 0, formats.bound(tick), "ax wide" if i % 2 else "ax", dy=12)
        for i, tick in enumerate(axis.ticks())
    ]
    return Distribution(metric, name, rows, ticks)


def _spread(
    level: Mapping[str, Any], sketch: LatencySketch, seconds: float, axis: "_LogAxis", bound: float | None
) -> Spread:
    covered = f"{formats.span(seconds)} of {formats.span(level['t_end'] - level['t_start'])}"
    if not sketch.count:
        return Spread(label(level), None, [formats.DASH] * 3, "no complete five-second window with a gap")
    shown = {name: q for name, q in PERCENTILES.items() if sketch.count >= MIN_COUNTS[name]}
    values = {name: sketch.quantile(q) or 0.0 for name, q in shown.items()}
    figures = [formats.seconds(values.get(name)) for name in PERCENTILES]
    description = ", ".join(f"{name} {formats.seconds(value)}" for name, value in values.items()) or "too few gaps"
    shapes = [svg.Shape(svg.area(_heights(sketch, axis)), "bar")]
    if bound is not None and axis.low < bound < axis.high:
        shapes.append(svg.Shape(svg.marks([axis.x(bound)]), "thr"))
    shapes += [svg.Shape(svg.marks([axis.x(value)]), f"pc {name}") for name, value in values.items()]
    plot = svg.Plot(f"Gaps at {users_label(level)}", f"{description}.", 34, shapes)
    return Spread(label(level), plot, figures, f"{things(sketch.count, 'gap')}, {covered}")


def _heights(sketch: LatencySketch, axis: "_LogAxis") -> list[tuple[float, float]]:
    """Return the outline of the histogram, the fullest column almost as high as the picture."""
    columns = [0] * _BINS
    for value, count in sketch.bins():
        columns[min(int(axis.x(value) / svg.WIDTH * _BINS), _BINS - 1)] += count
    most, width = max(columns), svg.WIDTH / _BINS
    tops = [svg.HEIGHT * (1 - 0.96 * n / most) for n in columns]
    return [point for i, top in enumerate(tops) for point in ((i * width, top), ((i + 1) * width, top))]


class _LogAxis:
    """Maps seconds to the width of a picture, logarithmically."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low * 0.5, max(high * 1.2, low * 4)

    def x(self, value: float) -> float:
        """Return the position from the left, clipped to the picture."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return svg.WIDTH * min(share, 1.0)

    def ticks(self) -> list[float]:
        """Return powers of ten within the axis; on a shorter axis also threes, or twos and fives."""
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        spans = self.high / self.low
        steps = (1, 2, 5) if spans < 60 else (1, 3) if spans < 5000 else (1,)
        found = [step * 10.0**n for n in exponents for step in steps]
        return [tick for tick in found if self.low * 1.02 <= tick <= self.high * 0.98]

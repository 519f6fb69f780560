"""How the gaps between tokens are spread at each level: a small picture and three percentiles a level.

Taken from the sketches of the five-second windows that lie wholly inside a level's measured part, so it is exact to the
sketches' half a percent. A gap belongs to the level in which its token arrived. Gap and inter-token latency have a
picture each: where an event carries several tokens, they are different things.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.sketch import LatencySketch
from probe_ext.report.charts import svg
from probe_ext.report.wording.level_names import by_users, label
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence, Window

METRICS = (("gap", "Gaps between two pieces of text"), ("itl", "The same gaps for each token (ITL)"))
PERCENTILES = (0.5, 0.95, 0.99)
_BINS = 60
"""columns of a small picture"""
_MOST = 16
"""rows at most: of more levels, every n-th and the last"""
_ALIKE = 0.02
"""percentiles that differ by no more, relative, are called the same: twice what a sketch may be off, and some"""


@dataclass(frozen=True)
class Spread:
    """One level's row."""

    head: str
    plot: svg.Plot | None
    figures: Sequence[str]
    """the percentiles in words"""
    taken: str
    """how many gaps, and from how much of the level; or why there are none"""


@dataclass(frozen=True)
class Distribution:
    """One metric over all levels, on one axis."""

    term: str
    name: str
    rows: Sequence[Spread]
    ticks: Sequence[svg.Label]


@dataclass(frozen=True)
class Distributions:
    """What there is to show, and what is left out because it would be the same."""

    shown: Sequence[Distribution]
    note: str


def distributions(levels: Sequence[Mapping[str, Any]], evidence: Evidence, profile: SloProfile) -> Distributions | None:
    """Gaps, and ITL where it differs; None where no sketch of them lies inside a level."""
    some = by_users(levels)[:: -max(1, -(-len(levels) // _MOST))][::-1]
    merged = {metric: [_inside(level, metric, evidence.windows) for level in some] for metric, _ in METRICS}
    if not any(sketch.count for sketch, _ in merged["gap"]):
        return None
    alike = all(_alike(gap, itl) for (gap, _), (itl, _) in zip(merged["gap"], merged["itl"], strict=True))
    bound = profile.silence.served if profile.silence else None
    wanted = METRICS[:1] if alike else METRICS
    shown = [_distribution(metric, name, some, merged[metric], bound) for metric, name in wanted]
    note = "Each piece of text was one token: the inter-token latency (ITL) is the same." if alike else ""
    return Distributions(shown, note)


def _inside(level: Mapping[str, Any], metric: str, windows: Sequence[Window]) -> tuple[LatencySketch, float]:
    """Everything sketched in the windows wholly inside a level, and how many seconds they cover."""
    merged, seconds = LatencySketch(), 0.0
    for window in windows:
        inside = level["t_start"] <= window.start and window.start + window.seconds <= level["t_end"]
        if window.metric == metric and window.sketch and inside:
            merged.merge(window.sketch)
            seconds += window.seconds
    return merged, seconds


def _alike(gap: LatencySketch, itl: LatencySketch) -> bool:
    """Whether both have the same percentiles; also where there is no ITL to compare."""
    if not itl.count or not gap.count:
        return True
    pairs = [(gap.quantile(q) or 0.0, itl.quantile(q) or 0.0) for q in PERCENTILES]
    return all(math.isclose(a, b, rel_tol=_ALIKE) for a, b in pairs)


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
    of = f"{formats.span(seconds)} of {formats.span(level['t_end'] - level['t_start'])}"
    if not sketch.count:
        return Spread(label(level), None, [formats.DASH] * 3, "no whole window of five seconds with a gap")
    at = [sketch.quantile(q) or 0.0 for q in PERCENTILES]
    figures = [formats.seconds(value) for value in at]
    says = ", ".join(f"p{q * 100:.0f} {said}" for q, said in zip(PERCENTILES, figures, strict=True))
    shapes = [svg.Shape(svg.area(_heights(sketch, axis)), "bar")]
    if bound is not None and axis.low < bound < axis.high:
        shapes.append(svg.Shape(svg.marks([axis.x(bound)]), "thr"))
    marks = zip(("p50", "p95", "p99"), at, strict=True)
    shapes += [svg.Shape(svg.marks([axis.x(value)]), f"pc {kind}") for kind, value in marks]
    plot = svg.Plot(f"Gaps at {label(level)} users", f"{says}.", 34, shapes)
    return Spread(label(level), plot, figures, f"{formats.count(sketch.count)} gaps, {of}")


def _heights(sketch: LatencySketch, axis: "_LogAxis") -> list[tuple[float, float]]:
    """A staircase of how many fall into each column, the fullest as high as the picture."""
    columns = [0] * _BINS
    for value, count in sketch.bins():
        columns[min(int(axis.x(value) / svg.WIDTH * _BINS), _BINS - 1)] += count
    most, width = max(columns), svg.WIDTH / _BINS
    tops = [svg.HEIGHT * (1 - 0.96 * n / most) for n in columns]
    return [point for i, top in enumerate(tops) for point in ((i * width, top), ((i + 1) * width, top))]


class _LogAxis:
    """Seconds onto the width of a picture, logarithmic."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low * 0.5, max(high * 1.2, low * 4)

    def x(self, value: float) -> float:
        """Units from the left; clipped to the picture."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return svg.WIDTH * min(share, 1.0)

    def ticks(self) -> list[float]:
        """Powers of ten inside; of a shorter axis also threes, or twos and fives."""
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        spans = self.high / self.low
        steps = (1, 2, 5) if spans < 60 else (1, 3) if spans < 5000 else (1,)
        found = [step * 10.0**n for n in exponents for step in steps]
        return [tick for tick in found if self.low * 1.02 <= tick <= self.high * 0.98]

"""One small picture a question: a figure against the levels, with the profile's bound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probe_ext.report.charts import svg
from probe_ext.report.charts.level_chart import some, under
from probe_ext.report.wording.level_names import Level, by_users, label
from probe_ext.verdict.values import formats

_CARD = 26
"""letters for which there is room along its axis"""


@dataclass(frozen=True)
class Figure:
    """What a small picture shows of each level."""

    name: str
    key: str
    """in `capacity.json`"""
    say: Callable[[float | None], str]
    say_bound: Callable[[float], str]
    more_is_better: bool = False


def question(all_levels: Sequence[Level], figure: Figure, bound: tuple[float, float] | None) -> svg.Plot | None:
    """A figure against the levels, with the profile's bound; None when no level has it."""
    all_levels = by_users(all_levels)
    known = [(i, float(lv[figure.key])) for i, lv in enumerate(all_levels) if lv[figure.key] is not None]
    if not known:
        return None
    scale = _scale([v for _, v in known] + ([bound[0]] if bound else []))
    pitch = svg.WIDTH / len(all_levels)
    at = [((i + 0.5) * pitch, scale.top(v)) for i, v in known]
    shapes = [svg.Shape(svg.polyline(at), "ln")]
    shapes += [
        svg.Shape(svg.dots([point]), f"dot big {_felt(value, bound, more_is_better=figure.more_is_better)}")
        for (_, value), point in zip(known, at, strict=True)
    ]
    labels = [under((i + 0.5) * pitch / 10, label(lv), 16) for i, lv in some(all_levels, _CARD)]
    if bound:
        shapes.insert(0, svg.Shape(f"M0 {svg.number(scale.top(bound[0]))}H{svg.WIDTH}", "thr"))
        labels.append(svg.Label(0, scale.top(bound[0]), figure.say_bound(bound[0]), "thrlab", "start", dy=-4))
    labels.append(_written(figure.say(known[-1][1]), *at[-1]))
    points = [f"{label(lv)} users: {figure.say(lv[figure.key])}" for lv in all_levels]
    return svg.Plot(figure.name, "; ".join(points[i] for i, _ in known), 96, shapes, labels, points=points)


def _written(text: str, x: float, y: float) -> svg.Label:
    """The last value, beside its point."""
    return svg.Label(x / 10, y, text, "val", "end" if x > 700 else "middle", dx=4 if x > 700 else 0, dy=-9)


def _scale(values: Sequence[float]) -> svg.Linear | svg.Log:
    """Logarithmic where the values span more than one power of ten and a half."""
    positive = [v for v in values if v > 0]
    wide = bool(positive) and max(positive) / min(positive) > 30
    return svg.Log(min(positive), max(positive)) if wide else svg.Linear(0, max(values) * 1.2)


def _felt(value: float, bound: tuple[float, float] | None, *, more_is_better: bool) -> str:
    if bound is None:
        return "s"
    better = (value >= bound[0], value >= bound[1]) if more_is_better else (value <= bound[0], value <= bound[1])
    return "s" if better[0] else "m" if better[1] else "b"


def two_bars(name: str, waits: Sequence[tuple[str, float]]) -> svg.Plot:
    """Two waits below one another, on one scale that begins at nothing."""
    longest = max((wait for _, wait in waits), default=0.0) or 1.0
    shapes = [
        svg.Shape(svg.box(0, 24 + 50 * i, max(wait / longest * svg.WIDTH, 4), 18), f"wide-bar {kind}")
        for i, (kind, wait) in enumerate(waits)
    ]
    said = [f"{kind} {formats.seconds(wait)}" for kind, wait in waits]
    labels = [svg.Label(0, 22 + 50 * i, text, "val", "start", dy=-3) for i, text in enumerate(said)]
    return svg.Plot(name, "; ".join(said), 84, shapes, labels)

"""Small charts of one figure against the levels, with the profile's bound."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from probe_ext.report.charts import svg
from probe_ext.report.charts.level_chart import some, under
from probe_ext.report.wording.level_names import Level, by_number, label, users_label, without_visit
from probe_ext.report.wording.percentiles import figure as shown_figure
from probe_ext.report.wording.percentiles import why_not_shown
from probe_ext.verdict.phrasing import formats

_CARD_LETTERS = 26
"""Letters that fit along the axis of a card."""


@dataclass(frozen=True)
class Figure:
    """The figure that a small chart shows of each level."""

    name: str
    key: str
    """key in `capacity.json`"""
    text: Callable[[float | None], str]
    bound_text: Callable[[float], str]
    more_is_better: bool = False


def sparkline(
    all_levels: Sequence[Level], figure: Figure, bound: tuple[float, float] | None, states: Mapping[int, str]
) -> svg.Plot | None:
    """Draw a figure against the numbers of users, with the profile's bound; None if no visit has it.

    Visits to one number of users are points above each other; the line goes through their median. `states`: what is
    proven of each number of users by this figure's dimension alone, which colours its points.
    """
    numbers = by_number(all_levels)
    values = [[v for visit in visits if (v := shown_figure(visit, figure.key)) is not None] for visits in numbers]
    known = [i for i, of_visits in enumerate(values) if of_visits]
    if not known:
        return None
    scale = _scale([v for of_visits in values for v in of_visits] + ([bound[0]] if bound else []))
    pitch = svg.WIDTH / len(numbers)
    middles = {i: ((i + 0.5) * pitch, scale.top(median(values[i]))) for i in known}
    shapes = [svg.Shape(svg.polyline(middles.values()), "ln")]
    for i in known:
        points = [(middles[i][0], scale.top(value)) for value in values[i]]
        shapes.append(svg.Shape(svg.dots(points), f"dot big {states.get(numbers[i][0]['users'], 'unproven')}"))
    names = [without_visit(visits[0]) for visits in numbers]
    labels = [under((i + 0.5) * pitch / 10, label(lv), 16) for i, lv in some(names, _CARD_LETTERS)]
    if bound:
        shapes.insert(0, svg.Shape(f"M0 {svg.number(scale.top(bound[0]))}H{svg.WIDTH}", "thr"))
        labels.append(svg.Label(0, scale.top(bound[0]), figure.bound_text(bound[0]), "thrlab", "start", dy=-4))
    labels.append(_written(figure.text(median(values[known[-1]])), *middles[known[-1]]))
    read = [f"{users_label(name)}: {_readings(visits, figure)}" for name, visits in zip(names, numbers, strict=True)]
    return svg.Plot(figure.name, "; ".join(read[i] for i in known), 96, shapes, labels, points=read)


def _readings(visits: Sequence[Level], figure: Figure) -> str:
    read = ", ".join(_reading(visit, figure) for visit in visits)
    return f"{read} in {len(visits)} visits" if len(visits) > 1 else read


def _reading(level: Level, figure: Figure) -> str:
    value = shown_figure(level, figure.key)
    why = why_not_shown(figure.key, level)
    return f"{formats.DASH} ({why})" if why else figure.text(value)


def _written(text: str, x: float, y: float) -> svg.Label:
    """Return the label of the last value, beside its point."""
    return svg.Label(x / 10, y, text, "val", "end" if x > 700 else "middle", dx=4 if x > 700 else 0, dy=-9)


def _scale(values: Sequence[float]) -> svg.Linear | svg.Log:
    """Return a logarithmic scale if the values span more than a factor of 30."""
    positive = [v for v in values if v > 0]
    wide = bool(positive) and max(positive) / min(positive) > 30
    return svg.Log(min(positive), max(positive)) if wide else svg.Linear(0, max(values) * 1.2)


def two_bars(name: str, waits: Sequence[tuple[str, float]]) -> svg.Plot:
    """Draw two waits below one another, on one scale that starts at zero."""
    longest = max((wait for _, wait in waits), default=0.0) or 1.0
    shapes = [
        svg.Shape(svg.box(0, 24 + 50 * i, max(wait / longest * svg.WIDTH, 4), 18), f"wide-bar {kind}")
        for i, (kind, wait) in enumerate(waits)
    ]
    texts = [f"{kind} {formats.seconds(wait)}" for kind, wait in waits]
    labels = [svg.Label(0, 22 + 50 * i, text, "val", "start", dy=-3) for i, text in enumerate(texts)]
    return svg.Plot(name, "; ".join(texts), 84, shapes, labels)

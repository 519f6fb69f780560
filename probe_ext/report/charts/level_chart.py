"""Chart of the levels: the share of replies served, strained and broken at each number of users.

The numbers of users stand at equal distances; what lies between them (interval, estimate, fit) is interpolated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.rate import Rate
from probe_ext.report.charts import svg
from probe_ext.report.wording.level_names import Level, by_number, label, users_label, without_visit
from probe_ext.report.wording.percentiles import few_finished
from probe_ext.report.wording.shared_sentences import GRADES, STATE_SIGNS, STATE_WORDS
from probe_ext.verdict.phrasing import formats

_DESKTOP_LETTERS, _PHONE_LETTERS = 140, 44
"""Letters that fit along the axis."""
_MAX_LABELLED_BARS, _MAX_LABELLED_PHONE_BARS = 9, 5
"""With more, bars are too narrow for percentages in them."""
_MAX_NAMED_BARS, _MAX_NAMED_PHONE_BARS = 5, 3
"""With more, there is no room for the grade below its percentage."""
_MIN_LABELLED_HEIGHT, _MIN_NAMED_HEIGHT = 7, 13
"""Per cent of the plot: lower parts have no room for a percentage, or for a grade below it."""
_MAX_COUNTED_BARS = 14
"""With more, there is no room for the number of visits below them."""
_MAX_BAR_WIDTH = 28
"""Per cent of the chart, so that a single level does not fill it."""
_MIN_SPAN = 1.2
"""Per cent of the chart: width of an interval of a single number of users."""
_MAX_LEVEL_PX, _MIN_CHART_PX = 190, 420
_HEADROOM = 1.22
"""Above 100 % there is room for the states, the interval and the estimate."""


@dataclass(frozen=True)
class Bar:
    """The stack of one number of users, in per cent of the plot."""

    x: float
    width: float
    top: float
    """of 100 %"""
    state: str
    parts: Sequence[tuple[str, float, float, float, str]]
    """grade, top, height, share, title"""
    few: Mapping[str, str]
    """what stands in the part of a grade, where too few replies finished for percentages"""


@dataclass(frozen=True)
class Span:
    """The interval of the answer, in per cent of the plot."""

    start: float
    end: float
    open: bool
    """without an upper bound"""

    @property
    def width(self) -> float:
        """Width in per cent."""
        return self.end - self.start


@dataclass(frozen=True)
class Stack:
    """Shares of replies by number of users."""

    plot: svg.Plot
    bars: Sequence[Bar]
    users: Sequence[int]
    """number of users of each bar"""
    mark_x: float | None
    """per cent: where the answer is"""
    interval: Span | None
    limit_y: float
    """per cent from the top: the share that a served person needs"""
    widest: int
    """maximum width in pixels"""
    states: Sequence[tuple[str, str]] = tuple(
        (key, f"{sign} level {STATE_WORDS[key]}") for key, sign in STATE_SIGNS.items()
    )
    """states with sign and words, for the legend"""


@dataclass(frozen=True)
class Marks:
    """What the chart marks; nothing for an invalid run."""

    users: int | None = None
    """the answer"""
    text: str = ""
    interval: Sequence[int | None] | None = None
    interval_text: str = ""
    crossing: float | None = None
    """where the fit crosses the share that a person needs"""


class _Axis:
    """Maps users to per cent of the plot."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.pitch = 100 / max(len(numbers), 1)
        self._users = [0, *numbers]
        self._x = [0.0, *((i + 0.5) * self.pitch for i in range(len(numbers)))]

    def x(self, users: float) -> float:
        return float(np.interp(users, self._users, self._x))


def levels(all_levels: Sequence[Level], limit: float, marks: Marks) -> Stack:
    """Draw the stacked shares of each number of users. `limit`: the served share that a person needs."""
    numbers = by_number(all_levels)
    users = [visits[0]["users"] for visits in numbers]
    axis, scale = _Axis(users), svg.Linear(0, _HEADROOM)
    width = min(0.68 * axis.pitch, _MAX_BAR_WIDTH)
    bars = [_bar(visits, axis.x(visits[0]["users"]) - width / 2, width, scale) for visits in numbers]
    inside = [text for bar in bars for text in _inside(bar, len(bars))]
    signs = [svg.Label(bar.x + width / 2, bar.top, STATE_SIGNS[bar.state], f"sign {bar.state}", dy=-5) for bar in bars]
    ticks = [(scale.top(share), formats.percent(share) if share else "0") for share in (0, 0.5, 1)]
    left = [svg.Label(0, top, text, anchor="end", dx=-8, dy=4) for top, text in ticks]
    left.append(svg.Label(0, scale.top(limit), formats.percent(limit), "thrlab", "end", dx=-8, dy=4))
    mark_x = None if marks.users is None else axis.x(marks.users)
    points = [_text(visits) for visits in numbers]
    what = "rate of requests" if users and isinstance(users[0], Rate) else "number of users"
    plot = svg.Plot(
        f"Share of replies served, strained and broken by {what}",
        "; ".join([*points, *filter(None, [marks.text, marks.interval_text])]),
        300,
        [svg.Shape(svg.polyline(fit), "ln fit")] if len(fit := _fit(numbers, limit, marks.crossing, axis)) > 1 else [],
        [*left, *inside, *signs, *_below(numbers, axis), *_mark(mark_x, marks.text)],
        [top for top, _ in ticks],
        points,
    )
    widest = max(_MAX_LEVEL_PX * len(numbers), _MIN_CHART_PX)
    return Stack(plot, bars, users, mark_x, _interval(marks.interval, axis), scale.top(limit), widest)


def _bar(visits: Sequence[Level], x: float, width: float, scale: svg.Linear) -> Bar:
    parts, below, few = [], 0.0, few_finished(visits)
    for grade, share in _shares(visits[0]).items():
        if share > 0:
            y = scale.top(below + share)
            of = f"{few[grade]} finished" if few else f"{formats.percent(share)} of"
            parts.append((grade, y, scale.top(below) - y, share, f"{_name(visits)}: {of} replies {grade}"))
            below += share
    return Bar(x, width, scale.top(1), visits[0]["state"], parts, few)


def _shares(level: Level) -> dict[str, float]:
    """Return the share of each grade, over all visits; empty without a judged reply."""
    served, broken = level["served_share"], level["broken_share"]
    if served is None:
        return {}
    return dict(zip(GRADES, (served, max(0.0, round(1 - served - broken, 9)), broken), strict=True))


def _name(visits: Sequence[Level]) -> str:
    name = users_label(without_visit(visits[0]))
    return f"{name}, {len(visits)} visits together" if len(visits) > 1 else name


def _text(visits: Sequence[Level]) -> str:
    few, shown = few_finished(visits), {grade: share for grade, share in _shares(visits[0]).items() if share}
    shares = [f"{few.get(grade, formats.percent(share))} {grade}" for grade, share in shown.items()]
    return f"{_name(visits)}: {', '.join(shares) or 'no judged reply'} ({STATE_WORDS[visits[0]['state']]})"


def _inside(bar: Bar, bar_count: int) -> list[svg.Label]:
    """Return the percentages, or the few replies, of the parts that have room for them."""
    if bar_count > _MAX_LABELLED_BARS:
        return []
    kind = f"inb{'' if bar_count <= _MAX_LABELLED_PHONE_BARS else ' wide'} in-{bar.state}"
    labels = []
    for grade, top, height, share, _ in bar.parts:
        x, y = bar.x + bar.width / 2, top + height / 2
        named = bar_count <= _MAX_NAMED_BARS and height > _MIN_NAMED_HEIGHT
        if height > _MIN_LABELLED_HEIGHT:
            text = bar.few.get(grade, formats.percent(share))
            labels.append(svg.Label(x, y, text, f"{kind} on-{grade}", dy=-3 if named else 5))
        if named:
            wide = "" if bar_count <= _MAX_NAMED_PHONE_BARS else " wide"
            labels.append(svg.Label(x, y, grade, f"inb word{wide} in-{bar.state} on-{grade}", dy=14))
    return labels


def _below(numbers: Sequence[Sequence[Level]], axis: _Axis) -> list[svg.Label]:
    """Name the numbers of users, as many as fit, and how often each was visited, if more than once."""
    first = [without_visit(visits[0]) for visits in numbers]
    on_phones = {i for i, _ in some(first, _PHONE_LETTERS)}
    labels = []
    for i, level in some(first, _DESKTOP_LETTERS):
        visits = f" ({len(numbers[i])}×)" if len(numbers[i]) > 1 and len(numbers) <= _MAX_COUNTED_BARS else ""
        labels.append(under(axis.x(level["users"]), label(level) + visits, 18, "ax" if i in on_phones else "ax wide"))
    return labels


def under(x: float, text: str, dy: float, kind: str = "ax") -> svg.Label:
    """Return a label below the axis; a long one at the right edge ends there."""
    edge = x > 92 and len(text) > 4
    return svg.Label(100 if edge else x, 100, text, kind, "end" if edge else "middle", dy=dy)


def _mark(x: float | None, text: str) -> list[svg.Label]:
    if x is None:
        return []
    anchor, dx = ("start", 6) if x < 50 else ("end", -6)
    return [svg.Label(x, 0, text, "caplab", anchor, dx, 11)]


def _interval(interval: Sequence[int | None] | None, axis: _Axis) -> Span | None:
    low, high = interval or (None, None)
    if low is None:
        return None
    start, end = axis.x(low), 100.0 if high is None else axis.x(high)
    if end - start < _MIN_SPAN:
        start, end = max(0.0, (start + end - _MIN_SPAN) / 2), min(100.0, (start + end + _MIN_SPAN) / 2)
    return Span(start, end, high is None)


def _fit(
    numbers: Sequence[Sequence[Level]], limit: float, crossing: float | None, axis: _Axis
) -> list[tuple[float, float]]:
    """Return the fitted shares, through the crossing of the limit where a curve places it."""
    fitted = [(float(level["users"]), share) for level, *_ in numbers if (share := fitted_share(level)) is not None]
    if crossing is not None:
        sides = [(users, share) for users, share in fitted if (share - limit) * (crossing - users) > 0]
        fitted = sorted([*sides, (crossing, limit)])
    scale = svg.Linear(0, _HEADROOM)
    return [(axis.x(users) / 100 * svg.WIDTH, scale.top(share)) for users, share in fitted]


def fitted_share(level: Level) -> float | None:
    """Return the fitted share; None where the level was left out of the fit, which then has no value for it."""
    return level["served_share_fit"] or (None if level["served_share"] else level["served_share_fit"])


def some(all_levels: Sequence[Level], letters: int) -> list[tuple[int, Level]]:
    """Return every n-th level from the last, with its index, so that labels fit beside one another."""
    longest = max((len(label(level)) for level in all_levels), default=0) + 2
    step = max(1, -(-len(all_levels) * longest // letters))
    return list(enumerate(all_levels))[::-step][::-1]

"""Chart of the levels: users served, strained and broken at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.report.charts import svg
from probe_ext.report.wording.level_names import Level, by_users, label, users_label
from probe_ext.report.wording.shared_sentences import USER_STATES
from probe_ext.verdict.values import formats

STATES = tuple(USER_STATES)
_DESKTOP_LETTERS, _PHONE_LETTERS = 140, 44
"""Letters that fit along the axis."""
_MAX_LABELLED_BARS = 14
"""With more levels, bars are too narrow for numbers in them."""
_MAX_BAR_WIDTH = 28
"""Per cent of the chart, so that a single level does not fill it."""
_MAX_LEVEL_PX, _MIN_CHART_PX = 190, 420


@dataclass(frozen=True)
class Bar:
    """The stack of one level, in per cent of the plot."""

    x: float
    width: float
    parts: Sequence[tuple[str, float, float, str]]
    """state, top, height, title"""


@dataclass(frozen=True)
class Span:
    """The interval of the answer, in per cent of the plot."""

    start: float
    end: float
    open: bool
    """without an upper bound"""
    label: str

    @property
    def width(self) -> float:
        """Width in per cent."""
        return self.end - self.start


@dataclass(frozen=True)
class Stack:
    """Users by level."""

    plot: svg.Plot
    bars: Sequence[Bar]
    capacity_x: float | None
    """per cent: right of the bar of the capacity"""
    interval: Span | None
    widest: int
    """maximum width in pixels"""


@dataclass(frozen=True)
class Marks:
    """What the chart marks; nothing for an invalid run."""

    capacity: int | None = None
    interval: Sequence[int | None] | None = None
    interval_label: str = "95 %"
    notes: Sequence[str] = ()
    """shown below the capacity: what was not decided or not measured above it, a nearly full KV cache"""


def levels(all_levels: Sequence[Level], marks: Marks) -> Stack:
    """Draw the stacked users of each level."""
    all_levels, capacity = by_users(all_levels), marks.capacity
    top = max((sum(_users(lv).values()) for lv in all_levels), default=1)
    scale = svg.Linear(0, top * 1.18)
    pitch = 100 / max(len(all_levels), 1)
    width = min(0.68 * pitch, _MAX_BAR_WIDTH)
    bars = [_bar(lv, (i + 0.5) * pitch - width / 2, width, scale) for i, lv in enumerate(all_levels)]
    inside = [label for bar in bars for label in _inside(bar, len(all_levels))]
    sparse = dict(some(all_levels, _PHONE_LETTERS))
    below = [
        _below(lv, (i + 0.5) * pitch, lv["users"] == capacity, i in sparse)
        for i, lv in some(all_levels, _DESKTOP_LETTERS)
    ]
    ticks = [tick for tick in scale.ticks(5) if tick == round(tick)]
    left = [svg.Label(0, scale.top(tick), formats.count(tick), anchor="end", dx=-8, dy=4) for tick in ticks]
    at = [i + 1 for i, lv in enumerate(all_levels) if capacity and lv["users"] == capacity]
    marked = at[-1] * pitch if at else None
    labels = [*left, *inside, *below, *_capacity(marked, marks)]
    rules = [scale.top(tick) for tick in ticks]
    points = [_text(level) for level in all_levels]
    height = 300 if len(all_levels) > 2 else 240
    plot = svg.Plot(
        "Users served, strained and broken at each level", "; ".join(points), height, (), labels, rules, points
    )
    return Stack(plot, bars, marked, _interval(all_levels, marks), max(_MAX_LEVEL_PX * len(all_levels), _MIN_CHART_PX))


def _interval(all_levels: Sequence[Level], marks: Marks) -> Span | None:
    """Place the interval below the bars, interpolated between levels; None where it is outside of them."""
    low, high = marks.interval or (None, None)
    bars: dict[int, list[float]] = {}
    for i, lv in enumerate(all_levels):
        bars.setdefault(lv["users"], []).append((i + 0.5) * 100 / len(all_levels))
    users, centres = list(bars), [float(np.mean(at)) for at in bars.values()]
    if low is None or len(users) < 2:
        return None
    end = 100.0 if high is None else float(np.interp(high, users, centres))
    start = float(np.interp(low, users, centres))
    return Span(start, end, high is None, marks.interval_label) if end > start else None


def legend(all_levels: Sequence[Level]) -> list[str]:
    """Return the states that occur, and always served, strained and broken."""
    return [s for s in STATES if s in STATES[:3] or any(level[f"users_{s}"] for level in all_levels)]


def _users(level: Level) -> dict[str, int]:
    return {state: int(level[f"users_{state}"]) for state in STATES}


def _bar(level: Level, x: float, width: float, scale: svg.Linear) -> Bar:
    parts, below = [], 0
    for state, number in _users(level).items():
        if number:
            y = scale.top(below + number)
            title = f"{users_label(level)}: {formats.count(number)} {USER_STATES[state]}"
            parts.append((state, y, scale.top(below) - y, title))
            below += number
    return Bar(x, width, parts)


def _inside(bar: Bar, level_count: int) -> list[svg.Label]:
    """Return numbers for the parts that have room for them."""
    roomy = [part for part in bar.parts if part[2] > 7 and level_count <= _MAX_LABELLED_BARS]
    return [
        svg.Label(bar.x + bar.width / 2, top + height / 2, title.split(": ")[1].split()[0], f"inb on-{state}", dy=5)
        for state, top, height, title in roomy
    ]


def _below(level: Level, x: float, is_capacity: bool, on_phones: bool) -> svg.Label:
    kind = "ax cap" if is_capacity else "ax" if on_phones else "ax wide"
    return under(x, label(level), 20, kind)


def under(x: float, text: str, dy: float, kind: str = "ax") -> svg.Label:
    """Return a label below the axis; a long one at the right edge ends there."""
    edge = x > 92 and len(text) > 4
    return svg.Label(100 if edge else x, 100, text, kind, "end" if edge else "middle", dy=dy)


def _capacity(at: float | None, marks: Marks) -> list[svg.Label]:
    if at is None:
        return []
    anchor, dx = ("start", 6) if at < 50 else ("end", -6)
    texts = [(f"capacity {marks.capacity}", "caplab"), *((note, "ax") for note in marks.notes if note)]
    return [svg.Label(at, 0, text, kind, anchor, dx, 12 + 16 * i) for i, (text, kind) in enumerate(texts)]


def _text(level: Level) -> str:
    states = ", ".join(f"{n} {USER_STATES[state]}" for state, n in _users(level).items() if n)
    return f"{users_label(level)}: {states}"


def some(all_levels: Sequence[Level], letters: int) -> list[tuple[int, Level]]:
    """Return every n-th level from the last, with its index, so that labels fit beside one another."""
    longest = max((len(label(level)) for level in all_levels), default=0) + 2
    step = max(1, -(-len(all_levels) * longest // letters))
    return list(enumerate(all_levels))[::-step][::-1]

"""The picture of the levels: users served, strained and broken at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.report.charts import svg
from probe_ext.report.wording.level_names import Level, by_users, label
from probe_ext.verdict.values import formats

STATES = ("served", "strained", "broken", "undecided", "unheard")
_DESK, _PHONE = 140, 44
"""letters for which there is room along the axis, on a desk and on a phone"""
_FEW = 14
"""with more levels than this, bars are too narrow to be written in"""
_WIDEST_BAR = 28
"""per cent of the picture: a lone level is no wall"""
_ROOM, _LEAST = 190, 420
"""pixels: what a level gets at most, and what the picture has at least: two levels need no whole screen"""


@dataclass(frozen=True)
class Bar:
    """One level's stack, in per cent of the plot."""

    x: float
    width: float
    parts: Sequence[tuple[str, float, float, str]]
    """state, top, height, title"""


@dataclass(frozen=True)
class Span:
    """From where to where the answer may lie, in per cent of the plot."""

    start: float
    end: float
    open: bool
    """above"""
    says: str

    @property
    def width(self) -> float:
        """Per cent."""
        return self.end - self.start


@dataclass(frozen=True)
class Stack:
    """Users by level."""

    plot: svg.Plot
    bars: Sequence[Bar]
    capacity_x: float | None
    """per cent: right of the bar that is the answer"""
    interval: Span | None
    widest: int
    """pixels: the picture grows no wider"""


@dataclass(frozen=True)
class Marks:
    """What is marked in the picture; nothing of a run not to be believed."""

    capacity: int | None = None
    interval: Sequence[int | None] | None = None
    says: str = "95 %"
    """what the interval is"""
    notes: Sequence[str] = ()
    """below the capacity: what was not decided or not measured behind it, whether it stands on the edge"""


def levels(all_levels: Sequence[Level], marks: Marks) -> Stack:
    """Stacked users for each level, by how many there were."""
    all_levels, capacity = by_users(all_levels), marks.capacity
    top = max((sum(_users(lv).values()) for lv in all_levels), default=1)
    scale = svg.Linear(0, top * 1.18)
    pitch = 100 / max(len(all_levels), 1)
    width = min(0.68 * pitch, _WIDEST_BAR)
    bars = [_bar(lv, (i + 0.5) * pitch - width / 2, width, scale) for i, lv in enumerate(all_levels)]
    inside = [label for bar in bars for label in _inside(bar, len(all_levels))]
    sparse = dict(some(all_levels, _PHONE))
    below = [_below(lv, (i + 0.5) * pitch, lv["users"] == capacity, i in sparse) for i, lv in some(all_levels, _DESK)]
    ticks = [tick for tick in scale.ticks(5) if tick == round(tick)]
    left = [svg.Label(0, scale.top(tick), formats.count(tick), anchor="end", dx=-8, dy=4) for tick in ticks]
    at = [i + 1 for i, lv in enumerate(all_levels) if capacity and lv["users"] == capacity]
    marked = at[-1] * pitch if at else None
    labels = [*left, *inside, *below, *_capacity(marked, marks)]
    rules = [scale.top(tick) for tick in ticks]
    points = [_spoken([level]) for level in all_levels]
    height = 300 if len(all_levels) > 2 else 240
    plot = svg.Plot("Users at each level, by what they felt", "; ".join(points), height, (), labels, rules, points)
    return Stack(plot, bars, marked, _interval(all_levels, marks), max(_ROOM * len(all_levels), _LEAST))


def _interval(all_levels: Sequence[Level], marks: Marks) -> Span | None:
    """Where the interval lies below the bars, numbers between two levels in proportion; None where it lies outside."""
    low, high = marks.interval or (None, None)
    bars: dict[int, list[float]] = {}
    for i, lv in enumerate(all_levels):
        bars.setdefault(lv["users"], []).append((i + 0.5) * 100 / len(all_levels))
    users, centres = list(bars), [float(np.mean(of)) for of in bars.values()]
    if low is None or len(users) < 2:
        return None
    end = 100.0 if high is None else float(np.interp(high, users, centres))
    start = float(np.interp(low, users, centres))
    return Span(start, end, high is None, marks.says) if end > start else None


def legend(all_levels: Sequence[Level]) -> list[str]:
    """The states that occur, and the three that always stand there."""
    return [s for s in STATES if s in STATES[:3] or any(level[f"users_{s}"] for level in all_levels)]


def _users(level: Level) -> dict[str, int]:
    return {state: int(level[f"users_{state}"]) for state in STATES}


def _bar(level: Level, x: float, width: float, scale: svg.Linear) -> Bar:
    parts, below = [], 0
    for state, number in _users(level).items():
        if number:
            y = scale.top(below + number)
            title = f"{label(level)} users: {formats.count(number)} {state}"
            parts.append((state, y, scale.top(below) - y, title))
            below += number
    return Bar(x, width, parts)


def _inside(bar: Bar, levels_in_all: int) -> list[svg.Label]:
    """Numbers in the parts that have room for them."""
    roomy = [part for part in bar.parts if part[2] > 7 and levels_in_all <= _FEW]
    return [
        svg.Label(bar.x + bar.width / 2, top + height / 2, title.split(": ")[1].split()[0], f"inb on-{state}", dy=5)
        for state, top, height, title in roomy
    ]


def _below(level: Level, x: float, is_capacity: bool, on_phones: bool) -> svg.Label:
    kind = "ax cap" if is_capacity else "ax" if on_phones else "ax wide"
    return under(x, label(level), 20, kind)


def under(x: float, text: str, dy: float, kind: str = "ax") -> svg.Label:
    """A label below the axis; a long one at the right edge ends there."""
    edge = x > 92 and len(text) > 4
    return svg.Label(100 if edge else x, 100, text, kind, "end" if edge else "middle", dy=dy)


def _capacity(at: float | None, marks: Marks) -> list[svg.Label]:
    if at is None:
        return []
    anchor, dx = ("start", 6) if at < 50 else ("end", -6)
    said = [(f"capacity {marks.capacity}", "caplab"), *((note, "ax") for note in marks.notes if note)]
    return [svg.Label(at, 0, text, kind, anchor, dx, 12 + 16 * i) for i, (text, kind) in enumerate(said)]


def _spoken(all_levels: Sequence[Level]) -> str:
    return "; ".join(
        f"{label(lv)} users: " + ", ".join(f"{n} {state}" for state, n in _users(lv).items() if n) for lv in all_levels
    )


def some(all_levels: Sequence[Level], letters: int) -> list[tuple[int, Level]]:
    """Every n-th level from the last, so that their labels fit beside one another."""
    longest = max((len(label(level)) for level in all_levels), default=0) + 2
    step = max(1, -(-len(all_levels) * longest // letters))
    return list(enumerate(all_levels))[::-step][::-1]

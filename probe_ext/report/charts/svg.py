"""Drawing primitives: scales, ticks, and shapes as plain values that a template writes as SVG.

A plot is an outer SVG with a fixed height in pixels, in which text keeps its size at any width, around an inner one of
WIDTH × HEIGHT units that is stretched to fit. Strokes do not scale, so a point is a stroke without length.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 1000, 100
"""Units of the stretched inner picture."""


@dataclass(frozen=True)
class Shape:
    """A path in units of the inner picture."""

    d: str
    kind: str
    """CSS class"""
    title: str = ""


@dataclass(frozen=True)
class Label:
    """Text at a position in per cent of the plot, offset by pixels."""

    x: float
    y: float
    text: str
    kind: str = "ax"
    anchor: str = "middle"
    dx: float = 0
    dy: float = 0
    moves: bool = False
    """whether it moves when the time axis is zoomed"""


@dataclass(frozen=True)
class Plot:
    """One picture. Screen readers read `name` and `description`."""

    name: str
    description: str
    height: int
    """pixels"""
    shapes: Sequence[Shape] = ()
    labels: Sequence[Label] = ()
    rules: Sequence[float] = field(default=())
    """horizontal grid lines, per cent from the top"""
    points: Sequence[str] = ()
    """text that pointer and arrow keys read, one per level, at equal distances"""


def number(value: float) -> str:
    """Format with at most two decimals, without trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Linear:
    """Linear scale from `low` (bottom) to `high` (top)."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high if high > low else low + 1

    def top(self, value: float) -> float:
        """Return the position in per cent from the top, clipped to the plot."""
        return 100 * (1 - min(max((value - self.low) / (self.high - self.low), 0.0), 1.0))

    def ticks(self, most: int) -> list[float]:
        """Return round values within the scale, about `most` of them at most."""
        step = round_up((self.high - self.low) / max(most, 1))
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


class Log:
    """Logarithmic scale for values that span decades."""

    def __init__(self, low: float, high: float) -> None:
        self.low = 10 ** math.floor(math.log10(low) + 1e-9)
        self.high = max(high * 1.15, self.low * 10)

    def top(self, value: float) -> float:
        """Return the position in per cent from the top, clipped to the plot."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return 100 * (1 - min(share, 1.0))

    def ticks(self, most: int) -> list[float]:
        """Return powers of ten within the scale, at most `most` of them."""
        decades = [
            10.0**n for n in range(math.floor(math.log10(self.low) + 0.5), math.floor(math.log10(self.high)) + 1)
        ]
        return decades[:: max(1, -(-len(decades) // most))]


def round_up(value: float) -> float:
    """Return the next larger of 1, 2, 5, 10, 20, 50, …"""
    power = 10 ** math.floor(math.log10(value))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= value * (1 - 1e-9)))


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the path of a line through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """Return the path of a staircase: each value holds until the next one, the last until `end`."""
    if not points:
        return ""
    x, y = points[0]
    return f"M{number(x)} {number(y)}" + "".join(f"H{number(x)}V{number(y)}" for x, y in points[1:]) + f"H{number(end)}"


def area(points: Sequence[tuple[float, float]]) -> str:
    """Return the path of the area below a line."""
    if not points:
        return ""
    return f"{polyline(points)}V{HEIGHT}H{number(points[0][0])}Z"


def dots(points: Iterable[tuple[float, float]]) -> str:
    """Return the path of points: strokes without length, drawn with round caps."""
    return "".join(f"M{number(x)} {number(y)}h0" for x, y in points)


def bars(spans: Iterable[tuple[float, float, float]]) -> str:
    """Return the path of horizontal strokes (x, to, y)."""
    return "".join(f"M{number(x)} {number(y)}H{number(to)}" for x, to, y in spans)


def marks(at: Iterable[float]) -> str:
    """Return the path of vertical strokes over the whole height."""
    return "".join(f"M{number(x)} 0V{HEIGHT}" for x in at)


def box(x: float, y: float, width: float, height: float) -> str:
    """Return the path of a rectangle."""
    return f"M{number(x)} {number(y)}h{number(width)}v{number(height)}h{number(-width)}Z"

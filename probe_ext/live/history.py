"""How the figures went: every second of the last minutes, and the whole run in ever coarser steps.

A run of any length takes the same memory. When there are MOST points, the step doubles and neighbours become one: a
column says whether the last, the largest, the smallest or the sum of them stands for both.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RECENT = 300
"""points of one second"""
MOST = 600
"""points of the whole run"""

Value = float | None
Point = Mapping[str, Value]
"""`t` and the columns"""


def last(_: Value, new: Value) -> Value:
    """The newer one, whatever it is."""
    return new


def largest(old: Value, new: Value) -> Value:
    """The larger of those that are known."""
    return max(_known(old, new), default=None)


def smallest(old: Value, new: Value) -> Value:
    """The smaller of those that are known."""
    return min(_known(old, new), default=None)


def together(old: Value, new: Value) -> Value:
    """The sum of those that are known."""
    known = _known(old, new)
    return sum(known) if known else None


def _known(*values: Value) -> list[float]:
    return [value for value in values if value is not None]


Merge = Callable[[Value, Value], Value]


class History:
    """Add a point a second; ask for columns."""

    def __init__(self, merges: Mapping[str, Merge], recent: int = RECENT, most: int = MOST) -> None:
        self._merges = merges
        self._most = most
        self.step = 1.0
        """seconds that a point of the whole run stands for"""
        self._recent: deque[Point] = deque(maxlen=recent)
        self._whole: list[Point] = []

    def add(self, point: Point) -> None:
        """The newest moment."""
        self._recent.append(point)
        self._put(self._whole, point)
        while len(self._whole) > self._most:
            self.step *= 2
            points, self._whole = self._whole, []
            for old in points:
                self._put(self._whole, old)

    def _put(self, points: list[Point], new: Point) -> None:
        if points and self._bin(points[-1]) == self._bin(new):
            old = points[-1]
            points[-1] = {"t": old["t"], **{name: merge(old[name], new[name]) for name, merge in self._merges.items()}}
        else:
            points.append(new)

    def _bin(self, point: Point) -> int:
        return math.floor((point["t"] or 0.0) / self.step)

    def recent(self) -> dict[str, Any]:
        """The last minutes, second by second, as columns."""
        return self._columns(list(self._recent), 1.0)

    def whole(self) -> dict[str, Any]:
        """The whole run as columns."""
        return self._columns(self._whole, self.step)

    def _columns(self, points: Sequence[Point], step: float) -> dict[str, Any]:
        return {"step": step, **{name: [point[name] for point in points] for name in ("t", *self._merges)}}

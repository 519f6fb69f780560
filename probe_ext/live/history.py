"""The figures over time: every second of the last minutes, and the whole run in ever coarser steps.

Memory does not grow with the run: at MAX_POINTS points the step doubles, and neighbours are merged into one. Each
column has a function for that: last, largest, smallest or sum.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

RECENT_POINTS = 300  # of one second each
MAX_POINTS = 600  # of the whole run

Value = float | None
Point = Mapping[str, Value]
"""`t` and the columns"""


def last(_: Value, new: Value) -> Value:
    """Return the newer value, even if it is None."""
    return new


def largest(old: Value, new: Value) -> Value:
    """Return the larger known value."""
    return max(_known(old, new), default=None)


def smallest(old: Value, new: Value) -> Value:
    """Return the smaller known value."""
    return min(_known(old, new), default=None)


def total(old: Value, new: Value) -> Value:
    """Return the sum of the known values."""
    known = _known(old, new)
    return sum(known) if known else None


def _known(*values: Value) -> list[float]:
    return [value for value in values if value is not None]


Merge = Callable[[Value, Value], Value]


class History:
    """Takes a point a second, and returns columns."""

    def __init__(self, merges: Mapping[str, Merge], recent: int = RECENT_POINTS, max_points: int = MAX_POINTS) -> None:
        self._merges = merges
        self._max_points = max_points
        self.step = 1.0
        """seconds per point of the whole run"""
        self._recent: deque[Point] = deque(maxlen=recent)
        self._whole: list[Point] = []

    def add(self, point: Point) -> None:
        """Add the newest point."""
        self._recent.append(point)
        self._put(self._whole, point)
        while len(self._whole) > self._max_points:
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
        """Return the last minutes second by second, as columns."""
        return self._columns(list(self._recent), 1.0)

    def whole(self) -> dict[str, Any]:
        """Return the whole run as columns."""
        return self._columns(self._whole, self.step)

    def _columns(self, points: Sequence[Point], step: float) -> dict[str, Any]:
        return {"step": step, **{name: [point[name] for point in points] for name in ("t", *self._merges)}}

"""Bounded numbers of points, however long the run was; the worst always stays.

A picture is about a thousand pixels wide: of what falls into one column, the extremes tell all that can be seen.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLUMNS = 1800
"""columns that a time axis is cut into"""


def line(t: Floats, value: Floats, columns: int = COLUMNS) -> tuple[Floats, Floats]:
    """Of each column the lowest and the highest value, in order of time; all points where they are few."""
    keep = ~(np.isnan(t) | np.isnan(value))
    t, value = t[keep], value[keep]
    if t.size <= 2 * columns:
        return t, value
    column = _column(t, columns)
    by_value = np.lexsort((value, column))
    edges = np.flatnonzero(np.diff(column[by_value])) + 1
    lowest = by_value[np.concatenate(([0], edges))]
    highest = by_value[np.concatenate((edges - 1, [by_value.size - 1]))]
    chosen = np.unique(np.concatenate((lowest, highest)))
    chosen = chosen[np.argsort(t[chosen], kind="stable")]
    return t[chosen], value[chosen]


def cloud(t: Floats, value: Floats, most: int = 8000) -> NDArray[Any]:
    """Indices of at most `most` points: the highest of each column, and of the rest every n-th, in order of time."""
    present = np.flatnonzero(~(np.isnan(t) | np.isnan(value)))
    if present.size <= most:
        return present[np.argsort(t[present], kind="stable")]
    column = _column(t[present], COLUMNS)
    order = np.lexsort((value[present], column))
    last = np.concatenate((np.flatnonzero(np.diff(column[order])), [order.size - 1]))
    worst = present[order[last]]
    rest = np.setdiff1d(present, worst, assume_unique=True)
    step = -(-rest.size // (most - worst.size))
    chosen = np.concatenate((worst, rest[::step]))
    return chosen[np.argsort(t[chosen], kind="stable")]


def _column(t: Floats, columns: int) -> NDArray[np.int64]:
    low, high = float(t.min()), float(t.max())
    return np.minimum((t - low) / max(high - low, 1e-9) * columns, columns - 1).astype(np.int64)

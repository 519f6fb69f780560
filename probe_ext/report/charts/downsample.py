"""Reduce long series to a bounded number of points that keeps the extremes.

A picture is about a thousand pixels wide, so only the extremes within each column are visible.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COLUMNS = 1800
"""Columns of the time axis."""


def line(t: Floats, value: Floats, columns: int = COLUMNS) -> tuple[Floats, Floats]:
    """Return the lowest and highest value of each column, in order of time; all points if there are few."""
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
    """Return indices of at most `most` points, in order of time: the highest of each column, every n-th of the rest."""
    present = np.flatnonzero(~(np.isnan(t) | np.isnan(value)))
    if present.size <= most:
        return present[np.argsort(t[present], kind="stable")]
    column = _column(t[present], COLUMNS)
    order = np.lexsort((value[present], column))
    last = np.concatenate((np.flatnonzero(np.diff(column[order])), [order.size - 1]))
    worst = present[order[last]]
    is_worst = np.zeros(present.size, dtype=np.bool_)
    is_worst[order[last]] = True
    rest = present[~is_worst]
    step = -(-rest.size // (most - worst.size))
    chosen = np.concatenate((worst, rest[::step]))
    return chosen[np.argsort(t[chosen], kind="stable")]


def _column(t: Floats, columns: int) -> NDArray[np.int64]:
    low, high = float(t.min()), float(t.max())
    return np.minimum((t - low) / max(high - low, 1e-9) * columns, columns - 1).astype(np.int64)

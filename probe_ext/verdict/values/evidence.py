"""What the verdict is made from: plain columns, nothing that knows of files or clocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.sketch import LatencySketch

Columns = Mapping[str, NDArray[Any]]
"""Arrays of equal length by column name. Numbers are float64 with NaN for missing; text is an object array of str
with "" for missing; flags are bool."""


@dataclass(frozen=True)
class Window:
    """One window of one metric, all workers together."""

    metric: str
    start: float
    """seconds of the run"""
    seconds: float
    count: int | None
    sketch: LatencySketch | None


@dataclass(frozen=True)
class LocustCounts:
    """What Locust itself counted, from `locust_stats.csv`."""

    requests: int
    failures: int


@dataclass(frozen=True)
class Evidence:
    """A run as its files tell it."""

    replies: Columns
    """columns of `measure.rows.ReplyRow`, doubles removed"""
    gaps: Columns
    """columns of `measure.rows.GapRow`, doubles removed"""
    users: Columns
    """columns of `measure.rows.UserRow`, in order of time"""
    server: Columns
    """columns of `measure.rows.ServerRow`, in order of time"""
    windows: Sequence[Window]
    manifest: Mapping[str, Any]
    locust: LocustCounts | None
    damage: Sequence[str]
    """what could not be read, a line each"""
    locust_history: Columns = field(default_factory=dict)
    """`t, requests_per_s, failures_per_s`: Locust's own rates over the run; empty where it wrote none"""


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    """The q-quantile (linear interpolation between order statistics) of the values present; None without any."""
    present = values[~np.isnan(values)]
    return float(np.quantile(present, q)) if present.size else None

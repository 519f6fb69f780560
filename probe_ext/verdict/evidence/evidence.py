"""The input of the verdict: plain columns that know nothing of files or clocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.sketch import MIN_COUNTS, LatencySketch

Columns = Mapping[str, Any]
"""Columns of equal length by name, read by `columns.py`. Numbers are arrays of any numeric type, with NaN for missing;
text is a `TextColumn`, an `IdColumn` or an object array of str, with "" for missing; flags are bool."""


@dataclass(frozen=True)
class Window:
    """One window of one metric, merged over all workers."""

    metric: str
    start: float
    """seconds of the run"""
    seconds: float
    count: int | None
    sketch: LatencySketch | None


@dataclass(frozen=True)
class LocustCounts:
    """Locust's own counts, from `locust_stats.csv`."""

    requests: int
    failures: int


@dataclass(frozen=True)
class Evidence:
    """Everything recorded about a run."""

    replies: Columns
    """columns of `ReplyRow`, duplicates removed"""
    gaps: Columns
    """columns of `GapRow`, duplicates removed"""
    users: Columns
    """columns of `UserRow`, in order of time"""
    server: Columns
    """columns of `ServerRow`, in order of time"""
    windows: Sequence[Window]
    manifest: Mapping[str, Any]
    locust: LocustCounts | None
    damage: Sequence[str]
    """one line for each thing that could not be read"""
    gpu: Columns = field(default_factory=dict)
    """columns of `GpuRow`, in order of time; empty where no GPU was read"""
    locust_history: Columns = field(default_factory=dict)
    """`t, requests_per_s, failures_per_s`: Locust's own rates over time; empty where it wrote none"""


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    """Return the q-quantile of the values that are not NaN (linear interpolation); None without any."""
    return quantiles(values, (q,))[0]


def percentile(values: NDArray[np.float64], name: str) -> float | None:
    """Return a percentile by its name, such as `p95`; None of fewer known values than it needs (MIN_COUNTS)."""
    return percentiles(values, (name,))[0]


def percentiles(values: NDArray[np.float64], names: Sequence[str]) -> list[float | None]:
    """Return several percentiles, for which the values are ordered only once."""
    number = int(np.count_nonzero(~np.isnan(values)))
    found = quantiles(values, [int(name[1:]) / 100 for name in names])
    return [value if number >= MIN_COUNTS[name] else None for name, value in zip(names, found, strict=True)]


def quantiles(values: NDArray[np.float64], shares: Sequence[float]) -> list[float | None]:
    """Return several quantiles, for which the values are ordered only once."""
    present = values[~np.isnan(values)]
    return list(np.quantile(present, shares, overwrite_input=True).tolist()) if present.size else [None] * len(shares)

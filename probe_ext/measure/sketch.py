"""A mergeable sketch of positive values with a stated relative error.

The bins are those of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019): bin i holds the values in (g^(i-1), g^i] with g = (1+a)/(1-a), and any
quantile is exact to within the relative error a. Count, sum, minimum and maximum are exact. Values at or below FLOOR
share one bin: differences below a microsecond are not measurable here.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import ceil, log
from typing import Any

ACCURACY = 0.005
"""maximum relative error of a quantile"""
MIN_COUNTS = {"p50": 2, "p05": 20, "p95": 20, "p99": 100}
"""values that a percentile needs: one beyond it, or it is just the largest or smallest"""
FLOOR = 1e-6
"""seconds; values at or below are in one bin, and their quantile is 0"""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_SCALE = 1 / math.log(_GAMMA)


BinCounts = Callable[[list[float], float, float], tuple[Mapping[int, int], int, float, float]]
"""how many values above a floor have each ceil(log(value) × scale), how many others there are, minimum and maximum"""


def _count_bins(values: list[float], scale: float, floor: float) -> tuple[Mapping[int, int], int, float, float]:
    binned = [ceil(log(value) * scale) for value in values if value > floor]
    return Counter(binned), len(values) - len(binned), min(values), max(values)


_bin_counts: BinCounts = _count_bins


def use_bin_counts(function: BinCounts | None) -> None:
    """Count bins by this function in this process; None: in Python. It must return the same."""
    global _bin_counts  # noqa: PLW0603 -- of the process, as numpy is
    _bin_counts = function or _count_bins


def _invalid(values: list[float]) -> ValueError:
    invalid = next(value for value in values if not 0 <= value < math.inf)
    return ValueError(f"a duration must be finite and non-negative, not {invalid!r}")


class LatencySketch:
    """Add values in seconds, merge in any order, query quantiles. About 12 bytes per bin, 230 bins per decade."""

    __slots__ = ("_bins", "_low", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._low = 0
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, values: Iterable[float]) -> None:
        """Add values in seconds. ValueError for negative, infinite or NaN values."""
        added = values if isinstance(values, list) else list(values)
        if not added:
            return
        total = sum(added)
        if not total < math.inf:  # a NaN makes the total NaN
            raise _invalid(added)
        bins, low, minimum, maximum = _bin_counts(added, _SCALE, FLOOR)
        if minimum < 0:
            raise _invalid(added)
        self._bins.update(bins)
        self._low += low
        self.count += len(added)
        self.total += total
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)

    def merge(self, other: "LatencySketch") -> None:
        """Add another sketch's values to this one; the other is not changed."""
        self._bins.update(other._bins)
        self._low += other._low
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, q: float) -> float | None:
        """Return the value of rank floor(q·(count−1)) to within ACCURACY; None if empty. ValueError outside 0…1."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile must be between 0 and 1, not {q!r}")
        if not self.count:
            return None
        rank = math.floor(q * (self.count - 1))
        if rank < self._low:
            return 0.0
        seen = self._low
        for key in sorted(self._bins):
            seen += self._bins[key]
            if seen > rank:
                return self._clamped(2 * _GAMMA**key / (_GAMMA + 1))
        return self.maximum

    def percentile(self, name: str) -> float | None:
        """Return a percentile by its name, such as `p95`; None of fewer values than it needs (MIN_COUNTS)."""
        return self.quantile(int(name[1:]) / 100) if self.count >= MIN_COUNTS[name] else None

    def bins(self) -> list[tuple[float, int]]:
        """Return value (seconds, to within ACCURACY) and count of each bin, by ascending value."""
        low = [(0.0, self._low)] if self._low else []
        return low + [(self._clamped(2 * _GAMMA**key / (_GAMMA + 1)), self._bins[key]) for key in sorted(self._bins)]

    def _clamped(self, value: float) -> float:
        return min(max(value, self.minimum), self.maximum)

    def to_wire(self) -> dict[str, Any]:
        """Return a lossless representation in plain types for JSON and msgpack."""
        return {
            "accuracy": ACCURACY,
            "low": self._low,
            "sum": self.total,
            "min": self.minimum if self.count else None,
            "max": self.maximum if self.count else None,
            "bins": {str(key): count for key, count in sorted(self._bins.items())},
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "LatencySketch":
        """Invert to_wire. ValueError if the sketch was made with another accuracy."""
        if wire["accuracy"] != ACCURACY:
            raise ValueError(f"accuracy: {wire['accuracy']!r} is not supported (this version uses {ACCURACY})")
        sketch = cls()
        sketch._bins = Counter({int(key): int(count) for key, count in wire["bins"].items()})
        sketch._low = int(wire["low"])
        sketch.count = sketch._low + sum(sketch._bins.values())
        if sketch.count:
            sketch.total, sketch.minimum, sketch.maximum = wire["sum"], wire["min"], wire["max"]
        return sketch

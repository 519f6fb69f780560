"""A mergeable sketch of positive values with a stated relative error.

The bins are those of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019): bin i holds the values in (g^(i-1), g^i] with g = (1+a)/(1-a), and any
quantile is right to within the relative accuracy a. Count, sum, minimum and maximum are exact. Values at or below
FLOOR share one bin: below a microsecond this ruler resolves nothing.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil, log
from typing import Any

ACCURACY = 0.005
"""relative error of a quantile: half a percent"""
FLOOR = 1e-6
"""seconds: at or below, values are one bin and their quantile is reported as 0"""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_SCALE = 1 / math.log(_GAMMA)


class LatencySketch:
    """Add seconds, merge in any order or grouping, ask for quantiles. A dozen bytes a bin; 460 bins a decade of two."""

    __slots__ = ("_bins", "_low", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()
        self._low = 0
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, values: Iterable[float]) -> None:
        """Count each value, in seconds. ValueError for what is no duration (negative, endless, not a number)."""
        added = list(values)
        if not added:
            return
        total, low, high = sum(added), min(added), max(added)
        if not (low >= 0 and total < math.inf):  # a value that is no number makes the total none
            wrong = next(value for value in added if not 0 <= value < math.inf)
            raise ValueError(f"a duration must be 0 s or more and have an end, got {wrong!r}")
        binned = added if low > FLOOR else [value for value in added if value > FLOOR]
        self._bins.update([ceil(log(value) * _SCALE) for value in binned])
        self._low += len(added) - len(binned)
        self.count += len(added)
        self.total += total
        self.minimum = min(self.minimum, low)
        self.maximum = max(self.maximum, high)

    def merge(self, other: "LatencySketch") -> None:
        """Add another sketch's values to this one; the other stays as it is."""
        self._bins.update(other._bins)
        self._low += other._low
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def quantile(self, q: float) -> float | None:
        """The value of rank floor(q·(count−1)), within ACCURACY; None when empty. ValueError outside 0…1."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies in 0…1, got {q!r}")
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

    def counts(self) -> list[tuple[float, int]]:
        """Every bin as its value (right to within ACCURACY, in seconds, rising) and how many lie in it."""
        low = [(0.0, self._low)] if self._low else []
        return low + [(self._clamped(2 * _GAMMA**key / (_GAMMA + 1)), self._bins[key]) for key in sorted(self._bins)]

    def _clamped(self, value: float) -> float:
        return min(max(value, self.minimum), self.maximum)

    def to_wire(self) -> dict[str, Any]:
        """Plain types that lose nothing: JSON and msgpack carry them."""
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
        """The inverse of to_wire. ValueError when the other side counted into other bins."""
        if wire["accuracy"] != ACCURACY:
            raise ValueError(f"accuracy: {wire['accuracy']!r}, this version's sketches have {ACCURACY}")
        sketch = cls()
        sketch._bins = Counter({int(key): int(count) for key, count in wire["bins"].items()})
        sketch._low = int(wire["low"])
        sketch.count = sketch._low + sum(sketch._bins.values())
        if sketch.count:
            sketch.total, sketch.minimum, sketch.maximum = wire["sum"], wire["min"], wire["max"]
        return sketch

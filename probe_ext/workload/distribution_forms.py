"""Distributions of lengths and times: constant, uniform, normal, lognormal, exponential, empirical.

Values are frozen and check their parameters: ValueError with `parameter: value: reason`. A draw uses one random number
and the quantile function, so that equal seeds give equal draws everywhere. `min` and `max` truncate: what lies outside
does not occur, and the rest keeps its shape.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from random import Random
from statistics import NormalDist, fmean
from typing import Any, ClassVar

MIN_VALUE, MAX_VALUE = 1e-9, 1e9  # of what is not 0: mean and variance stay finite at any of them
MAX_STORED_VALUES = 4096
"""of an empirical distribution; a longer list is replaced by as many of its quantiles"""

_STANDARD = NormalDist()
_P95 = _STANDARD.inv_cdf(0.95)
_MIN_MASS = 1e-6  # that min and max must leave of a distribution
_SMALLEST_SHARE = 1e-15  # of which a quantile is asked: 0 and 1 are infinitely far away
_COUNT_GRID = 2000
_VALUE_CELLS = 2000


class Distribution(ABC):
    """A distribution of non-negative numbers."""

    name: ClassVar[str]
    """key in a workload file"""

    @property
    @abstractmethod
    def average(self) -> float:
        """Expected value."""

    @abstractmethod
    def quantile(self, share: float) -> float:
        """Return the value that a share (0 to 1) of all draws do not exceed."""

    @abstractmethod
    def cdf(self, value: float) -> float:
        """Return the share of draws that are at most `value`."""

    def quantile_by_value(self, share: float) -> float:
        """Return a quantile of draws weighted by their value: of the pauses that a random moment falls into."""
        weights = self._sums_of_cells
        target = share * weights[-1]
        cell = min(bisect_right(weights, target), _VALUE_CELLS - 1)
        before = weights[cell - 1] if cell else 0.0
        inside = (target - before) / (weights[cell] - before) if weights[cell] > before else 0.5
        return self.quantile((cell + min(inside, 1.0)) / _VALUE_CELLS)

    @cached_property
    def _sums_of_cells(self) -> tuple[float, ...]:
        """Cumulative sum of the quantiles in the middle of equally likely cells."""
        return tuple(accumulate(self.quantile((i + 0.5) / _VALUE_CELLS) for i in range(_VALUE_CELLS)))

    def sample(self, rng: Random) -> float:
        """Draw a value."""
        return self.quantile(rng.random())

    def count(self, share: float) -> int:
        """Return the quantile as a whole number of at least 1."""
        return max(1, round(self.quantile(share)))

    @cached_property
    def average_count(self) -> float:
        """Expected value of the whole numbers."""
        return fmean(self.count((i + 0.5) / _COUNT_GRID) for i in range(_COUNT_GRID))

    @abstractmethod
    def parameters(self) -> Any:
        """Return the value of the key in a workload file, as plain types."""

    def as_yaml(self) -> Any:
        """Return the form of a workload file, as plain types."""
        return {self.name: self.parameters()}


@dataclass(frozen=True)
class Constant(Distribution):
    """Always the same value."""

    value: float
    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        """Check the value."""
        _check_number("value", self.value, least=0)

    @property
    def average(self) -> float:
        """The value."""
        return self.value

    def quantile(self, share: float) -> float:
        """Return the value."""
        return self.value

    def cdf(self, value: float) -> float:
        """Return 1 from the value on."""
        return 1.0 if value >= self.value else 0.0

    def parameters(self) -> Any:
        """Return the value."""
        return self.value

    def as_yaml(self) -> Any:
        """Return the bare number."""
        return self.value


@dataclass(frozen=True)
class Uniform(Distribution):
    """Each value from `low` to `high` equally often; as counts, each whole number, both ends included."""

    low: float
    high: float
    name: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        """Check both ends."""
        _check_number("low", self.low, least=0)
        _check_number("high", self.high, least=self.low)

    @property
    def average(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    def quantile(self, share: float) -> float:
        """Return the value at a share of the way."""
        return self.low + share * (self.high - self.low)

    def count(self, share: float) -> int:
        """Return a whole number; from 2 to 6, each of the five has the same probability."""
        low, high = math.ceil(self.low), math.floor(self.high)
        if high < low:
            return super().count(share)
        return max(1, min(high, low + int(share * (high - low + 1))))

    def cdf(self, value: float) -> float:
        """Return the share of the way."""
        if value >= self.high:
            return 1.0
        return 0.0 if value < self.low else (value - self.low) / (self.high - self.low)

    def parameters(self) -> Any:
        """Return both ends."""
        return [self.low, self.high]


class Truncated(Distribution):
    """A distribution without what lies below `min` or above `max`."""

    min: float | None
    max: float | None

    @abstractmethod
    def _cdf(self, value: float) -> float:
        """Return the share of the whole distribution up to a value."""

    @abstractmethod
    def _quantile(self, share: float) -> float:
        """Return a quantile of the whole distribution."""

    @property
    def _low(self) -> float:
        return self.min if self.min is not None else 0.0

    @property
    def _high(self) -> float:
        return self.max if self.max is not None else math.inf

    @cached_property
    def _mass(self) -> tuple[float, float]:
        return self._cdf(self._low), self._cdf(self._high)

    def _check_bounds(self) -> None:
        if self.min is not None:
            _check_number("min", self.min, least=0)
        if self.max is not None:
            _check_number("max", self.max, least=self._low)
        below, up_to = self._mass
        if up_to - below < _MIN_MASS:
            bounds = " and ".join(f"{name} {value:g}" for name, value in self._bounds().items())
            raise ValueError(f"{bounds or 'the bound 0'} leaves nothing of the distribution")

    def quantile(self, share: float) -> float:
        """Return the value that a share of all draws do not exceed."""
        below, up_to = self._mass
        inside = min(max(below + share * (up_to - below), _SMALLEST_SHARE), 1 - _SMALLEST_SHARE)
        return min(max(self._quantile(inside), self._low), self._high)

    def cdf(self, value: float) -> float:
        """Return the share of draws that are at most `value`."""
        below, up_to = self._mass
        return min(1.0, max(0.0, (self._cdf(value) - below) / (up_to - below)))

    def _bounds(self) -> dict[str, float]:
        return {name: value for name, value in (("min", self.min), ("max", self.max)) if value is not None}

    def parameters(self) -> Any:
        """Return the parameters by name."""
        return {name: value for name in self.parameter_names() if (value := getattr(self, name)) is not None}

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of all parameters."""
        return tuple(item.name for item in fields(cls))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Normal(Truncated):
    """A normal distribution of this mean and standard deviation, without negative values."""

    mean: float
    sd: float
    min: float | None = None
    max: float | None = None
    name: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        """Check all parameters."""
        _check_number("mean", self.mean, least=0)
        _check_number("sd", self.sd, above=0)
        self._check_bounds()

    @property
    def average(self) -> float:
        """Expected value of what the bounds leave."""
        low, high = (self._low - self.mean) / self.sd, (self._high - self.mean) / self.sd
        below, up_to = self._mass
        return self.mean + self.sd * (_STANDARD.pdf(low) - _STANDARD.pdf(high)) / (up_to - below)

    def _cdf(self, value: float) -> float:
        return _STANDARD.cdf((value - self.mean) / self.sd)

    def _quantile(self, share: float) -> float:
        return self.mean + self.sd * _STANDARD.inv_cdf(share)


@dataclass(frozen=True)
class Lognormal(Truncated):
    """A distribution whose logarithm is normal: many short, a few very long.

    Described by mean and standard deviation, or by median and 95th percentile, before truncation.
    """

    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    p95: float | None = None
    min: float | None = None
    max: float | None = None
    name: ClassVar[str] = "lognormal"

    def __post_init__(self) -> None:
        """Check all parameters."""
        given = tuple(name for name in ("mean", "sd", "median", "p95") if getattr(self, name) is not None)
        if given == ("mean", "sd"):
            _check_number("mean", self.mean, above=0)
            _check_number("sd", self.sd, above=0)
        elif given == ("median", "p95"):
            _check_number("median", self.median, above=0)
            _check_number("p95", self.p95, above=self.median)
        else:
            raise ValueError(f"{', '.join(given) or 'no parameters'}: must be mean and sd, or median and p95")
        self._check_bounds()

    @cached_property
    def _log(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        if self.median is not None and self.p95 is not None:
            return math.log(self.median), math.log(self.p95 / self.median) / _P95
        mean, sd = self.mean or 0.0, self.sd or 0.0
        variance = math.log1p((sd / mean) ** 2)
        return math.log(mean) - variance / 2, math.sqrt(variance)

    @property
    def average(self) -> float:
        """Expected value of what the bounds leave."""
        mu, sigma = self._log
        below, up_to = self._mass
        inside = _STANDARD.cdf(self._z(self._high) - sigma) - _STANDARD.cdf(self._z(self._low) - sigma)
        return math.exp(mu + sigma**2 / 2) * inside / (up_to - below)

    def _z(self, value: float) -> float:
        mu, sigma = self._log
        return (math.log(value) - mu) / sigma if value > 0 else -math.inf

    def _cdf(self, value: float) -> float:
        return _STANDARD.cdf(self._z(value))

    def _quantile(self, share: float) -> float:
        mu, sigma = self._log
        return math.exp(mu + sigma * _STANDARD.inv_cdf(share))


@dataclass(frozen=True)
class Exponential(Truncated):
    """An exponential distribution of this mean: times between events that know nothing of each other."""

    mean: float
    min: float | None = None
    max: float | None = None
    name: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        """Check all parameters."""
        _check_number("mean", self.mean, above=0)
        self._check_bounds()

    @property
    def average(self) -> float:
        """Expected value of what the bounds leave."""
        if self.max is None:
            return self._low + self.mean
        width = self._high - self._low
        return self._low + self.mean - width * math.exp(-width / self.mean) / -math.expm1(-width / self.mean)

    def _cdf(self, value: float) -> float:
        return -math.expm1(-value / self.mean)

    def _quantile(self, share: float) -> float:
        return -self.mean * math.log1p(-share)


@dataclass(frozen=True)
class Empirical(Distribution):
    """Recorded values, each equally likely; of a long list, evenly spaced quantiles."""

    values: tuple[float, ...]
    """sorted"""
    name: ClassVar[str] = "empirical"

    def __post_init__(self) -> None:
        """Check, sort and thin the values."""
        if not self.values:
            raise ValueError("values: are missing")
        for value in self.values:
            _check_number("values", value, least=0)
        ordered, n = sorted(self.values), len(self.values)
        if n > MAX_STORED_VALUES:
            ordered = [ordered[int((i + 0.5) * n / MAX_STORED_VALUES)] for i in range(MAX_STORED_VALUES)]
        object.__setattr__(self, "values", tuple(ordered))

    @property
    def average(self) -> float:
        """The values' mean."""
        return fmean(self.values)

    def quantile(self, share: float) -> float:
        """Return the value at a share of the sorted list."""
        return self.values[min(len(self.values) - 1, int(share * len(self.values)))]

    def cdf(self, value: float) -> float:
        """Return the share of values that are at most `value`."""
        return bisect_right(self.values, value) / len(self.values)

    def parameters(self) -> Any:
        """Return the values."""
        return {"values": list(self.values)}


def _check_number(name: str, value: Any, *, least: float | None = None, above: float | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: {value!r}: is not a number")  # noqa: TRY004 -- pydantic reports ValueErrors
    if not abs(value) <= MAX_VALUE:  # also if it is not a number; an integer may be too large for a float
        raise ValueError(f"{name}: {value}: must be a finite number of at most {MAX_VALUE:.0e}")
    if 0 < value < MIN_VALUE:
        raise ValueError(f"{name}: {value}: must be at least {MIN_VALUE:.0e}, or 0 where that is allowed")
    if least is not None and value < least:
        raise ValueError(f"{name}: {value:g}: must be at least {least:g}")
    if above is not None and value <= above:
        raise ValueError(f"{name}: {value:g}: must be greater than {above:g}")

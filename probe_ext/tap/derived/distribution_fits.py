"""The simplest distribution that fits recorded values, and its Kolmogorov–Smirnov distance from them.

A named form is taken if its distance is at most what chance explains, or MAX_DISTANCE of many values; otherwise the
recorded values themselves are the distribution. The distance is the largest difference between the two cumulative
shares, of values as a run draws them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import numpy as np

from probe_ext.workload.distribution_forms import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Normal,
    Uniform,
)

MAX_DISTANCE, MAX_DISTANCE_OF_FEW = 0.05, 0.1
_CHANCE = 1.22
"""by √n: the distance that is exceeded by chance in a tenth of samples"""
_MIN_VALUES = 30
"""for a named form; fewer values fit nearly anything"""
_GRID = 4000
_P95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Fit:
    """A distribution, and what it was made from."""

    distribution: Distribution
    distance: float
    values: Sequence[float]


def fit(values: Sequence[float], *, counts: bool) -> Fit:
    """Return the distribution of some values. `counts`: they are whole numbers of at least 1, else times."""
    ordered = sorted(values)
    if ordered[0] == ordered[-1]:
        return Fit(Constant(ordered[0]), 0.0, ordered)
    if len(ordered) >= _MIN_VALUES:
        limit = min(MAX_DISTANCE_OF_FEW, max(MAX_DISTANCE, _CHANCE / math.sqrt(len(ordered))))
        for form in _forms(ordered):
            distance = distance_between(ordered, drawn(form, counts=counts))
            if distance <= limit:
                return Fit(form, distance, ordered)
    recorded = Empirical(tuple(ordered))
    return Fit(recorded, distance_between(ordered, drawn(recorded, counts=counts)), ordered)


def _forms(ordered: Sequence[float]) -> Iterator[Distribution]:
    """Yield candidates, the one with the fewest parameters first; none goes beyond the largest value."""
    low, high, mean, sd = ordered[0], ordered[-1], fmean(ordered), pstdev(ordered)
    if mean > 0:
        yield Exponential(_rounded(mean))
    yield Uniform(low, high)
    if sd > 0:
        yield Normal(_rounded(mean), _rounded(sd), max=high)
    if low > 0:
        logs = [math.log(value) for value in ordered]
        median, spread = math.exp(fmean(logs)), pstdev(logs)
        p95 = median * math.exp(_P95 * spread)
        if p95 > median:
            yield Lognormal(median=_rounded(median), p95=_rounded(p95), max=high)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def drawn(distribution: Distribution, *, counts: bool) -> list[float]:
    """Return evenly spaced quantiles, as a run draws them."""
    shares = [(n + 0.5) / _GRID for n in range(_GRID)]
    return [float(distribution.count(share)) if counts else distribution.quantile(share) for share in shares]


def distance_between(one: Sequence[float], two: Sequence[float]) -> float:
    """Return the two-sample Kolmogorov–Smirnov distance, 0 to 1."""
    a, b = np.sort(np.asarray(one, dtype=float)), np.sort(np.asarray(two, dtype=float))
    at = np.concatenate([a, b])
    difference = np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)
    return float(np.max(np.abs(difference)))

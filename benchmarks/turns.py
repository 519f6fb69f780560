"""How certain a figure of several turns is, and whether it meets its target."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.verdict.inference.quantiles import student_quantile

FEWEST_TURNS = 4
"""for an interval; with fewer, one deviation decides how wide it is"""


@dataclass(frozen=True)
class Mean:
    """Geometric mean of ratios, with limits that contain the true one in 95 % of measurements."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Relative distance of the upper limit from the mean; infinite with too few turns."""
        return self.high / self.value - 1

    def verdict(self, at_most: float, at_least: float = 0.0) -> str:
        """Return `met`, `missed`, or `undecided` if a border of the target lies within the limits."""
        if at_least <= self.low and self.high <= at_most:
            return "met"
        return "missed" if self.low > at_most or self.high < at_least else "undecided"

    def __str__(self) -> str:
        places = 2 if self.value >= 0.1 else 3
        limits = f" ({self.low:.{places}f}–{self.high:.{places}f})" if math.isfinite(self.high) else ""
        return f"{self.value:.{places}f}{limits}"


def mean_of(ratios: Sequence[float]) -> Mean:
    """Mean of the turns' ratios: Student's interval around the mean of their logarithms."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.mean(logs)
    if len(logs) < FEWEST_TURNS:
        return Mean(math.exp(middle), 0.0, math.inf)
    half = student_quantile(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Mean(*(math.exp(at) for at in (middle, middle - half, middle + half)))


def mean_of_pairs(these: Sequence[float], those: Sequence[float]) -> Mean:
    """Mean of the ratios of what was measured in the same turn; a last turn that only one of them has doesn't count."""
    return mean_of([this / that for this, that in zip(these, those, strict=False)])

"""A figure with its limits at any error, and what lies between two of them.

Limits of a ratio or difference come from those of both figures, squared distances added (G. Y. Zou, A. Donner,
Statistics in Medicine 27 (2008) 1693–1702; for shares this is R. G. Newcombe's method 10, ibid. 17 (1998) 873–890):

    low = (b − a) − √((b − low(b))² + (high(a) − a)²)

and likewise upwards; of a ratio, with logarithms. A capacity may be known no better than as a gap between two levels,
so it is not a point but a span: `b − a` is then the smallest difference of any two points of both spans.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.inference.quantiles import normal_quantile

NOTHING_KNOWN = 1.0
"""a wider limit says no more than that nothing is proven yet, so time is not extrapolated from it"""
NO_ERROR = 0.499
"""one-sided error at which limits have shrunk to what no further reply of this kind would narrow"""
POWER = 0.80
"""chance that the announced time tells"""
RESOLUTION = 0.001
"""a smaller difference is none: clocks and rounding"""
MAX_MINUTES = 24 * 60.0
"""what takes longer is too close to tell"""

Span = tuple[float, float]
Scale = Literal["ratio", "difference"]


@dataclass(frozen=True)
class Measured:
    """A figure, and between which limits it lies, each with a given one-sided error."""

    point: float
    limits: Callable[[float], Span]
    seconds: float
    """measured time that it rests on"""
    floor: float = 1e-9
    """of a ratio: anything smaller counts as this"""
    noise_known: bool = True
    left_open: Span | None = None
    """what no further reply would narrow, such as the gap between two levels; None: what the limits shrink to"""

    def without_noise(self, scale: Scale) -> Span:
        """Return between which limits the figure would remain after endless replies of this kind."""
        if self.left_open is None:
            return self.span(scale, NO_ERROR)
        return self._scaled(self.left_open[0], scale), self._scaled(self.left_open[1], scale)

    def span(self, scale: Scale, error: float) -> Span:
        """Return the limits on the scale on which differences are taken; never narrower than without error."""
        inner, outer = self.limits(NO_ERROR), self.limits(min(error, NO_ERROR))
        low, high = min(inner[0], outer[0]), max(inner[1], outer[1])
        if self.left_open is not None:
            low, high = min(low, self.left_open[0]), max(high, self.left_open[1])
        return self._scaled(low, scale), self._scaled(high, scale)

    def _scaled(self, value: float, scale: Scale) -> float:
        if scale == "difference" or math.isinf(value):
            return value
        return math.log(max(value, self.floor))


@dataclass(frozen=True)
class Contrast:
    """What lies between two figures: differences, of a ratio in logarithms."""

    inner: Span
    low: float
    high: float

    @property
    def sign(self) -> int:
        """Return 1 or −1 where the difference is proven to be above or below 0; else 0."""
        return int(self.low > RESOLUTION) - int(self.high < -RESOLUTION)

    @property
    def bounded(self) -> bool:
        return not (math.isinf(self.low) or math.isinf(self.high))

    def time_factor(self, effect: float, error: float) -> float | None:
        """Return how many times the measured time tells this difference, with POWER; None where time won't tell."""
        lower, upper = self.inner[0] - self.low, self.high - self.inner[1]
        half = lower if effect > 0 else upper
        if not effect or not half > 0 or math.isinf(half):
            return None
        half = min(half, NOTHING_KNOWN)
        reserve = 1 + normal_quantile(POWER) / normal_quantile(1 - error)
        return (half * reserve / effect) ** 2


def contrast(base: Measured, other: Measured, scale: Scale, error: float) -> Contrast:
    """Return `other` less `base`, with limits that are each wrong with at most this chance."""
    a_in, b_in = base.without_noise(scale), other.without_noise(scale)
    a, b = base.span(scale, error), other.span(scale, error)
    low = _lowest(b_in[0], b[0], a_in[1], a[1])
    high = -_lowest(-b_in[1], -b[1], -a_in[0], -a[0])
    inner = _minus(b_in[0], a_in[1], -math.inf), _minus(b_in[1], a_in[0], math.inf)
    return Contrast(inner, low, high)


def _lowest(b: float, b_low: float, a: float, a_high: float) -> float:
    if math.isinf(b_low) or math.isinf(a_high):
        return -math.inf
    return b - a - math.hypot(b - b_low, a_high - a)


def _minus(b: float, a: float, otherwise: float) -> float:
    return otherwise if math.isinf(a) or math.isinf(b) else b - a


def from_interval(point: float, low: float | None, high: float | None, seconds: float, *, log: bool) -> Measured:
    """Build a figure of which only the 95 % interval is known: its distances grow as those of a normal variable."""
    usual = normal_quantile(0.975)

    def limits(error: float) -> Span:
        times = max(0.0, normal_quantile(1 - error)) / usual
        if log:
            down = -math.inf if not low else math.log(low / point)
            up = math.inf if high is None else math.log(high / point)
            lower = 0.0 if math.isinf(down) else point * math.exp(times * down)
            return lower, math.inf if math.isinf(up) else point * math.exp(times * up)
        return (
            -math.inf if low is None else point - times * (point - low),
            math.inf if high is None else point + times * (high - point),
        )

    return Measured(point, limits, seconds)

"""The spread between repeated runs of one set-up, as part of the noise.

Restarts, other prompts and another hour change a server in ways that no single run shows. Where a set-up was run more
than once, its runs' own figures tell how much: their variance, drawn towards what each run's own noise explains with
PRIOR_FREEDOM degrees of freedom, and never below that. It widens all limits of the figure, in every set-up.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from probe_ext.compare.measured import NO_ERROR, Measured, Scale, Span
from probe_ext.verdict.inference.quantiles import normal_quantile, student_quantile

PRIOR_FREEDOM = 4.0
ONE_SIGMA_ERROR = 0.158655
MAX_LOGARITHM = 700.0
"""of a float"""


def widened(
    pooled: Sequence[Measured], single: Sequence[Sequence[Measured]], scale: Scale
) -> tuple[tuple[Measured, ...], bool]:
    """Return the set-ups' figures with the spread between runs in their limits, and whether it could be told.

    `single`: by set-up, the figure of each of its runs.
    """
    groups = [[_point(one, scale) for one in runs] for runs in single]
    # A run without an upper limit has no figure of its own.
    groups = [group for group in groups if len(group) > 1 and all(map(math.isfinite, group))]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return tuple(pooled), False
    noises = [noise for runs in single for one in runs if math.isfinite(noise := _variance(one, scale))]
    if not noises:
        return tuple(pooled), False
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    noise = max(fmean(noises), 1e-12)
    spread = (PRIOR_FREEDOM * noise + squares) / (PRIOR_FREEDOM + freedom)
    times = math.sqrt(max(1.0, spread / noise))
    return tuple(_wider(one, scale, times, PRIOR_FREEDOM + freedom) for one in pooled), True


def _point(one: Measured, scale: Scale) -> float:
    low, high = one.without_noise(scale)
    return (low + high) / 2


def _variance(one: Measured, scale: Scale) -> float:
    """Return the variance by both limits, or by the one that there is; infinite without any."""
    inner, outer = one.without_noise(scale), one.span(scale, ONE_SIGMA_ERROR)
    halves = [abs(b - a) for a, b in zip(inner, outer, strict=True) if math.isfinite(a) and math.isfinite(b)]
    return fmean(halves) ** 2 if halves else math.inf


def _wider(one: Measured, scale: Scale, times: float, freedom: float) -> Measured:
    def limits(error: float) -> Span:
        if error >= NO_ERROR:
            return one.limits(error)
        more = times * student_quantile(1 - error, freedom) / normal_quantile(1 - error)
        inner, (low, high) = one.without_noise(scale), one.span(scale, error)
        low, high = inner[0] - more * (inner[0] - low), inner[1] + more * (high - inner[1])
        return (low, high) if scale == "difference" else (_exp(low), _exp(high))

    return replace(one, limits=limits)


def _exp(logarithm: float) -> float:
    return math.inf if logarithm > MAX_LOGARITHM else math.exp(logarithm)

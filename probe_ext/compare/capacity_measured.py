"""Capacity with its limits at any error, by the estimator that makes the report."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from probe_ext.compare.measured import Measured, Span, from_interval
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.inference.quantiles import normal_quantile
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria

MIN_USERS = 0.5
"""what a capacity of 0 counts as in a ratio"""


def capacity_by_replies(visits: Sequence[Visit], criteria: Criteria, critical: float | None) -> Measured | None:
    """Return the capacity of these visits, in whole users; None without a judged reply.

    `critical`: of a search, standard errors for a proof at `criteria.error`.
    """

    @cache
    def estimated(error: float) -> CapacityEstimate:
        more = None if critical is None else critical * normal_quantile(1 - error) / normal_quantile(1 - criteria.error)
        return estimate(visits, replace(criteria, error=error), critical=more)

    def limits(error: float) -> Span:
        low, high = estimated(error).interval or (0, None)
        return float(low), math.inf if high is None else float(high)

    usual = estimated(criteria.error)
    if usual.interval is None or usual.suggestion is None:
        return None
    point = usual.served_users  # as the report states it
    if point is None:
        point = math.floor(usual.suggestion.users if usual.estimate is None else usual.estimate)
    seconds = sum(visit.seconds for visit in visits)
    gap = None if usual.estimate is None else _gap(usual.estimate, sorted(level.users for level in usual.levels))
    return Measured(float(point), limits, seconds, MIN_USERS, left_open=gap)


def _gap(point: float, levels: Sequence[int]) -> Span:
    """Return the whole numbers of users between the levels around a capacity: no reply at these levels narrows them."""
    below = [users for users in levels if users <= point]
    above = [users for users in levels if users > point]
    return float(below[-1]) if below else 0.0, above[0] - 1.0 if above else math.inf


def capacity_by_interval(point: float, low: float, high: float | None) -> Measured:
    """Return a capacity of which only the 95 % interval is left: two such are told apart where they don't overlap."""
    upper = math.inf if high is None else high
    return replace(from_interval(point, low, high, 0.0, log=False), limits=lambda _: (low, upper), floor=MIN_USERS)

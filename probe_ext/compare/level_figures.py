"""Figures of one level with their limits: shares, quantiles and throughput, by blocks of time.

Shares are counted as the estimator does: divided by φ, the dispersion of blocks, pooled over levels. A quantile is a
share, too: limits of the share of replies below it become its own limits (R. S. Woodruff, JASA 47 (1952) 635–646).
Throughput is a mean over blocks; its dispersion per reply is pooled over levels in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from probe_ext.compare.measured import Measured, Span
from probe_ext.compare.replies import Sample, TokenCounts
from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.inference.dispersion import (
    MIN_BLOCKS,
    POOLED_FREEDOM,
    Pooled,
    lag_factor,
    level_factors,
    pool,
    visit_sums,
)
from probe_ext.verdict.inference.observations import Level, Visit, group_by_users
from probe_ext.verdict.inference.quantiles import score_limits, student_quantile

MIN_REPLIES = 10
MIN_TAIL_REPLIES = 2.0
"""replies beyond a quantile, or there is none to speak of"""
LAG = 0.3
"""correlation of neighbouring blocks of throughput, assumed: a level has too few to tell"""


def shares(visits: Sequence[Visit], limit: float) -> dict[int, Measured]:
    """Return the served share of each level."""
    levels = group_by_users(visits)
    sums = visit_sums(levels)
    pooled = pool(sums, limit)
    phi = level_factors(sums, pooled)
    return {level.users: _share(level, float(phi[i]), pooled) for i, level in enumerate(levels) if level.replies}


def _share(level: Level, phi: float, pooled: Pooled) -> Measured:
    return Measured(
        level.served / level.replies,
        lambda error: _share_limits(level.served / phi, level.replies / phi, error, pooled.nu),
        level.seconds,
    )


def _share_limits(good: float, of: float, error: float, nu: float) -> Span:
    low, high = score_limits(np.array([good]), np.array([of]), student_quantile(1 - error, nu))
    return float(low[0]), float(high[0])


def quantiles(samples: Sequence[Sample], q: float) -> dict[int, Measured]:
    """Return the q-quantile of each level with enough replies."""
    values: dict[int, list[Floats]] = {}
    for sample in samples:
        values.setdefault(sample.visit.users, []).append(sample.value)
    sorted_values = {users: np.sort(np.concatenate(parts)) for users, parts in values.items()}
    tail = MIN_TAIL_REPLIES / min(q, 1 - q)
    known = {users: at for users, at in sorted_values.items() if len(at) >= max(MIN_REPLIES, tail)}
    points = {users: float(np.quantile(at, q)) for users, at in known.items()}
    below = [
        replace(one.visit, served=one.value <= points[one.visit.users]) for one in samples if one.visit.users in points
    ]
    levels = group_by_users(below)
    sums = visit_sums(levels)
    pooled = pool(sums, q)
    phi = level_factors(sums, pooled)
    return {
        level.users: _quantile(known[level.users], q, float(phi[i]), pooled, level.seconds)
        for i, level in enumerate(levels)
    }


def _quantile(values: Floats, q: float, phi: float, pooled: Pooled, seconds: float) -> Measured:
    worth = len(values) / phi

    def limits(error: float) -> Span:
        low, high = _share_limits(q * worth, worth, error, pooled.nu)
        # Beyond the last reply nothing was seen.
        lower = float(np.quantile(values, low)) if low * len(values) >= 1 else 0.0
        upper = float(np.quantile(values, high)) if (1 - high) * len(values) >= 1 else np.inf
        return lower, upper

    return Measured(float(np.quantile(values, q)), limits, seconds)


def throughput(counts: Sequence[TokenCounts]) -> dict[int, Measured]:
    """Return the tokens per second of each level."""
    by_users: dict[int, list[TokenCounts]] = {}
    for one in counts:
        by_users.setdefault(one.users, []).append(one)
    usable = {users: [_dispersion(one) for one in visits] for users, visits in by_users.items()}
    weight = sum(freedom for found in usable.values() for _, freedom in found)
    total = sum(phi * freedom for found in usable.values() for phi, freedom in found)
    if weight <= 0:
        return {users: _rate(visits, None, 1.0) for users, visits in by_users.items()}
    pooled, measured = total / weight, {}
    for users, visits in by_users.items():
        own = sum(phi * freedom for phi, freedom in usable[users]) + POOLED_FREEDOM * pooled
        phi = max(pooled, own / (sum(freedom for _, freedom in usable[users]) + POOLED_FREEDOM))
        measured[users] = _rate(visits, phi, weight)
    return measured


def _dispersion(counts: TokenCounts) -> tuple[float, float]:
    """Return the relative variance of one reply's worth of throughput, and its degrees of freedom."""
    mean, blocks = float(counts.rates.mean()), len(counts.rates)
    if blocks < MIN_BLOCKS or mean <= 0:
        return 0.0, 0.0
    relative = float(((counts.rates / mean - 1) ** 2).sum()) / (blocks - 1)
    return relative * counts.replies / blocks, blocks - 1.0


def _rate(visits: Sequence[TokenCounts], phi: float | None, freedom: float) -> Measured:
    seconds = sum(one.seconds for one in visits)
    rate = sum(float(one.rates.mean()) * one.seconds for one in visits) / seconds
    if phi is None:
        return Measured(rate, lambda _: (0.0, np.inf), seconds, noise_known=False)
    blocks = sum(len(one.rates) for one in visits)
    error_of_log = float(np.sqrt(phi * lag_factor(LAG, blocks) / sum(one.replies for one in visits)))

    def limits(error: float) -> Span:
        away = student_quantile(1 - error, max(2.0, freedom)) * error_of_log
        return rate * float(np.exp(-away)), rate * float(np.exp(away))

    return Measured(rate, limits, seconds)


def per_amount(rates: Mapping[int, Measured], amount: Mapping[int, float]) -> dict[int, Measured]:
    """Return `amount` of each level divided by its rate: cost or energy per token, as uncertain as the rate alone."""
    return {users: divided(amount[users], one) for users, one in rates.items() if users in amount and one.point > 0}


def divided(amount: float, rate: Measured) -> Measured:
    """Return a known amount divided by a figure."""

    def by(span: Span) -> Span:
        low, high = span
        return amount / high if high > 0 else 0.0, amount / low if low > 0 else np.inf

    return Measured(
        amount / max(rate.point, rate.floor),
        lambda error: by(rate.limits(error)),
        rate.seconds,
        noise_known=rate.noise_known,
        left_open=None if rate.left_open is None else by(rate.left_open),
    )

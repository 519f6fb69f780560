"""How far the replies of one moment share one fate, and for how long: what an independent reply is worth.

A served share of n replies has the variance φ p (1 − p) ÷ n. Within a block of m replies fates correlate by ρ, so a
block's count varies 1 + (m − 1) ρ times as much as chance would have it (D. A. Williams, Applied Statistics 31 (1982)
144–148). Neighbouring blocks correlate by r, as in a first-order autoregression, so B of them count as fewer (M. S.
Bartlett, Journal of the Royal Statistical Society 98 (1935) 536–543):

    φ = (1 + (m − 1) ρ) · v,    v = (1 + r) ÷ (1 − r) − 2 r (1 − r^B) ÷ (B (1 − r)²)

One level has too few blocks to tell, so ρ and r are pooled over visits. Replies cling together most where a server is
overloaded and that says little about the limit: a visit's weight falls with the distance of its share from the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.inference.observations import Level

MIN_BLOCKS, LONG_SERIES = 3, 60
MIN_HITS = 2
"""served replies, and unserved ones, of a visit that tells of dispersion"""
LAG_PRIOR, LAG_PRIOR_BLOCKS, MAX_LAG = 0.3, 5.0, 0.7
ICC_PRIOR, BROKEN_ICC_PRIOR, ICC_PRIOR_BLOCKS = 0.12, 0.02, 2.0
PRIOR_FREEDOM = 8.0
KERNEL_WIDTH, MIN_WEIGHT = 1.2, 0.02
"""log odds: a visit's share that far from the limit has 61 % of the weight"""


@dataclass(frozen=True)
class Pooled:
    """ρ and r, with the degrees of freedom behind them."""

    icc: float
    lag: float
    nu: float
    source: Literal["blocks", "ramp", "prior"]

    def factor(self, block_size: float, blocks: float) -> float:
        """φ of a visit with so many blocks of this size. On a ramp, the neighbours of a block are in other visits."""
        series = LONG_SERIES if self.source == "ramp" else blocks
        return max(1.0, (1 + max(0.0, block_size - 1) * self.icc) * lag_factor(self.lag, series))


def lag_factor(lag: float, blocks: float) -> float:
    """v: how much the mean of correlated blocks varies more than that of independent ones."""
    if blocks <= 1:
        return 1.0
    shortening = 2 * lag * (1 - float(lag**blocks)) / (blocks * (1 - lag) ** 2)
    return max(1.0, (1 + lag) / (1 - lag) - shortening)


@dataclass(frozen=True)
class _Residuals:
    """A visit's blocks, standardised by their own share."""

    z: Floats
    block_size: float
    weight: float

    @property
    def blocks(self) -> int:
        return len(self.z)


def pool(levels: Sequence[Level], limit: float) -> Pooled:
    """Learn ρ and r of served replies; with visits too short to have blocks, from neighbours on a ramp."""
    found = [_residuals(blocks.served, blocks.replies, limit) for level in levels for blocks in level.blocks]
    residuals = [one for one in found if one is not None]
    short = all(len(blocks.replies) < MIN_BLOCKS for level in levels for blocks in level.blocks)
    if not residuals and short and len(levels) > MIN_BLOCKS:
        return _pool_ramp(levels)
    return _pool(residuals, ICC_PRIOR)


def pool_broken(levels: Sequence[Level], limit: float) -> Pooled:
    """Learn the same of broken replies."""
    found = [_residuals(blocks.broken, blocks.replies, limit) for level in levels for blocks in level.blocks]
    return _pool([one for one in found if one is not None], BROKEN_ICC_PRIOR)


def _residuals(hits: Floats, replies: Floats, limit: float) -> _Residuals | None:
    total, of = float(hits.sum()), float(replies.sum())
    if len(hits) < MIN_BLOCKS or min(total, of - total) < MIN_HITS:
        return None
    share = total / of
    distance = np.log(share / (1 - share)) - np.log(limit / (1 - limit))
    weight = float(np.exp(-((distance / KERNEL_WIDTH) ** 2) / 2))
    z = (hits - replies * share) / np.sqrt(replies * share * (1 - share))
    return _Residuals(z, float((replies**2).sum() / of), max(weight, MIN_WEIGHT))


def _pool(residuals: Sequence[_Residuals], icc_prior: float) -> Pooled:
    if not residuals:
        return Pooled(icc_prior, LAG_PRIOR, PRIOR_FREEDOM, "prior")
    lag = _pooled_lag(residuals)
    weights = np.array([one.weight for one in residuals])
    sizes = np.array([one.block_size for one in residuals])
    freedom = np.array([max(0.5, one.blocks - lag_factor(lag, one.blocks)) for one in residuals])
    squares = np.array([float((one.z**2).sum()) for one in residuals])
    prior = ICC_PRIOR_BLOCKS * max(0.5, float(np.average(sizes, weights=weights)) - 1)
    excess = float((weights * (squares - freedom)).sum()) + prior * icc_prior
    possible = float((weights * freedom * (sizes - 1)).sum()) + prior
    nu = PRIOR_FREEDOM + float((weights * freedom).sum()) * (1 - lag**2) / (1 + lag**2)
    return Pooled(float(np.clip(excess / possible, 0.0, 1.0)), lag, nu, "blocks")


def _pooled_lag(residuals: Sequence[_Residuals]) -> float:
    """First autocorrelation of blocks.

    In a series of B around its own mean it comes out too low by (1 + 3 r) ÷ B (M. G. Kendall, Biometrika 41 (1954)
    403–404); this is that equation, summed over visits and solved for r.
    """
    above, below = LAG_PRIOR * LAG_PRIOR_BLOCKS, LAG_PRIOR_BLOCKS
    for one in residuals:
        squares = float((one.z**2).sum())
        raw = float((one.z[:-1] * one.z[1:]).sum()) / squares if squares > 0 else 0.0
        above += one.weight * (one.blocks * raw + 1)
        below += one.weight * (one.blocks - 3)
    return float(np.clip(above / below, 0.0, MAX_LAG))


def _pool_ramp(levels: Sequence[Level]) -> Pooled:
    """Learn from differences of neighbouring levels (J. von Neumann, Annals of Mathematical Statistics 12 (1941) 367).

    Each level is one block; what they differ by in truth is small beside what one moment's fate makes them differ.
    """
    served = np.array([float(level.served) for level in levels])
    replies = np.array([float(level.replies) for level in levels])
    share = (served[1:] + served[:-1]) / (replies[1:] + replies[:-1])
    spread = share * (1 - share) * (1 / replies[1:] + 1 / replies[:-1])
    known = spread > 0
    squares = (np.diff(served / replies)[known]) ** 2 / spread[known]
    size = float(np.mean(replies))
    prior = ICC_PRIOR_BLOCKS * max(0.5, size - 1)
    # Differences of neighbours that correlate by r are short of a share r of their variance.
    excess = float((squares / (1 - LAG_PRIOR) - 1).sum()) + prior * ICC_PRIOR
    icc = float(np.clip(excess / (known.sum() * max(0.5, size - 1) + prior), 0.0, 1.0))
    return Pooled(icc, LAG_PRIOR, PRIOR_FREEDOM + 0.67 * float(known.sum()), "ramp")

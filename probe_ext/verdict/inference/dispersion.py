"""How far the replies of one moment share one fate, and for how long: what an independent reply is worth.

A served share of n replies has the variance φ p (1 − p) ÷ n. Within a block of m replies fates correlate by ρ, so a
block's count varies 1 + (m − 1) ρ times as much as chance would have it (D. A. Williams, Applied Statistics 31 (1982)
144–148). Neighbouring blocks correlate by r, as in a first-order autoregression, so B of them count as fewer (M. S.
Bartlett, Journal of the Royal Statistical Society 98 (1935) 536–543):

    φ = (1 + (m − 1) ρ) · v,    v = (1 + r) ÷ (1 − r) − 2 r (1 − r^B) ÷ (B (1 − r)²)

One level has too few blocks to tell, so ρ and r are pooled over visits. Replies cling together most where a server is
overloaded and that says little about the limit: a visit's weight falls with the distance of its share from the limit.
A level's own φ counts where it is larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe_ext.verdict.evidence.columns import Floats, Ints
from probe_ext.verdict.inference.observations import MAX_BLOCKS, Level

MIN_BLOCKS = 3
MIN_HITS = 2
"""served replies, and unserved ones, of a visit that tells of dispersion"""
LAG_PRIOR, LAG_PRIOR_BLOCKS, MAX_LAG = 0.3, 5.0, 0.7
ICC_PRIOR, BROKEN_ICC_PRIOR, ICC_PRIOR_BLOCKS = 0.12, 0.02, 2.0
PRIOR_FREEDOM = 8.0
POOLED_FREEDOM = 8.0
"""degrees of freedom that the pooled φ counts for beside the level's own"""
KERNEL_WIDTH, MIN_WEIGHT = 1.2, 0.02
"""log odds: a visit's share that far from the limit has 61 % of the weight"""


@dataclass(frozen=True)
class VisitSums:
    """Sums over the blocks of each visit, by level and time; one entry a visit. Hits are served replies, or broken."""

    levels: int
    """how many there are, with and without visits"""
    level: Ints
    """place of its level"""
    blocks: Floats
    replies: Floats
    hits: Floats
    size: Floats
    """replies of a block, as a reply sees it: Σ m² ÷ Σ m"""
    squares: Floats
    """Σ d² ÷ m, d being a block's hits above those expected of its m replies"""
    products: Floats
    """Σ d d' ÷ √(m m') of neighbouring blocks"""

    @property
    def share(self) -> Floats:
        return self.hits / self.replies

    def by_level(self, values: Floats) -> Floats:
        """Add up over the visits of each level."""
        return np.asarray(np.bincount(self.level, values, self.levels), dtype=np.float64)


def visit_sums(levels: Sequence[Level], *, broken: bool = False) -> VisitSums:
    """Add up the blocks of every visit."""
    found = [(i, blocks) for i, level in enumerate(levels) for blocks in level.blocks]
    columns = np.array([_sums(blocks.broken if broken else blocks.served, blocks.replies) for _, blocks in found])
    place = np.array([i for i, _ in found], dtype=np.int64)
    return VisitSums(len(levels), place, *columns.reshape(len(found), 6).T)


def _sums(hits: Floats, replies: Floats) -> tuple[float, ...]:
    of = float(replies.sum())
    z = (hits - replies * (hits.sum() / of)) / np.sqrt(replies)
    return len(hits), of, float(hits.sum()), float(replies @ replies) / of, float(z @ z), float(z[:-1] @ z[1:])


@dataclass(frozen=True)
class Pooled:
    """ρ and r, with the degrees of freedom behind them."""

    icc: float
    lag: float
    nu: float
    source: Literal["blocks", "ramp", "prior"]

    def factor(self, block_size: Floats | float, blocks: Floats | float) -> Floats:
        """φ of visits with so many blocks of this size. On a ramp, the neighbours of a block are in other visits."""
        series = MAX_BLOCKS if self.source == "ramp" else blocks
        return np.maximum(1.0, (1 + np.maximum(0.0, block_size - 1) * self.icc) * lag_factor(self.lag, series))


PRIOR = Pooled(ICC_PRIOR, LAG_PRIOR, PRIOR_FREEDOM, "prior")
"""what is assumed of served replies beforehand"""


def lag_factor(lag: float, blocks: Floats | float) -> Floats:
    """v: how much the mean of correlated blocks varies more than that of independent ones."""
    shortening = 2 * lag * (1 - lag ** np.asarray(blocks, dtype=np.float64)) / (blocks * (1 - lag) ** 2)
    return np.maximum(1.0, (1 + lag) / (1 - lag) - shortening)


def pool(sums: VisitSums, limit: float, icc_prior: float = ICC_PRIOR) -> Pooled:
    """Learn ρ and r from visits near `limit`; with visits too short to have blocks, from neighbours on a ramp.

    The first autocorrelation of B blocks around their own mean comes out too low by (1 + 3 r) ÷ B (M. G. Kendall,
    Biometrika 41 (1954) 403–404); r solves that equation, summed over visits.
    """
    told = (sums.blocks >= MIN_BLOCKS) & (np.minimum(sums.hits, sums.replies - sums.hits) >= MIN_HITS)
    if not told.any():
        ramp = icc_prior == ICC_PRIOR and len(np.unique(sums.level)) > MIN_BLOCKS > sums.blocks.max()
        return _pool_ramp(sums) if ramp else Pooled(icc_prior, LAG_PRIOR, PRIOR_FREEDOM, "prior")
    share, blocks, size = sums.share[told], sums.blocks[told], sums.size[told]
    squares, products = sums.squares[told] / (share * (1 - share)), sums.products[told] / (share * (1 - share))
    distance = np.log(share / (1 - share)) - np.log(limit / (1 - limit))
    weight = np.maximum(MIN_WEIGHT, np.exp(-((distance / KERNEL_WIDTH) ** 2) / 2))

    raw = products / np.maximum(squares, 1e-12)
    of_pairs = LAG_PRIOR * LAG_PRIOR_BLOCKS + weight @ (blocks * raw + 1)
    lag = float(np.clip(of_pairs / (LAG_PRIOR_BLOCKS + weight @ (blocks - 3)), 0.0, MAX_LAG))

    freedom = np.maximum(0.5, blocks - lag_factor(lag, blocks))
    prior = ICC_PRIOR_BLOCKS * max(0.5, np.average(size, weights=weight) - 1)
    icc = (weight @ (squares - freedom) + prior * icc_prior) / (weight @ (freedom * (size - 1)) + prior)
    nu = PRIOR_FREEDOM + float(weight @ freedom) * (1 - lag**2) / (1 + lag**2)
    return Pooled(float(np.clip(icc, 0.0, 1.0)), lag, nu, "blocks")


def _pool_ramp(sums: VisitSums) -> Pooled:
    """Learn from differences of neighbouring levels (J. von Neumann, Annals of Mathematical Statistics 12 (1941) 367).

    Each level is one block; what they differ by in truth is small beside what one moment's fate makes them differ.
    """
    replies = sums.by_level(sums.replies)
    served, replies = sums.by_level(sums.hits)[replies > 0], replies[replies > 0]
    share = (served[1:] + served[:-1]) / (replies[1:] + replies[:-1])
    spread = share * (1 - share) * (1 / replies[1:] + 1 / replies[:-1])
    known = spread > 0
    squares = (np.diff(served / replies)[known]) ** 2 / spread[known]
    size = max(0.5, float(np.mean(replies)) - 1)
    prior = ICC_PRIOR_BLOCKS * size
    # Differences of neighbours that correlate by r are short of a share r of their variance.
    excess = float((squares / (1 - LAG_PRIOR) - 1).sum()) + prior * ICC_PRIOR
    icc = float(np.clip(excess / (known.sum() * size + prior), 0.0, 1.0))
    return Pooled(icc, LAG_PRIOR, PRIOR_FREEDOM + 0.67 * float(known.sum()), "ramp")


def level_factors(sums: VisitSums, pooled: Pooled) -> Floats:
    """φ by level, 1 without replies: the pooled φ, or the level's own drawn towards that, if larger.

    Where several visits of a level differ by more than that explains, their ratio of variances is a factor more.
    """
    chance, v = sums.share * (1 - sums.share), lag_factor(pooled.lag, sums.blocks)
    told = (sums.blocks >= MIN_BLOCKS) & (chance > 0)
    replies = np.maximum(sums.by_level(sums.replies), 1e-12)
    expected = sums.by_level(sums.replies * pooled.factor(sums.size, sums.blocks)) / replies
    own = sums.by_level(np.where(told, v * sums.squares / np.where(told, chance, 1.0), 0.0))
    freedom = sums.by_level(np.where(told, np.maximum(0.5, sums.blocks - v), 0.0))
    phi = np.maximum(np.maximum(1.0, expected), (own + POOLED_FREEDOM * expected) / (freedom + POOLED_FREEDOM))

    share = sums.by_level(sums.hits) / replies
    above = np.maximum(1, np.bincount(sums.level, minlength=sums.levels) - 1)
    between = sums.by_level((sums.hits - sums.replies * share[sums.level]) ** 2 / sums.replies) / above
    ratio = between / np.maximum(share * (1 - share) * phi, 1e-12)
    return phi * np.where(ratio > 1 + 2 * np.sqrt(2 / above), ratio, 1.0)

"""Which levels are proven to hold or to fail, each with the help of its neighbours.

For users who are alike, more of them never help. So if the levels i…j together serve more than the limit, level i does
too; if levels j…i together serve less, so does i. Each level is given the strongest of these proofs (compare R. E.
Barlow and others, Statistical Inference under Order Restrictions, 1972).

With several levels, one of them seems to fail by chance more often than each alone. That a level serves the limit
implies it of all lower ones, so these hypotheses are nested, and a closed test keeps their joint error at that of
one: a level fails only where it and each measured level above it are shown to fail, by pools that end there (R.
Marcus, E. Peritz, K. R. Gabriel, Biometrika 63 (1976) 655–660). Above a level that truly fails, others do so more
clearly: it costs little.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference.quantiles import signed_root

POOL_ALLOWANCE = 1.1
"""the strongest of the pools that end at a level is stronger by chance: found at a share of exactly the limit"""


@dataclass(frozen=True)
class EffectiveCounts:
    """Replies by rising level, divided by φ: what they are worth as independent ones."""

    good: Floats
    of: Floats
    phi: Floats

    @property
    def share(self) -> Floats:
        return np.asarray(np.where(self.of > 0, self.good / np.maximum(self.of, 1e-12), np.nan))

    def without(self, left_out: Bools) -> "EffectiveCounts":
        """Return the counts with these levels emptied."""
        return EffectiveCounts(np.where(left_out, 0.0, self.good), np.where(left_out, 0.0, self.of), self.phi)


def effective_counts(good: Floats, of: Floats, phi: Floats) -> EffectiveCounts:
    return EffectiveCounts(good / phi, of / phi, phi)


def _roots_of_pools(counts: EffectiveCounts, limit: float) -> Floats:
    """Signed roots of levels i to j together, at [i, j]; 0 where j < i."""
    replies = counts.of * counts.phi

    def of_pools(values: Floats) -> Floats:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(total[None, 1:] - total[:-1, None])

    good, of = of_pools(counts.good), of_pools(counts.of)
    margin = 0.5 * of / np.maximum(of_pools(replies), 1e-12)
    upper = np.triu(np.ones_like(of, dtype=np.bool_)) & (of > 1e-9)
    roots = signed_root(np.where(upper, good, 0.0), np.where(upper, of, 0.0), limit, np.where(upper, margin, 0.0))
    return np.asarray(np.where(upper, roots, 0.0))


def evidence_of_holding(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which each level is proven to lie above `limit`."""
    best = np.max(_roots_of_pools(counts, limit), axis=1, initial=0.0)
    return np.asarray(np.maximum.accumulate(best[::-1])[::-1])


def evidence_of_failing(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which each level, with all those above it, is proven to lie below `limit`."""
    roots = -_roots_of_pools(counts, limit)
    last = np.arange(len(counts.of))
    length = np.maximum(1, last[None, :] - last[:, None] + 1)
    # Pools of 1, 2, 4, 8… levels: the fewer are tried, the less often one of them proves something by chance.
    weight = np.where(length & (length - 1) == 0, np.where(length == 1, 1.0, 1 / POOL_ALLOWANCE), 0.0)
    best = np.max(roots * weight, axis=0, initial=0.0)
    return np.asarray(np.minimum.accumulate(best[::-1])[::-1])


def falls_short_alone(counts: EffectiveCounts, limit: float, critical: float) -> Bools:
    """Return levels whose own replies would prove that they fail, whatever the levels above them show."""
    return np.asarray(-np.diag(_roots_of_pools(counts, limit)) > critical)


def find_contradictions(counts: EffectiveCounts, limit: float, critical: float) -> Bools:
    """Return levels below the limit that did worse than those above them by more than chance, the worst first."""
    left_out = np.zeros(len(counts.of), dtype=np.bool_)
    while True:
        surplus = _surplus_above(counts.without(left_out), limit)
        if not len(surplus) or surplus.max() <= critical:
            return left_out
        left_out[int(np.argmax(surplus))] = True


def _surplus_above(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which the levels right above do better than each level."""
    surplus = np.zeros(len(counts.of))
    for i, (good, of) in enumerate(zip(counts.good, counts.of, strict=True)):
        if of <= 0 or good >= limit * of:
            continue
        above_good, above_of = np.cumsum(counts.good[i + 1 :]), np.cumsum(counts.of[i + 1 :])
        both = (good + above_good) / (of + above_of)
        error = np.sqrt(np.maximum(both * (1 - both), 1e-9) * (1 / of + 1 / np.maximum(above_of, 1e-9)))
        better = np.where(above_of > 0, (above_good / np.maximum(above_of, 1e-9) - good / of) / error, 0.0)
        surplus[i] = np.max(better, initial=0.0)
    return surplus


def monotone_fit(counts: EffectiveCounts) -> Floats:
    """Served shares that never rise with users, nearest to the counts (pool adjacent violators).

    A level without counts takes the share of the level below it, or else above it.
    """
    groups: list[list[float]] = []
    known = counts.of > 0
    for good, of in zip(counts.good[known], counts.of[known], strict=True):
        groups.append([good, of, 1])
        while len(groups) > 1 and _share(groups[-2]) < _share(groups[-1]):
            last = groups.pop()
            groups[-1] = [a + b for a, b in zip(groups[-1], last, strict=True)]
    shares = np.array([_share(group) for group in groups for _ in range(int(group[2]))])
    if not len(shares):
        return np.zeros(len(counts.of))
    return np.asarray(shares[np.maximum(np.cumsum(known) - 1, 0)])


def _share(group: list[float]) -> float:
    return group[0] / group[1] if group[1] > 0 else 0.0


def gaps_of_crossing(counts: EffectiveCounts, limit: float, allowed: float) -> tuple[int, int]:
    """Return the lowest and highest number of levels that may be served by falling shares alone.

    The log likelihood of falling shares of which the first k are at least `limit` and the others at most that may lie
    below the best by `allowed` ÷ 2.
    """
    fit = monotone_fit(counts)
    above, below = (counts.of * _cross_entropy(counts.share, side(fit, limit)) for side in (np.maximum, np.minimum))
    lost = [float(np.append(above[:k], below[k:]).sum()) for k in range(len(fit) + 1)]
    known = np.flatnonzero(2 * (np.array(lost) - min(lost)) <= allowed)
    return int(known[0]), int(known[-1])


def _cross_entropy(share: Floats, fit: Floats) -> Floats:
    p, q = np.nan_to_num(share), np.clip(fit, 1e-9, 1 - 1e-9)
    return np.asarray(-(p * np.log(q) + (1 - p) * np.log(1 - q)))

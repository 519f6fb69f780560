"""Which levels are proven to hold or to fail, each with the help of its neighbours.

For users who are alike, more of them never help. So if the levels i…j together serve more than the limit, level i does
too; if levels j…i together serve less, so does i. Each level is given the strongest of these proofs (compare R. E.
Barlow and others, Statistical Inference under Order Restrictions, 1972).
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.observations import Blocks
from probe_ext.verdict.inference.quantiles import signed_root
from probe_ext.verdict.values.columns import Bools, Floats

STRETCH_SURPRISE = 14.0
"""twice the log likelihood ratio by which one stretch must stand out from the rest of a visit"""


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
    """Standard errors by which each level is proven to lie below `limit`."""
    best = np.max(-_roots_of_pools(counts, limit), axis=0, initial=0.0)
    return np.asarray(np.maximum.accumulate(best))


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


def one_stretch_explains(blocks: Blocks, limit: float, phi: float) -> bool:
    """Return whether one stretch of a visit alone makes it fall short, and service was fine again after it.

    A level that is too much stays bad, or gets worse as its queue grows; somebody else's load comes and goes.
    """
    served = np.concatenate([[0.0], np.cumsum(blocks.served)])
    replies = np.concatenate([[0.0], np.cumsum(blocks.replies)])
    number = len(blocks.replies)
    start, end = np.triu_indices(number + 1, 1)
    inside = end < number  # service after the stretch must have been seen
    start, end = start[inside], end[inside]
    if not len(start):
        return False
    bad_of, bad_served = replies[end] - replies[start], served[end] - served[start]
    rest_of, rest_served = replies[-1] - bad_of, served[-1] - bad_served
    surprise = 2 * (
        _log_likelihood(bad_served, bad_of)
        + _log_likelihood(rest_served, rest_of)
        - _log_likelihood(served[-1:], replies[-1:])
    )
    explains = (rest_served >= limit * rest_of) & (bad_served < limit * bad_of) & (surprise / phi > STRETCH_SURPRISE)
    return bool(explains.any())


def _log_likelihood(served: Floats, of: Floats) -> Floats:
    share = np.clip(served / np.maximum(of, 1e-12), 1e-12, 1 - 1e-12)
    return np.asarray(served * np.log(share) + (of - served) * np.log(1 - share))


def monotone_fit(counts: EffectiveCounts) -> Floats:
    """Served shares that never rise with users, nearest to the counts (pool adjacent violators)."""
    groups: list[list[float]] = []
    for good, of in zip(counts.good, counts.of, strict=True):
        groups.append([good, of, 1])
        while len(groups) > 1 and _share(groups[-2]) < _share(groups[-1]):
            last = groups.pop()
            groups[-1] = [a + b for a, b in zip(groups[-1], last, strict=True)]
    return np.array([_share(group) for group in groups for _ in range(int(group[2]))])


def _share(group: list[float]) -> float:
    return group[0] / group[1] if group[1] > 0 else 0.0

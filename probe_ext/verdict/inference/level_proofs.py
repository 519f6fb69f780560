"""Which levels are proven to hold or to fail, each with the help of its neighbours.

For users who are alike, more of them never help. So if the levels i…j together serve more than the limit, level i does
too; if levels j…i together serve less, so does i. Each level is given the strongest of these proofs (compare R. E.
Barlow and others, Statistical Inference under Order Restrictions, 1972).

With several levels, one of them seems to fail by chance more often than each alone. That a level serves the limit
implies it of all lower ones, so these hypotheses are nested, and a closed test keeps their joint error at that of
one: a level fails only where it and each measured level above it are shown to fail, by pools that end there (R.
Marcus, E. Peritz, K. R. Gabriel, Biometrika 63 (1976) 655–660). Above a level that truly fails, others do so more
clearly: it costs little.

A broken share below 1 % can't be proven in a usual run: that takes some 340 independent replies. So a level may hold
where the fitted broken share is at most 1 % and, once any reply broke, less than 2 % is proven; it fails where more
than 1 % is proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference.dispersion import BROKEN_ICC_PRIOR, level_factors, pool, visit_sums
from probe_ext.verdict.inference.observations import Level
from probe_ext.verdict.inference.quantiles import (
    log_likelihood,
    replies_to_prove,
    score_limits,
    signed_root,
    student_quantile,
)
from probe_ext.verdict.values.capacity_estimate import Criteria

POOL_ALLOWANCE = 1.1
"""the strongest of the pools that end at a level is stronger by chance: found at a share of exactly the limit"""
EXPECTED_ELSEWHERE = 3.0
"""replies: if so many should have broken and none did, it is the load that breaks them"""


@dataclass(frozen=True)
class EffectiveCounts:
    """Replies by rising level, divided by φ: what they are worth as independent ones."""

    good: Floats
    of: Floats
    phi: Floats

    @property
    def share(self) -> Floats:
        return np.where(self.of > 0, self.good / np.maximum(self.of, 1e-12), np.nan)

    def without(self, left_out: Bools) -> "EffectiveCounts":
        """Return the counts with these levels emptied."""
        return EffectiveCounts(np.where(left_out, 0.0, self.good), np.where(left_out, 0.0, self.of), self.phi)


def effective_counts(good: Floats, of: Floats, phi: Floats) -> EffectiveCounts:
    return EffectiveCounts(good / phi, of / phi, phi)


def _pools(values: Floats) -> Floats:
    """Sums of the levels i to j, at [i, j]; 0 where j < i."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.triu(total[None, 1:] - total[:-1, None])


def _roots_of_pools(counts: EffectiveCounts, limit: float) -> Floats:
    """Signed roots of levels i to j together, at [i, j]; 0 where j < i."""
    good, of, replies = _pools(counts.good), _pools(counts.of), _pools(counts.of * counts.phi)
    return np.where(of > 1e-9, signed_root(good, of, limit, 0.5 * of / np.maximum(replies, 1e-12)), 0.0)


def evidence_of_holding(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which each level is proven to lie above `limit`."""
    best = np.max(_roots_of_pools(counts, limit), axis=1, initial=0.0)
    return np.maximum.accumulate(best[::-1])[::-1]


def evidence_of_failing(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which each level, with all those above it, is proven to lie below `limit`."""
    place = np.arange(len(counts.of))
    length = np.maximum(1, place[None, :] - place[:, None] + 1)
    # Pools of 1, 2, 4, 8… levels: the fewer are tried, the less often one of them proves something by chance.
    weight = np.where(length & (length - 1) == 0, np.where(length == 1, 1.0, 1 / POOL_ALLOWANCE), 0.0)
    best = np.max(-_roots_of_pools(counts, limit) * weight, axis=0, initial=0.0)
    return np.minimum.accumulate(best[::-1])[::-1]


def falls_short_alone(counts: EffectiveCounts, limit: float, critical: float) -> Bools:
    """Return levels whose own replies would prove that they fail, whatever the levels above them show."""
    return -np.diag(_roots_of_pools(counts, limit)) > critical


def find_contradictions(counts: EffectiveCounts, limit: float, critical: float) -> Bools:
    """Return levels below the limit that did worse than those above them by more than chance, the worst first."""
    left_out = np.zeros(len(counts.of), dtype=np.bool_)
    while (surplus := _surplus_above(counts.without(left_out), limit)).max(initial=0.0) > critical:
        left_out[int(np.argmax(surplus))] = True
    return left_out


def _surplus_above(counts: EffectiveCounts, limit: float) -> Floats:
    """Standard errors by which the levels right above do better than each level, at best."""
    good, of = counts.good[:, None], counts.of[:, None]
    above_good, above_of = _pools(counts.good) - good, _pools(counts.of) - of
    both = (above_good + good) / np.maximum(above_of + of, 1e-9)
    compared = (above_of > 1e-9) & (of > 0) & (good < limit * of)
    a, b = np.maximum(above_of, 1e-9), np.maximum(of, 1e-9)
    better = (above_good / a - good / b) / np.sqrt(np.maximum(both * (1 - both), 1e-9) * (1 / a + 1 / b))
    return np.asarray(np.max(np.where(compared, better, 0.0), axis=1, initial=0.0))


def monotone_fit(counts: EffectiveCounts) -> Floats:
    """Served shares that never rise with users, nearest to the counts.

    The min–max formula (Barlow and others, ch. 1): the least over s ≤ i of the greatest over t ≥ i of the share of s…t.
    A level without counts takes the share of the level below it, or else above it.
    """
    known = counts.of > 0
    if not known.any():
        return np.zeros(len(known))
    # Rounded: a share of exactly the limit must not fall below it by what differences of sums lose.
    share = np.round(_pools(counts.good[known]) / np.maximum(_pools(counts.of[known]), 1e-12), 12)
    best = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.diag(np.minimum.accumulate(best, axis=0))[np.maximum(np.cumsum(known) - 1, 0)])


def gaps_of_crossing(counts: EffectiveCounts, limit: float, allowed: float) -> tuple[int, int]:
    """Return the lowest and highest number of levels that may be served by falling shares alone.

    The log likelihood of falling shares of which the first k are at least `limit` and the others at most that may lie
    below the best by `allowed` ÷ 2.
    """
    fit = monotone_fit(counts)
    above, below = (-log_likelihood(side(fit, limit), counts.good, counts.of) for side in (np.maximum, np.minimum))
    lost = np.append(0.0, np.cumsum(above)) + np.append(np.cumsum(below[::-1])[::-1], 0.0)
    known = np.flatnonzero(2 * (lost - lost.min()) <= allowed)
    return int(known[0]), int(known[-1])


@dataclass(frozen=True)
class BrokenReplies:
    """What is proven of the share of broken replies, by level."""

    above: Bools
    """some broke, and the fitted share is above what is allowed"""
    fails: Bools
    allows_holding: Bools
    high: Floats
    """upper limit of the share"""
    replies_to_allow: Floats
    """replies of the level alone that allow holding at its fitted share; infinite above what is allowed"""


def judge_broken(levels: Sequence[Level], too_slow: Bools, criteria: Criteria, scale: float) -> BrokenReplies:
    """Judge the broken replies.

    `too_slow`: levels that fail by their served share already. `scale`: of critical values.
    """
    sums = visit_sums(levels, broken=True)
    pooled = pool(sums, 1 - criteria.broken_share, BROKEN_ICC_PRIOR)
    phi, critical = level_factors(sums, pooled), student_quantile(1 - criteria.error, pooled.nu) * scale
    broken, replies = sums.by_level(sums.hits), sums.by_level(sums.replies)
    whole = effective_counts(replies - broken, replies, phi)
    fit = 1 - monotone_fit(whole)
    above = fit > criteria.broken_share + 1e-9
    proven_low = evidence_of_holding(whole, 1 - criteria.broken_limit) > critical
    none_broke = not broken[~too_slow].any() and _load_breaks_them(broken, replies, too_slow, criteria)
    return BrokenReplies(
        above & (broken > 0),
        evidence_of_failing(whole, 1 - criteria.broken_share) > critical,
        ~above & (none_broke | proven_low),
        score_limits(whole.of - whole.good, whole.of, critical)[1],
        np.where(above, np.inf, phi * replies_to_prove(1 - fit, 1 - criteria.broken_limit, critical)),
    )


def _load_breaks_them(broken: Floats, replies: Floats, too_slow: Bools, criteria: Criteria) -> bool:
    """Return whether what broke at levels that are too slow says nothing of the others, where none did."""
    share = float(broken[too_slow].sum()) / max(1.0, float(replies[too_slow].sum()))
    return share <= criteria.broken_share or share * float(replies[~too_slow].sum()) > EXPECTED_ELSEWHERE

"""What is proven of the share of broken replies at each level.

A share below 1 % can't be proven in a usual run: that takes some 340 independent replies. So a level may hold where the
fitted share is at most 1 % and, once any reply broke, less than 2 % is proven; it fails where more than 1 % is proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference import level_proofs as proofs
from probe_ext.verdict.inference.critical_values import CriticalValues
from probe_ext.verdict.inference.dispersion import pool_broken
from probe_ext.verdict.inference.level_dispersion import level_factors
from probe_ext.verdict.inference.observations import Level
from probe_ext.verdict.inference.quantiles import replies_to_prove, score_limits
from probe_ext.verdict.values.capacity_estimate import Criteria

EXPECTED_ELSEWHERE = 3.0
"""replies: if so many should have broken and none did, it is the load that breaks them"""


@dataclass(frozen=True)
class BrokenReplies:
    """Findings by level."""

    above: Bools
    """some broke, and the fitted share is above what is allowed"""
    fails: Bools
    allows_holding: Bools
    high: Floats
    """upper limit of the share"""
    replies_to_allow: Floats
    """replies of the level alone that allow holding at its fitted share; infinite above what is allowed"""


def judge_broken(levels: Sequence[Level], too_slow: Bools, criteria: Criteria, critical: float | None) -> BrokenReplies:
    """Judge the broken replies. `too_slow`: levels that fail by their served share already."""
    pooled = pool_broken(levels, 1 - criteria.broken_share)
    bounds = CriticalValues.of(criteria.error, pooled.nu, critical)
    broken = np.array([float(level.broken) for level in levels])
    replies = np.array([float(level.replies) for level in levels])
    phi = level_factors(levels, pooled, [[blocks.broken for blocks in level.blocks] for level in levels])
    whole = proofs.effective_counts(replies - broken, replies, phi)
    fit = 1 - proofs.monotone_fit(whole)
    above = fit > criteria.broken_share + 1e-9
    proven_low = proofs.evidence_of_holding(whole, 1 - criteria.broken_limit) > bounds.proof
    none_broke = not broken[~too_slow].any() and _load_breaks_them(broken, replies, too_slow, criteria)
    return BrokenReplies(
        above & (broken > 0),
        proofs.evidence_of_failing(whole, 1 - criteria.broken_share) > bounds.proof,
        ~above & (none_broke | proven_low),
        score_limits(whole.of - whole.good, whole.of, bounds.proof)[1],
        np.where(above, np.inf, phi * replies_to_prove(1 - fit, 1 - criteria.broken_limit, bounds.proof)),
    )


def _load_breaks_them(broken: Floats, replies: Floats, too_slow: Bools, criteria: Criteria) -> bool:
    """Return whether what broke at levels that are too slow says nothing of the others, where none did."""
    share = float(broken[too_slow].sum()) / max(1.0, float(replies[too_slow].sum()))
    return share <= criteria.broken_share or share * float(replies[~too_slow].sum()) > EXPECTED_ELSEWHERE

"""φ of each level: pooled over the run, or larger where the level itself shows more; and how its visits differ.

The first visit and the last differ by more than chance where the server changed for good (`find_drift`). Service that
comes and goes shows in all of them: then their shares differ by more than blocks of one visit do (`compare_visits`, an
analysis of variance; G. W. Snedecor's F).
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.inference.critical_values import CONTRADICTION_ERROR
from probe_ext.verdict.inference.dispersion import MIN_BLOCKS, Pooled, lag_factor
from probe_ext.verdict.inference.observations import Level
from probe_ext.verdict.inference.quantiles import f_quantile

POOLED_FREEDOM = 8.0
"""degrees of freedom that the pooled φ counts for beside the level's own"""
VISITS_LAG = 0.5
"""Correlation of neighbouring blocks, at least, when visits are compared: one that a visit of few blocks can't show."""
_MANY = 1e9
"""degrees of freedom of a variance that is known: F is then χ² over its own"""


def level_factors(levels: Sequence[Level], pooled: Pooled, counts: Sequence[Sequence[Floats]]) -> Floats:
    """φ by level; 1 for a level without replies. `counts`: hits by level, visit and block."""
    return np.array([
        _level_factor(level, pooled, hits) if level.replies else 1.0
        for level, hits in zip(levels, counts, strict=True)
    ])  # fmt: skip


def find_drift(levels: Sequence[Level], pooled: Pooled, critical: float) -> tuple[int, ...]:
    """Return the users of levels whose first and last visit differ by more than chance."""
    return tuple(level.users for level in levels if len(level.visits) > 1 and _drifts(level, pooled, critical))


def _drifts(level: Level, pooled: Pooled, critical: float) -> bool:
    share, of = [], []
    for blocks in (level.blocks[0], level.blocks[-1]):
        replies = float(blocks.replies.sum())
        share.append(float(blocks.served.sum()) / replies)
        of.append(replies / pooled.factor(float(blocks.replies.mean()), len(blocks.replies)))
    both = (share[0] * of[0] + share[1] * of[1]) / (of[0] + of[1])
    error = np.sqrt(max(both * (1 - both), 1e-9) * (1 / of[0] + 1 / of[1]))
    return bool(abs(share[0] - share[1]) > critical * error)


def compare_visits(levels: Sequence[Level], pooled: Pooled) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the users of levels whose visits differ by more than stretches of one visit do, and by no more than those.

    The visits of the second kind differ by more than independent replies would. Of the first kind, nominally
    CONTRADICTION_ERROR of the levels are named although their visits are alike, up to a correlation of VISITS_LAG; of
    the second, as many where replies are independent, and more where they are not.
    """
    ratios = {level.users: _visits_apart(level, pooled) for level in levels if len(level.visits) > 1}
    beyond = tuple(users for users, (of_stretches, _) in ratios.items() if of_stretches > 1)
    return beyond, tuple(users for users, (_, of_replies) in ratios.items() if of_replies > 1 and users not in beyond)


def _visits_apart(level: Level, pooled: Pooled) -> tuple[float, float]:
    """How far visits differ, over what is too far for stretches of one visit, and for independent replies."""
    of = np.array([float(blocks.replies.sum()) for blocks in level.blocks])
    served = np.array([float(blocks.served.sum()) for blocks in level.blocks])
    share, above = served.sum() / of.sum(), len(of) - 1
    if not 0 < share < 1:
        return 0.0, 0.0
    between = float(((served - of * share) ** 2 / of).sum()) / above
    squares, freedom = 0.0, 0.0
    for blocks in level.blocks:
        number = len(blocks.replies)
        v = lag_factor(max(pooled.lag, VISITS_LAG), number)
        own = float(blocks.served.sum() / blocks.replies.sum())
        squares += v * float(((blocks.served - blocks.replies * own) ** 2 / blocks.replies).sum())
        freedom += max(0.0, number - v)
    chance = share * (1 - share)
    within = max(chance, squares / freedom) if freedom else chance
    limits = [f_quantile(1 - CONTRADICTION_ERROR, above, below) for below in (max(freedom, 0.1), _MANY)]
    return between / within / limits[0], between / chance / limits[1]


def _level_factor(level: Level, pooled: Pooled, counts: Sequence[Floats]) -> float:
    """The pooled φ, or the level's own drawn towards that, if larger."""
    expected, weighted, freedom = 0.0, 0.0, 0.0
    for hits, blocks in zip(counts, level.blocks, strict=True):
        of = float(blocks.replies.sum())
        number = len(hits)
        size = float((blocks.replies**2).sum() / of)
        expected += of / level.replies * pooled.factor(size, number)
        share = float(hits.sum()) / of
        if number < MIN_BLOCKS or not 0 < share < 1:
            continue
        v = lag_factor(pooled.lag, number)
        weighted += v * float(((hits - blocks.replies * share) ** 2 / blocks.replies).sum() / (share * (1 - share)))
        freedom += max(0.5, number - v)
    own = (weighted + POOLED_FREEDOM * expected) / (freedom + POOLED_FREEDOM)
    return max(1.0, expected, own) * _between_visits(level, counts, max(expected, own))


def _between_visits(level: Level, counts: Sequence[Floats], phi: float) -> float:
    """How much more the visits of one level differ than φ explains, where that is more than chance."""
    if len(counts) < 2:
        return 1.0
    of = np.array([float(blocks.replies.sum()) for blocks in level.blocks])
    hits = np.array([float(one.sum()) for one in counts])
    share = hits.sum() / of.sum()
    if not 0 < share < 1:
        return 1.0
    ratio = float(((hits - of * share) ** 2 / of).sum() / (share * (1 - share)) / phi / (len(of) - 1))
    return ratio if ratio > 1 + 2 * np.sqrt(2 / (len(of) - 1)) else 1.0

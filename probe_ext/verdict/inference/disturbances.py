"""What changed during the run, so that replies of one level are not all answers to one load.

A level that is too much stays bad, or gets worse as its queue grows. Somebody else's load comes and goes: it leaves one
stretch that is much worse than the rest of the visit, and better service after it, in the same visit or in the next one
although that has more users. Such a visit does not count (`leave_out_disturbed`).

Visits to one level differ by more than chance where the server changed for good (`find_drift`: the first and the last),
or where service comes and goes (`compare_visits`: more than blocks of one visit do, by G. W. Snedecor's F).
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference.dispersion import Pooled, VisitSums, lag_factor
from probe_ext.verdict.inference.observations import Blocks, Level, level_of
from probe_ext.verdict.inference.quantiles import CONTRADICTION_ERROR, f_quantile, log_likelihood, signed_root

SURPRISE = 14.0
"""twice the log likelihood ratio, over φ, by which the stretch must stand out"""
FAILING = -2.0
"""standard errors: replies that lie so far below the limit are not fine"""
VISITS_LAG = 0.5
"""correlation of neighbouring blocks, at least, when visits are compared: one that a visit of few blocks can't show"""
_MANY = 1e9
"""degrees of freedom of a variance that is known: F is then χ² over its own"""


def leave_out_disturbed(levels: Sequence[Level], pooled: Pooled, limit: float) -> list[Level]:
    """Return the levels without visits that fall short by one stretch only, unless another visit falls short too."""
    visits = sorted((visit.start, i, k) for i, level in enumerate(levels) for k, visit in enumerate(level.visits))
    short = {(i, k): _falls_short(levels[i].blocks[k], limit) for _, i, k in visits}
    disturbed = set()
    for place, (_, i, k) in enumerate(visits):
        if not short[i, k] or sum(short[i, other] for other in range(len(levels[i].visits))) > 1:
            continue
        blocks = levels[i].blocks[k]
        phi = float(pooled.factor(float(blocks.replies.mean()), 1))
        _, next_i, next_k = visits[place + 1] if place + 1 < len(visits) else (0.0, -1, -1)
        if _came_and_went(blocks, limit, phi) or (
            next_i > i and _lasted_to_the_end(blocks, levels[next_i].blocks[next_k], limit, phi)
        ):
            disturbed.add((i, k))
    return [
        level_of(level.users, [visit for k, visit in enumerate(level.visits) if (i, k) not in disturbed])
        if any((i, k) in disturbed for k in range(len(level.visits)))
        else level
        for i, level in enumerate(levels)
    ]


def _falls_short(blocks: Blocks, limit: float) -> bool:
    return float(blocks.served.sum()) < limit * float(blocks.replies.sum())


def _came_and_went(blocks: Blocks, limit: float, phi: float) -> bool:
    """Return whether all was fine before and after one stretch within the visit."""
    served, replies = _running(blocks.served), _running(blocks.replies)
    start, end = np.triu_indices(len(served) - 1, 1)
    bad, bad_of = served[end] - served[start], replies[end] - replies[start]
    rest, rest_of = served[-1] - bad, replies[-1] - bad_of
    fine = _fine(rest, rest_of, limit, phi) & _fine(served[-1] - served[end], replies[-1] - replies[end], limit, phi)
    return bool((fine & _stands_out(bad, bad_of, rest, rest_of, phi)).any())


def _lasted_to_the_end(blocks: Blocks, following: Blocks, limit: float, phi: float) -> bool:
    """Return whether all was fine up to a stretch at the end, and the next visit did better with more users."""
    served, replies = _running(blocks.served), _running(blocks.replies)
    bad, bad_of = served[-1] - served[:-1], replies[-1] - replies[:-1]
    fine = _fine(served[:-1], replies[:-1], limit, phi)
    # The stretch may reach into the next visit, whose later part counts.
    later = following.served.sum() - _running(following.served)[:-1]
    later_of = following.replies.sum() - _running(following.replies)[:-1]
    recovered = _stands_out(bad[:, None], bad_of[:, None], later[None, :], later_of[None, :], phi).any(axis=1)
    before = _stands_out(bad, bad_of, served[:-1], replies[:-1], phi) | (replies[:-1] == 0)
    return bool((fine & before & recovered).any())


def _running(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _fine(served: Floats, of: Floats, limit: float, phi: float) -> Bools:
    return np.asarray(signed_root(served / phi, of / phi, limit, 0.0) > FAILING)


def _stands_out(bad: Floats, bad_of: Floats, rest: Floats, rest_of: Floats, phi: float) -> Bools:
    both = _best(bad + rest, bad_of + rest_of)
    surprise = 2 * (_best(bad, bad_of) + _best(rest, rest_of) - both)
    return np.asarray((bad * rest_of < rest * bad_of) & (surprise > SURPRISE * phi))


def _best(served: Floats, of: Floats) -> Floats:
    """Log likelihood of a stretch at its own share."""
    return log_likelihood(served / np.maximum(of, 1e-12), served, of)


def find_drift(sums: VisitSums, pooled: Pooled, critical: float) -> list[int]:
    """Return the levels, by place, whose first and last visit differ by more than chance."""
    found = []
    for level in np.flatnonzero(np.bincount(sums.level) > 1):
        ends = np.flatnonzero(sums.level == level)[[0, -1]]
        share, replies, blocks = sums.share[ends], sums.replies[ends], sums.blocks[ends]
        of = replies / pooled.factor(replies / blocks, blocks)
        both = float(share @ of / of.sum())
        error = np.sqrt(max(both * (1 - both), 1e-9) * (1 / of).sum())
        if abs(share[0] - share[1]) > critical * error:
            found.append(int(level))
    return found


def compare_visits(sums: VisitSums, pooled: Pooled) -> tuple[list[int], list[int]]:
    """Return the levels whose visits differ by more than stretches of one visit do, and by no more than those.

    The visits of the second kind differ by more than independent replies would. Of the first kind, nominally
    CONTRADICTION_ERROR of the levels are named although their visits are alike, up to a correlation of VISITS_LAG; of
    the second, as many where replies are independent, and more where they are not.
    """
    unsteady, uneven = [], []
    for level in np.flatnonzero(np.bincount(sums.level) > 1):
        here = sums.level == level
        hits, of, blocks, above = sums.hits[here], sums.replies[here], sums.blocks[here], float(here.sum() - 1)
        share = hits.sum() / of.sum()
        chance = share * (1 - share)
        if chance <= 0:
            continue
        between = float(((hits - of * share) ** 2 / of).sum()) / above
        v = lag_factor(max(pooled.lag, VISITS_LAG), blocks)
        freedom = float(np.maximum(0.0, blocks - v).sum())
        within = max(chance, float(v @ sums.squares[here]) / freedom) if freedom else chance
        if between > within * f_quantile(1 - CONTRADICTION_ERROR, above, max(freedom, 0.1)):
            unsteady.append(int(level))
        elif between > chance * f_quantile(1 - CONTRADICTION_ERROR, above, _MANY):
            uneven.append(int(level))
    return unsteady, uneven

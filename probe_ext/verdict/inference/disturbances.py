"""Levels that one disturbed stretch makes fall short, perhaps somebody else's load.

A level that is too much stays bad, or gets worse as its queue grows. Somebody else's load comes and goes: it leaves one
stretch that is much worse than the rest of the visit, and better service after it, in the same visit or in the next one
although that has more users.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.inference.dispersion import Pooled
from probe_ext.verdict.inference.observations import Blocks, Level, level_of
from probe_ext.verdict.inference.quantiles import signed_root

SURPRISE = 14.0
"""twice the log likelihood ratio, over φ, by which the stretch must stand out"""
FAILING = -2.0
"""standard errors: replies that lie so far below the limit are not fine"""


def leave_out_disturbed(levels: Sequence[Level], pooled: Pooled, limit: float) -> list[Level]:
    """Return the levels without visits that fall short by one stretch only, unless another visit falls short too."""
    sound = []
    for level, disturbed in zip(levels, _find_disturbed(levels, pooled, limit), strict=True):
        short = [_falls_short(blocks, limit) for blocks in level.blocks]
        agreed = sum(short) > 1
        kept = [visit for visit, bad in zip(level.visits, disturbed, strict=True) if agreed or not bad]
        sound.append(level_of(level.users, kept) if len(kept) < len(level.visits) else level)
    return sound


def _find_disturbed(levels: Sequence[Level], pooled: Pooled, limit: float) -> list[list[bool]]:
    """By level and visit."""
    disturbed = [[False] * len(level.visits) for level in levels]
    visits = sorted((visit.start, i, k) for i, level in enumerate(levels) for k, visit in enumerate(level.visits))
    for place, (_, i, k) in enumerate(visits):
        blocks = levels[i].blocks[k]
        if not _falls_short(blocks, limit):
            continue
        phi = pooled.factor(float(blocks.replies.mean()), 1)
        _, next_i, next_k = visits[place + 1] if place + 1 < len(visits) else (0.0, -1, -1)
        disturbed[i][k] = _came_and_went(blocks, limit, phi) or (
            next_i > i and _lasted_to_the_end(blocks, levels[next_i].blocks[next_k], limit, phi)
        )
    return disturbed


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
    both = _log_likelihood(bad + rest, bad_of + rest_of)
    surprise = 2 * (_log_likelihood(bad, bad_of) + _log_likelihood(rest, rest_of) - both)
    return np.asarray((bad * rest_of < rest * bad_of) & (surprise > SURPRISE * phi))


def _log_likelihood(served: Floats, of: Floats) -> Floats:
    share = np.clip(served / np.maximum(of, 1e-12), 1e-12, 1 - 1e-12)
    return np.asarray(served * np.log(share) + (of - served) * np.log(1 - share))

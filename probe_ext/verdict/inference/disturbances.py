"""Levels that one disturbed stretch makes fall short, perhaps somebody else's load.

A level that is too much stays bad, or gets worse as its queue grows. Somebody else's load comes and goes: it leaves one
stretch that is much worse than the rest of the visit, and better service after it, in the same visit or in the next one
although that has more users.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.inference.dispersion import Pooled
from probe_ext.verdict.inference.observations import Blocks, Level
from probe_ext.verdict.inference.quantiles import signed_root
from probe_ext.verdict.values.columns import Bools, Floats

SURPRISE = 14.0
"""twice the log likelihood ratio, over φ, by which the stretch must stand out"""
FAILING = -2.0
"""standard errors: replies that lie so far below the limit are not fine"""


def find_disturbed(levels: Sequence[Level], pooled: Pooled, limit: float) -> Bools:
    """Return the levels of a single visit that fall short by one stretch only."""
    visits = sorted((level.visits[0].start, i) for i, level in enumerate(levels) if len(level.visits) == 1)
    disturbed = np.zeros(len(levels), dtype=np.bool_)
    for place, (_, i) in enumerate(visits):
        blocks = levels[i].blocks[0]
        if levels[i].served >= limit * levels[i].replies:
            continue
        phi = pooled.factor(float(blocks.replies.mean()), 1)
        following = visits[place + 1][1] if place + 1 < len(visits) else -1
        next_blocks = levels[following].blocks[0] if following > i else None
        disturbed[i] = _came_and_went(blocks, limit, phi) or (
            next_blocks is not None and _lasted_to_the_end(blocks, next_blocks, limit, phi)
        )
    return disturbed


def _came_and_went(blocks: Blocks, limit: float, phi: float) -> bool:
    """Return whether all was fine before and after one stretch within the visit."""
    served, replies = _running(blocks.served), _running(blocks.replies)
    start, end = np.triu_indices(len(served) - 1, 1)
    bad, bad_of = served[end] - served[start], replies[end] - replies[start]
    rest, rest_of = served[-1] - bad, replies[-1] - bad_of
    fine = _fine(rest, rest_of, limit, phi) & _fine(served[-1] - served[end], replies[-1] - replies[end], limit, phi)
    return bool((fine & _stands_out(bad, bad_of, rest, rest_of, phi)).any())


def _lasted_to_the_end(blocks: Blocks, following: Blocks, limit: float, phi: float) -> bool:
    """Return whether all was fine up to a stretch at the end, and the next visit did better though it had more users."""
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

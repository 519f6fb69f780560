"""Levels that one disturbed stretch makes fall short, perhaps somebody else's load.

A level that is too much stays bad, or gets worse as its queue grows. Somebody else's load comes and goes: it leaves one
bad stretch with fine service after it, in the same visit or the next one with as many users or more.
"""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.inference.dispersion import Pooled
from probe_ext.verdict.inference.observations import Blocks, Level
from probe_ext.verdict.values.columns import Bools, Floats

SURPRISE = 14.0
"""twice the log likelihood ratio, over φ, by which one stretch must stand out from the rest"""


def find_disturbed(levels: Sequence[Level], pooled: Pooled, limit: float) -> Bools:
    """Return the levels of one visit that fall short only by one stretch."""
    visits = [(visit.start, i, blocks) for i, level in enumerate(levels) for visit, blocks in zip(level.visits, level.blocks, strict=True)]
    visits.sort(key=lambda entry: entry[:2])
    single = [len(level.visits) == 1 for level in levels]
    disturbed = np.zeros(len(levels), dtype=np.bool_)
    for place, (_, i, blocks) in enumerate(visits):
        if not single[i] or not _falls_short(blocks, limit):
            continue
        phi = pooled.factor(float(blocks.replies.mean()), 1)
        after = visits[place + 1] if place + 1 < len(visits) and visits[place + 1][1] > i else None
        if _one_stretch_explains(blocks, None, limit, phi):
            disturbed[i] = True
        elif after is not None and _one_stretch_explains(blocks, after[2], limit, phi):
            disturbed[i] = True
            disturbed[after[1]] |= single[after[1]] and _falls_short(after[2], limit)
    return disturbed


def _falls_short(blocks: Blocks, limit: float) -> bool:
    return float(blocks.served.sum()) < limit * float(blocks.replies.sum())


def _one_stretch_explains(blocks: Blocks, after: Blocks | None, limit: float, phi: float) -> bool:
    """Return whether all but one stretch was fine. With `after`, the stretch reaches the end of the visit, or beyond."""
    own = len(blocks.replies)
    served, replies = _running(blocks, after, "served"), _running(blocks, after, "replies")
    total = len(replies) - 1
    start, end = np.triu_indices(total + 1, 1)
    possible = (end < total) & (start < own) & ((end >= own) if after else (start < own))
    start, end = start[possible], end[possible]
    if not len(start):
        return False
    bad_of, bad = replies[end] - replies[start], served[end] - served[start]
    rest_of, rest = replies[-1] - bad_of, served[-1] - bad
    later_of, later = replies[-1] - replies[end], served[-1] - served[end]
    surprise = 2 * (_log_likelihood(bad, bad_of) + _log_likelihood(rest, rest_of) - _log_likelihood(served[-1:], replies[-1:]))
    fine_after = (rest >= limit * rest_of) & (later >= limit * later_of)
    return bool((fine_after & (bad < limit * bad_of) & (surprise > SURPRISE * phi)).any())


def _running(blocks: Blocks, after: Blocks | None, field: str) -> Floats:
    parts = [getattr(one, field) for one in (blocks, after) if one is not None]
    return np.concatenate([[0.0], np.cumsum(np.concatenate(parts))])


def _log_likelihood(served: Floats, of: Floats) -> Floats:
    share = np.clip(served / np.maximum(of, 1e-12), 1e-12, 1 - 1e-12)
    return np.asarray(served * np.log(share) + (of - served) * np.log(1 - share))

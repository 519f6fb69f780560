"""Replies as they stood when more users came: what happened to them after that was another level's load.

A reply belongs to the level in which it was sent. If it still goes on when users are added, it is judged like one that
we ended at that moment: a bound already passed counts, else it is open. Without that, a level's last replies would be
blamed on it for what the next, heavier one did to them.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.levels.find_levels import Level, Stretch
from probe_ext.verdict.values.columns import Floats, Ints, numbers
from probe_ext.verdict.values.evidence import Columns

_MARKS = ("headers", "first", "first_visible", "last")
_WHOLE = ("tpot", "tpot_visible")
"""figures of the whole reply, which say nothing of its beginning"""


def moments(levels: Sequence[Level], stretches: Sequence[Stretch], level_of: Ints) -> Floats:
    """When each reply's level was over because users were added; infinite where that is not what ended it.

    Bands are left out: on a climb users are added all the time, and hardly a reply would be judged.
    """
    rises = {now.start for before, now in itertools.pairwise(stretches) if now.users > before.users}
    ends = [level.t_end if not level.band and level.t_end in rises else np.inf for level in levels]
    return np.array([*ends, np.inf])[level_of]  # −1, outside all levels, is the last


def as_of(replies: Columns, until: Floats) -> Columns:
    """The replies, those that went on after their moment as they stood then."""
    end = numbers(replies, "end")
    going_on = end > until
    if not going_on.any():
        return replies
    changed: dict[str, np.ndarray] = {"end": np.where(going_on, until, end)}
    for name in _MARKS:
        mark = numbers(replies, name)
        changed[name] = np.where(going_on & (mark > until), np.nan, mark)
    for name in _WHOLE:
        changed[name] = np.where(going_on, np.nan, numbers(replies, name))
    longest, start = numbers(replies, "longest_gap"), numbers(replies, "gap_start")
    so_far = np.where(start < until, np.fmin(longest, until - start), np.nan)
    changed["longest_gap"] = np.where(going_on, so_far, longest)
    visible = numbers(replies, "longest_gap_visible")
    same = np.where(visible == longest, so_far, np.nan)
    changed["longest_gap_visible"] = np.where(going_on, same, visible)
    outcome = replies["outcome"].copy()
    outcome[going_on & (outcome != Outcome.CLIENT_ERROR)] = Outcome.ENDED_BY_US.value
    return {**replies, **changed, "outcome": outcome}

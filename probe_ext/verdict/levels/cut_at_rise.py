"""Cut replies off at the moment more users arrive: what happens to them afterwards is due to another level's load.

A reply belongs to the level in which it was sent. If it is still in flight when users are added, it is judged as if it
had been aborted at that moment: a bound already passed counts, otherwise it is open. Without the cut, a level would be
blamed for what the next, heavier one did to its last replies.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.evidence.columns import Codes, Floats, ids, is_any, numbers, rows_of, text_column
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.levels.find_levels import MAX_SAMPLE_GAP_S, Level, Stretch

_TIMESTAMPS = ("headers", "first", "first_visible", "last")
_WHOLE_REPLY = ("tpot", "tpot_visible")
"""Figures of the whole reply, unknown for a part of it."""


def cut_times(levels: Sequence[Level], stretches: Sequence[Stretch], level_of: Codes) -> Floats:
    """Return when users were added at the end of each reply's level; infinite where the level ended otherwise.

    Bands are exempt: on a ramp users are added all the time, and hardly any reply would be judged.
    """
    rises = [now.start for before, now in itertools.pairwise(stretches) if now.users > before.users]
    ends = [level.t_end if not level.band and _is_near(level.t_end, rises) else np.inf for level in levels]
    if np.isinf(ends).all():
        return np.broadcast_to(np.inf, level_of.shape)
    return np.array([*ends, np.inf])[level_of]  # −1 (outside all levels) selects the last


def _is_near(end: float, rises: Sequence[float]) -> bool:
    """Tell whether users were added at the end of a level: of a search it is known more closely than from samples."""
    return any(abs(end - rise) <= MAX_SAMPLE_GAP_S for rise in rises)


def as_of(replies: Columns, until: Floats, gap_before: Floats | None = None) -> Columns:
    """Return the replies as of `until` (seconds of the run, one per reply): those in flight then are cut off.

    `gap_before`: see `longest_before`. Without it, a gap before the cut is unknown where a longer one began after it.
    """
    end = numbers(replies, "end")
    going_on = end > until
    if not going_on.any():
        return replies
    changed: dict[str, np.ndarray] = {"end": np.where(going_on, until, end)}
    for name in _TIMESTAMPS:
        mark = numbers(replies, name)
        changed[name] = np.where(going_on & (mark > until), np.nan, mark)
    for name in _WHOLE_REPLY:
        changed[name] = np.where(going_on, np.nan, numbers(replies, name))
    longest, start = numbers(replies, "longest_gap"), numbers(replies, "gap_start")
    later = np.nan if gap_before is None else gap_before
    so_far = np.where(start < until, np.fmin(longest, until - start), later)
    changed["longest_gap"] = np.where(going_on, so_far, longest)
    visible = numbers(replies, "longest_gap_visible")
    same = np.where(visible == longest, so_far, np.nan)
    changed["longest_gap_visible"] = np.where(going_on, same, visible)
    ended = going_on & ~is_any(replies, "outcome", {Outcome.CLIENT_ERROR})
    outcome = text_column(replies, "outcome").with_text(ended, Outcome.ENDED_BY_US.value)
    return {**replies, **changed, "outcome": outcome}


def longest_before(replies: Columns, until: Floats, gaps: Columns) -> Floats:
    """Return each reply's longest recorded gap that began before its cut, as of the cut; NaN without one."""
    reply, start = rows_of(ids(gaps, "reply_id"), ids(replies, "reply_id")), numbers(gaps, "start")
    counts = (reply >= 0) & (start < until[reply])
    longest = np.full(until.size, -np.inf)
    np.maximum.at(longest, reply[counts], (np.fmin(numbers(gaps, "end"), until[reply]) - start)[counts])
    return np.where(longest > -np.inf, longest, np.nan)

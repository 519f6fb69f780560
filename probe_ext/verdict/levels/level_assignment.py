"""Assignment of replies to the levels and users of a run."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from probe_ext.measure.table_rows import WARM_UP
from probe_ext.verdict.evidence.columns import Bools, Codes, Floats, Ints, is_any, numbers, size, text_codes
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import absences
from probe_ext.verdict.levels.find_levels import (
    Level,
    assign_replies,
    backlog_times,
    drain_times,
    find_levels,
    is_open_stream,
)
from probe_ext.verdict.levels.resting_users import resting_users
from probe_ext.verdict.values.others_share import OthersShare


@dataclass(frozen=True)
class LevelAssignment:
    """Which reply was sent in which level, by which user."""

    levels: Sequence[Level]
    level_of: Codes
    """index of the level; −1 outside all levels"""
    user_of: Codes
    end: Floats
    """when each reply ended"""
    others: Sequence[OthersShare | None] = ()
    """what the server did for others in each level; empty before it was asked"""
    resting: Sequence[Ints] = ()
    """users who paused throughout each level; empty for an open stream, which has none"""

    def is_judged(self, index: int) -> bool:
        """Whether a level's replies reflect this run's load, and not that of others."""
        share = self.others[index] if self.others else None
        return share is None or not share.too_much

    @property
    def in_judged_levels(self) -> Bools:
        """Which replies belong to a level that is judged."""
        judged = [*(self.is_judged(index) for index in range(len(self.levels))), False]
        return np.array(judged, dtype=np.bool_)[self.level_of]


_FEW_LEVELS = 8
SCRIPTED_PLAN: Mapping[str, float] = {"settle": 0.0, "hold": 0.0}
"""Plan of a scenario that ends by itself: it marks its own warm-up replies and may be of any length."""


def sent_at(evidence: Evidence) -> Floats:
    """Return when each reply was sent; if it never was, when it was due.

    In an open stream always when it was due: what waits for a free connection belongs to the rate at which it arrived.
    """
    sent, due = numbers(evidence.replies, "sent"), numbers(evidence.replies, "due")
    if is_open_stream(evidence.users):
        return due
    never = np.isnan(sent)
    return np.where(never, due, sent) if never.any() else sent


def assign_levels(evidence: Evidence, sent: Floats) -> LevelAssignment:
    """Find the levels of a run and assign its replies to them."""
    plan = evidence.manifest.get("plan")
    plan = plan if isinstance(plan, Mapping) else None
    if plan is None and evidence.manifest.get("end_reason") == "scenario_done":
        plan = SCRIPTED_PLAN
    last_sent = float(np.nanmax(sent)) if (~np.isnan(sent)).any() else None
    drained = (backlog_times if is_open_stream(evidence.users) else drain_times)(evidence.replies, sent)
    levels = find_levels(evidence.users, plan, last_sent, absences(evidence.manifest), drained)
    user_of = _users_of(evidence)
    warm_up = is_any(evidence.replies, "scenario", {WARM_UP})
    level_of = assign_replies(sent, levels)
    level_of[warm_up] = -1
    end = numbers(evidence.replies, "end")
    resting = () if is_open_stream(evidence.users) else _resting(levels, user_of, sent, end)
    return LevelAssignment(levels, level_of, user_of, end, resting=resting)


def cut_levels(assignment: LevelAssignment, since: float | None) -> LevelAssignment:
    """End the level in which the server went away when it did: rates and gauges of an idle server are none of its."""
    if since is None:
        return assignment
    levels = [
        replace(level, t_end=since) if level.t_start < since < level.t_end else level for level in assignment.levels
    ]
    return replace(assignment, levels=levels)


def _resting(levels: Sequence[Level], user_of: Codes, sent: Floats, end: Floats) -> tuple[Ints, ...]:
    return tuple(resting_users(user_of, sent, end, (level.t_start, level.t_end), int(level.users)) for level in levels)


def _users_of(evidence: Evidence) -> Codes:
    """Return a code for each reply's user. In an open stream, each arrival is a person of its own."""
    if is_open_stream(evidence.users):
        return np.arange(size(evidence.replies), dtype=np.int32)
    return text_codes(evidence.replies, "user")[0].astype(np.int32)


def rows_by_level(assignment: LevelAssignment) -> list[Ints]:
    """Return the row indices of the replies of each level."""
    if len(assignment.levels) <= _FEW_LEVELS:  # takes an eighth of the memory of sorting
        return [np.flatnonzero(assignment.level_of == index) for index in range(len(assignment.levels))]
    order = np.argsort(assignment.level_of, kind="stable")
    edges = np.searchsorted(assignment.level_of[order], np.arange(len(assignment.levels) + 1))
    return [order[a:b] for a, b in itertools.pairwise(edges)]

"""Grades of all replies as of the end of their levels, computed some hundred thousand replies at a time.

Only the results are there for all replies at once: the many arrays in between would take gigabytes of a long run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.settings.slo import Reasoning
from probe_ext.verdict.evidence.columns import ROWS_AT_ONCE, numbers, select, size, text_column
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.verdict.grading.reply_grades import GradedReplies, longest_answer
from probe_ext.verdict.levels.cut_at_rise import as_of, cut_times, longest_before
from probe_ext.verdict.levels.find_levels import find_stretches
from probe_ext.verdict.levels.level_assignment import LevelAssignment


def grade_levels(
    evidence: Evidence,
    profiles: KindProfiles,
    mode: Reasoning | None,
    assignment: LevelAssignment,
    like: GradedReplies | None = None,
) -> GradedReplies:
    """Grade replies as of the end of their level; the experience stays that of the whole reply.

    Returns `like` itself, grades of the same replies in another mode, if these are the same.
    """
    rows, graded = size(evidence.replies), like
    for part, of_part in _parts(evidence, profiles, mode, assignment):
        if graded is like:
            if like is not None and _same(of_part, like, part):
                continue
            graded = _room(of_part, rows)
            if like is not None:
                before = slice(0, part.start)
                _fill(graded, _rows(like, before), before)
        if graded is not None:
            _fill(graded, of_part, part)
    if graded is None:
        raise ValueError("there is one part at least")
    return graded


def _parts(
    evidence: Evidence, profiles: KindProfiles, mode: Reasoning | None, assignment: LevelAssignment
) -> Iterator[tuple[slice, GradedReplies]]:
    replies, scenarios = evidence.replies, text_column(evidence.replies, "scenario")
    cut = cut_times(assignment.levels, find_stretches(evidence.users, None), assignment.level_of)
    going_on = numbers(replies, "end") > cut
    longest = longest_answer(replies, ~going_on)
    gap_before = longest_before(replies, cut, evidence.gaps) if going_on.any() else None
    for start in range(0, max(1, len(cut)), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        columns, names = select(replies, part), scenarios[part]
        whole = profiles.grade(columns, names, mode, longest)
        until_rise = as_of(columns, cut[part], None if gap_before is None else gap_before[part])
        if until_rise is not columns:
            whole = replace(profiles.grade(until_rise, names, mode, longest), experience=whole.experience)
        yield part, whole


def _arrays(graded: Any) -> Iterator[NDArray[Any]]:
    """Yield all arrays of grades, in a fixed order."""
    if isinstance(graded, np.ndarray):
        yield graded
        return
    parts = graded.values() if isinstance(graded, Mapping) else (getattr(graded, f.name) for f in fields(graded))
    for part in parts:
        yield from _arrays(part)


def _changed(graded: Any, change: Any) -> Any:
    """Return the same structure with each array changed."""
    if isinstance(graded, np.ndarray):
        return change(graded)
    if isinstance(graded, Mapping):
        return {name: _changed(part, change) for name, part in graded.items()}
    return replace(graded, **{f.name: _changed(getattr(graded, f.name), change) for f in fields(graded)})


def _rows(graded: GradedReplies, rows: slice) -> GradedReplies:
    some: GradedReplies = _changed(graded, lambda values: values[rows])
    return some


def _room(graded: GradedReplies, rows: int) -> GradedReplies:
    room: GradedReplies = _changed(graded, lambda values: np.empty(rows, dtype=values.dtype))
    return room


def _fill(graded: GradedReplies, part: GradedReplies, rows: slice) -> None:
    for room, values in zip(_arrays(graded), _arrays(part), strict=True):
        room[rows] = values


def _same(part: GradedReplies, whole: GradedReplies, rows: slice) -> bool:
    pairs = zip(_arrays(part), _arrays(whole), strict=True)
    return all(np.array_equal(a, b[rows], equal_nan=b.dtype.kind == "f") for a, b in pairs)

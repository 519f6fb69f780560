"""From graded replies to visits, which the estimator reads."""

from dataclasses import replace

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, is_any
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.grading.reply_grades import UNJUDGED, GradedReplies
from probe_ext.verdict.inference.observations import Visit, counts_towards_level, replies_at_once, visit_from_grades
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.values.capacity_estimate import Criteria

MAX_SERVED_SHARE, MIN_BROKEN_SHARE = 0.999, 0.0005
"""No run proves that every reply is served, or that none ever breaks; a profile that asks for it gets these."""


def criteria_of(profile: SloProfile) -> Criteria:
    """Return when a person, and when a number of users, counts as served."""
    served = min(profile.users.served_share, MAX_SERVED_SHARE)
    return Criteria(served, max(profile.users.broken_share, MIN_BROKEN_SHARE), profile.level.served_share)


def last_seconds_of(profile: SloProfile) -> float:
    """Return how long before a level's end the last reply may be sent that can still be seen to be served."""
    return profile.first_word.served if profile.first_word else 0.0


def counted_rows(assignment: LevelAssignment, sent: Floats, left_out: Bools, profile: SloProfile) -> list[Ints]:
    """Return the rows of each level's judged replies: its shares and all its figures are of these, and of no others.

    Without those sent in its last seconds, and those that failed for a reason that is not the server's load.
    """
    last_seconds = last_seconds_of(profile)
    return [
        rows[~left_out[rows] & counts_towards_level(sent[rows], level.t_end, last_seconds)]
        for level, rows in zip(assignment.levels, rows_by_level(assignment), strict=True)
    ]


def client_faults(replies: Columns) -> Bools:
    """Return which replies failed by the load generator's own fault; they say nothing about the server."""
    return is_any(replies, "outcome", {Outcome.CLIENT_ERROR})


def visits_of(
    assignment: LevelAssignment,
    graded: GradedReplies,
    sent: Floats,
    faults: Bools,
    profile: SloProfile,
    dimension: str | None = None,
    *,
    kind: Bools | None = None,
) -> list[Visit]:
    """Return levels and bands of a run as visits, judged by everything or by one dimension alone.

    `kind`: the replies of one kind of user, who then are its visits; all of them otherwise. A level in which the server
    did too much for others is left out.
    A dimension alone leaves out replies that it does not apply to, such as the typing speed of a short reply.
    """
    grades = graded.overall if dimension is None else graded.by[dimension]
    applies = ~faults if dimension is None else ~faults & ((grades != UNJUDGED) | (graded.overall == UNJUDGED))
    last_seconds = last_seconds_of(profile)
    visits = []
    for index, (level, rows_of_level) in enumerate(zip(assignment.levels, rows_by_level(assignment), strict=True)):
        if not assignment.is_judged(index):
            continue
        mine = rows_of_level if kind is None else rows_of_level[kind[rows_of_level]]
        by_rate = isinstance(level.users, Rate)
        asking = None if kind is None or by_rate else len(np.unique(assignment.user_of[mine]))
        people = None if asking is None or kind is None else asking + _resting(assignment, index, kind)
        rows = mine[applies[mine]]
        span = (level.t_start, level.t_end)
        users = assignment.user_of[rows].astype(np.int64)
        if by_rate:
            people = replies_at_once(sent[mine], assignment.end[mine], span)
        visit = visit_from_grades(level.users, users, sent[rows], grades[rows], span, last_seconds, people)
        visits.append(replace(visit, asking=asking))
    return visits


def _resting(assignment: LevelAssignment, index: int, kind: Bools) -> int:
    """Return how many users of a kind paused throughout a level."""
    resting = assignment.resting[index] if assignment.resting else ()
    return int(np.isin(resting, assignment.user_of[kind]).sum()) if len(resting) else 0

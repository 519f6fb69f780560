"""From graded replies to visits, which the estimator reads."""

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import UNJUDGED, GradedReplies
from probe_ext.verdict.inference.observations import Visit, visit_from_grades
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.values.capacity_estimate import Criteria
from probe_ext.verdict.values.columns import Bools, Floats, texts
from probe_ext.verdict.values.evidence import Columns


def criteria_of(profile: SloProfile) -> Criteria:
    """Return when a person, and when a number of users, counts as served."""
    return Criteria(profile.users.served_share, profile.users.broken_share, profile.level.served_share)


def last_seconds_of(profile: SloProfile) -> float:
    """Return how long before a level's end the last reply may be sent that can still be seen to be served."""
    return profile.first_word.served if profile.first_word else 0.0


def client_faults(replies: Columns) -> Bools:
    """Return which replies failed by the load generator's own fault; they say nothing about the server."""
    return np.array([outcome == Outcome.CLIENT_ERROR for outcome in texts(replies, "outcome")], dtype=np.bool_)


def visits_of(
    assignment: LevelAssignment,
    graded: GradedReplies,
    sent: Floats,
    faults: Bools,
    profile: SloProfile,
    dimension: str | None = None,
) -> list[Visit]:
    """Return every level and band of a run as a visit, judged by everything or by one dimension alone.

    A dimension alone leaves out replies that it does not apply to, such as the typing speed of a short reply.
    """
    grades = graded.overall if dimension is None else graded.by[dimension]
    applies = ~faults if dimension is None else ~faults & ((grades != UNJUDGED) | (graded.overall == UNJUDGED))
    last_seconds = last_seconds_of(profile)
    visits = []
    for level, rows_of_level in zip(assignment.levels, rows_by_level(assignment), strict=True):
        rows = rows_of_level[applies[rows_of_level]]
        span = (level.t_start, level.t_end)
        users = assignment.user_of[rows]
        visits.append(visit_from_grades(level.users, users, sent[rows], grades[rows], span, last_seconds))
    return visits

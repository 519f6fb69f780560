"""Judgements as values: a capacity, what a ramp suggests, the capacity by each dimension."""

import numpy as np

from probe_ext.verdict.levels.bracket import find_bracket
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.levels.level_judgement import DimensionJudgements, LevelJudgement
from probe_ext.verdict.levels.level_state import STATE_NAMES, served_share
from probe_ext.verdict.values.dimension_result import DimensionLevel, DimensionResult
from probe_ext.verdict.values.judgement import Ramp


def served_users(assignment: LevelAssignment, judgement: LevelJudgement) -> int | None:
    """Return the capacity; 0 when the lowest level of all fails; None when nothing is proven."""
    if judgement.bracket.held is not None:
        return judgement.bracket.held
    lowest = min((level.users_low for level in assignment.levels), default=None)
    return 0 if lowest is not None and judgement.bracket.failed == lowest else None


def ramp_of(assignment: LevelAssignment, judgement: LevelJudgement, share: float) -> Ramp | None:
    """Return what the bands suggest, each judged as if it could prove something."""
    which = np.flatnonzero(~assignment.proven)
    if not len(which):
        return None
    bands = [assignment.levels[int(i)] for i in which]
    order = which[np.argsort([band.users_low for band in bands], kind="stable")].astype(np.int64)
    between = find_bracket(
        order, judgement.states[order], served_share(judgement.people)[order], judgement.people.judged[order], share
    )
    low = None if between.held is None else assignment.levels[between.held].users_low
    high = None if between.failed is None else assignment.levels[between.failed].users_high
    return Ramp((low, high))


def dimension_results(assignment: LevelAssignment, judgements: DimensionJudgements) -> dict[str, DimensionResult]:
    """Return what the capacity would be if only one dimension counted."""
    return {
        name: DimensionResult(
            served_users=served_users(assignment, judgement),
            bracket=(judgement.bracket.held, judgement.bracket.failed),
            levels=_levels(assignment, judgement),
        )
        for name, judgement in judgements.alone.items()
    }


def _levels(assignment: LevelAssignment, judgement: LevelJudgement) -> tuple[DimensionLevel, ...]:
    shares = served_share(judgement.people)
    return tuple(
        DimensionLevel(
            users=level.users,
            band=level.band,
            state="unproven" if level.band else STATE_NAMES[judgement.states[i]],
            served_share=float(shares[i]),
            users_served=int(judgement.people.served[i]),
            users_judged=int(judgement.people.judged[i]),
        )
        for i, level in enumerate(assignment.levels)
    )

"""What standings amount to, as values: a capacity, a climb, the answers to the questions."""

import numpy as np

from probe_ext.verdict.levels.bracket import find_bracket
from probe_ext.verdict.levels.level_judgement import Answers, Scene, Standing
from probe_ext.verdict.levels.level_state import STATE_NAMES, served_share
from probe_ext.verdict.values.dimension_result import Question, QuestionLevel
from probe_ext.verdict.values.judgement import Climb


def served_users(scene: Scene, standing: Standing) -> int | None:
    """The capacity; 0 when the lowest level of all fails; None when nothing is proven."""
    if standing.bracket.held is not None:
        return standing.bracket.held
    lowest = min((level.users_low for level in scene.levels), default=None)
    return 0 if lowest is not None and standing.bracket.failed == lowest else None


def climb_of(scene: Scene, standing: Standing, share: float) -> Climb | None:
    """What the bands suggest, each judged as if it could prove something."""
    which = np.flatnonzero(~scene.proven)
    if not len(which):
        return None
    bands = [scene.levels[int(i)] for i in which]
    order = which[np.argsort([band.users_low for band in bands], kind="stable")].astype(np.int64)
    between = find_bracket(
        order, standing.states[order], served_share(standing.people)[order], standing.people.heard[order], share
    )
    low = None if between.held is None else scene.levels[between.held].users_low
    high = None if between.failed is None else scene.levels[between.failed].users_high
    return Climb((low, high))


def questions_of(scene: Scene, answers: Answers) -> tuple[Question, ...]:
    """Each dimension's own answer: what the capacity would be if it alone counted."""
    return tuple(
        Question(name, served_users(scene, one), (one.bracket.held, one.bracket.failed), _question_levels(scene, one))
        for name, one in answers.alone.items()
    )


def _question_levels(scene: Scene, one: Standing) -> tuple[QuestionLevel, ...]:
    shares = served_share(one.people)
    return tuple(
        QuestionLevel(
            users=level.users,
            band=level.band,
            state="unproven" if level.band else STATE_NAMES[one.states[i]],
            served_share=float(shares[i]),
            users_served=int(one.people.served[i]),
            users_heard=int(one.people.heard[i]),
        )
        for i, level in enumerate(scene.levels)
    )

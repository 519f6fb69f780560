"""The same judgement for all dimensions together and for each alone: how far each holds, and which gives way first."""

from dataclasses import dataclass

import numpy as np

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import GradedReplies, Grades
from probe_ext.verdict.grading.user_grades import Counts, UserCounts, classify, count_replies, count_users
from probe_ext.verdict.levels.bracket import Bracket, Steps, bracket, put_together
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.levels.level_state import Coverage, States, judge_levels, served_share
from probe_ext.verdict.values.columns import Bools, Floats
from probe_ext.verdict.values.json_types import DIMENSIONS


@dataclass(frozen=True)
class LevelJudgement:
    """What one way of judging says of every level."""

    counts: Counts
    people: UserCounts
    coverage: Coverage
    states: States
    """bands are judged like levels here"""
    steps: Steps
    """the levels that may prove something, by number of users"""
    bracket: Bracket


@dataclass(frozen=True)
class DimensionJudgements:
    """All dimensions together, and each alone."""

    overall: LevelJudgement
    alone: dict[str, LevelJudgement]
    breaks_first: str | None


def answer(scene: LevelAssignment, judged: GradedReplies, profile: SloProfile) -> DimensionJudgements:
    """Judge every level by everything, then by each dimension that the profile has."""
    overall = _standing(scene, judged.overall, profile, _heard(scene, judged.overall, profile))
    alone = {}
    for dimension in DIMENSIONS:
        if dimension == "answer" or getattr(profile, dimension) is not None:
            heard = _heard_alone(scene, judged.by[dimension], profile, overall.coverage)
            alone[dimension] = _standing(scene, judged.by[dimension], profile, heard)
    return DimensionJudgements(overall, alone, _breaks_first(alone))


def _standing(scene: LevelAssignment, grades: Grades, profile: SloProfile, heard: Coverage) -> LevelJudgement:
    counts = count_replies(scene.level_of, scene.user_of, grades, scene.shape)
    people = count_users(classify(counts, profile.users))
    share = profile.level.served_share
    states = judge_levels(people, heard, share)
    steps = steps_of(scene, people, heard, scene.proven)
    return LevelJudgement(counts, people, heard, states, steps, bracket(steps, share))


def steps_of(scene: LevelAssignment, people: UserCounts, heard: Coverage, which: Bools) -> Steps:
    """The chosen levels, those with the same number of users put together."""
    chosen = np.array([level.users for level in scene.levels], dtype=np.int64)[which]
    kinds = (people.served, people.strained, people.broken, people.undecided)
    of = UserCounts(*(kind[..., which] for kind in kinds))
    return put_together(chosen, of, Coverage(heard.present[which], heard.enough[which]))


def _heard(scene: LevelAssignment, grades: Grades, profile: SloProfile) -> Coverage:
    """Whether enough users of each level had enough judged replies to say that it holds."""
    ones = np.zeros_like(grades)
    seen = count_replies(scene.level_of, scene.user_of, ones, scene.shape).judged > 0
    judged = count_replies(scene.level_of, scene.user_of, grades, scene.shape).judged
    stated = np.array([level.users_low for level in scene.levels], dtype=np.int64)
    told = (judged >= scene.min_replies).sum(axis=1)
    return Coverage(np.maximum(stated, seen.sum(axis=1)), told >= profile.level.served_share * stated - 1e-9)


def _heard_alone(scene: LevelAssignment, grades: Grades, profile: SloProfile, overall: Coverage) -> Coverage:
    """A dimension alone is told of by any reply that it applies to; how many there must be is settled for all."""
    judged = count_replies(scene.level_of, scene.user_of, grades, scene.shape).judged
    stated = np.array([level.users_low for level in scene.levels], dtype=np.int64)
    told = (judged > 0).sum(axis=1)
    return Coverage(overall.present, overall.enough & (told >= profile.level.served_share * stated - 1e-9))


def _breaks_first(alone: dict[str, LevelJudgement]) -> str | None:
    """The dimension with the lowest capacity alone, of those that were seen to fail.

    Of several, the one that fails at the lower level; then the one that leaves the fewest people served there.
    """
    failing = {name: one for name, one in alone.items() if one.bracket.failed is not None}
    return min(failing, key=lambda name: _rank(failing[name])) if failing else None


def _rank(one: LevelJudgement) -> tuple[int, int, float]:
    failed = one.bracket.failed or 0
    at = int(np.flatnonzero(one.steps.users == failed)[0])
    return one.bracket.held or 0, failed, float(served_share(one.steps.people)[at])


def blame(answers: DimensionJudgements, level: int, share: float) -> list[str]:
    """The dimensions that make a level fail, the worst first; without one that does alone, the worst of all."""
    shares: dict[str, Floats] = {name: served_share(one.people) for name, one in answers.alone.items()}
    below = {name: float(values[level]) for name, values in shares.items() if values[level] < share}
    worst_first = sorted(below, key=lambda name: below[name])
    if worst_first:
        return worst_first
    short = {name: float(values[level]) for name, values in shares.items() if values[level] < 1}
    return sorted(short, key=lambda name: short[name])

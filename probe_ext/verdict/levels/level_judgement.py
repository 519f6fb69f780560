"""The same judgement for all dimensions together and for each alone: how far each holds, and which gives way first."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import DIMENSIONS, Grades, Judged
from probe_ext.verdict.grading.user_grades import Counts, Headcount, classify, count_replies, headcount
from probe_ext.verdict.levels.bracket import Bracket, Steps, bracket, put_together
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_state import Heard, States, judge_levels, served_share
from probe_ext.verdict.values.columns import Bools, Floats, Ints


@dataclass(frozen=True)
class Scene:
    """Which reply was sent in which level by which user."""

    levels: Sequence[Level]
    level_of: Ints
    """number of the level; −1 outside all levels"""
    user_of: Ints
    users: int
    """how many users the run had"""
    min_replies: int
    """judged replies that most users of a level must have"""

    @property
    def shape(self) -> tuple[int, int]:
        """Levels × users."""
        return len(self.levels), self.users

    @property
    def proven(self) -> Bools:
        """Which levels may prove something: bands never do."""
        return np.array([not level.band for level in self.levels], dtype=np.bool_)


@dataclass(frozen=True)
class Standing:
    """What one way of judging says of every level."""

    counts: Counts
    people: Headcount
    heard: Heard
    states: States
    """bands are judged like levels here"""
    steps: Steps
    """the levels that may prove something, by number of users"""
    bracket: Bracket


@dataclass(frozen=True)
class Answers:
    """All dimensions together, and each alone."""

    overall: Standing
    alone: dict[str, Standing]
    breaks_first: str | None


def rows_by_level(scene: Scene) -> list[Ints]:
    """The replies of each level, as numbers of rows."""
    order = np.argsort(scene.level_of, kind="stable")
    edges = np.searchsorted(scene.level_of[order], np.arange(len(scene.levels) + 1))
    return [order[a:b] for a, b in itertools.pairwise(edges)]


def answer(scene: Scene, judged: Judged, profile: SloProfile) -> Answers:
    """Judge every level by everything, then by each dimension that the profile has."""
    overall = _standing(scene, judged.overall, profile, _heard(scene, judged.overall, profile))
    alone = {}
    for dimension in DIMENSIONS:
        if dimension == "answer" or getattr(profile, dimension) is not None:
            heard = _heard_alone(scene, judged.by[dimension], profile, overall.heard)
            alone[dimension] = _standing(scene, judged.by[dimension], profile, heard)
    return Answers(overall, alone, _breaks_first(alone))


def _standing(scene: Scene, grades: Grades, profile: SloProfile, heard: Heard) -> Standing:
    counts = count_replies(scene.level_of, scene.user_of, grades, scene.shape)
    people = headcount(classify(counts, profile.users))
    share = profile.level.served_share
    states = judge_levels(people, heard, share)
    steps = steps_of(scene, people, heard, scene.proven)
    return Standing(counts, people, heard, states, steps, bracket(steps, share))


def steps_of(scene: Scene, people: Headcount, heard: Heard, which: Bools) -> Steps:
    """The chosen levels, those with the same number of users put together."""
    chosen = np.array([level.users for level in scene.levels], dtype=np.int64)[which]
    kinds = (people.served, people.strained, people.broken, people.undecided)
    of = Headcount(*(kind[..., which] for kind in kinds))
    return put_together(chosen, of, Heard(heard.present[which], heard.enough[which]))


def _heard(scene: Scene, grades: Grades, profile: SloProfile) -> Heard:
    """Whether enough users of each level had enough judged replies to say that it holds."""
    ones = np.zeros_like(grades)
    seen = count_replies(scene.level_of, scene.user_of, ones, scene.shape).judged > 0
    judged = count_replies(scene.level_of, scene.user_of, grades, scene.shape).judged
    stated = np.array([level.users_low for level in scene.levels], dtype=np.int64)
    told = (judged >= scene.min_replies).sum(axis=1)
    return Heard(np.maximum(stated, seen.sum(axis=1)), told >= profile.level.served_share * stated - 1e-9)


def _heard_alone(scene: Scene, grades: Grades, profile: SloProfile, overall: Heard) -> Heard:
    """A dimension alone is told of by any reply that it applies to; how many there must be is settled for all."""
    judged = count_replies(scene.level_of, scene.user_of, grades, scene.shape).judged
    stated = np.array([level.users_low for level in scene.levels], dtype=np.int64)
    told = (judged > 0).sum(axis=1)
    return Heard(overall.present, overall.enough & (told >= profile.level.served_share * stated - 1e-9))


def _breaks_first(alone: dict[str, Standing]) -> str | None:
    """The dimension with the lowest capacity alone, of those that were seen to fail.

    Of several, the one that fails at the lower level; then the one that leaves the fewest people served there.
    """
    failing = {name: one for name, one in alone.items() if one.bracket.failed is not None}
    return min(failing, key=lambda name: _rank(failing[name])) if failing else None


def _rank(one: Standing) -> tuple[int, int, float]:
    failed = one.bracket.failed or 0
    at = int(np.flatnonzero(one.steps.users == failed)[0])
    return one.bracket.held or 0, failed, float(served_share(one.steps.people)[at])


def blame(answers: Answers, level: int, share: float) -> list[str]:
    """The dimensions that make a level fail, the worst first; without one that does alone, the worst of all."""
    shares: dict[str, Floats] = {name: served_share(one.people) for name, one in answers.alone.items()}
    below = {name: float(values[level]) for name, values in shares.items() if values[level] < share}
    worst_first = sorted(below, key=lambda name: below[name])
    if worst_first:
        return worst_first
    short = {name: float(values[level]) for name, values in shares.items() if values[level] < 1}
    return sorted(short, key=lambda name: short[name])

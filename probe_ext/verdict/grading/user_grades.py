"""Classify users by all their judged replies of a level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.reply_grades import BROKEN, STRAINED, Grades
from probe_ext.verdict.values.columns import Ints

UNHEARD, SERVED, STRAINED_USER, BROKEN_USER, UNDECIDED = range(5)

Kinds = NDArray[np.int8]
"""One of the states above per user."""

BROKEN_SHARE_FROM, DECIDED_FROM = 100, 10
"""Judged replies of a user below which none may be broken, and below which a single strained one decides nothing."""
EPSILON = 1e-9
"""Tolerance for rounding, so that 9 of 10 are 90 %."""


@dataclass(frozen=True)
class Counts:
    """Judged replies by group (such as a level) and user: arrays of one shape, groups × users."""

    judged: NDArray[np.int64]
    strained: NDArray[np.int64]
    broken: NDArray[np.int64]


def count_replies(group: Ints, user: Ints, grades: Grades, shape: tuple[int, int]) -> Counts:
    """Count the judged replies of each group and user; group −1 is left out."""
    cell = group * shape[1] + user
    inside = group >= 0

    def counted(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(cell[inside & which], minlength=shape[0] * shape[1]).reshape(shape)

    return Counts(counted(grades >= 0), counted(grades == STRAINED), counted(grades == BROKEN))


def classify(counts: Counts, rules: Users) -> Kinds:
    """Classify each user; the figures are those of the default profile.

    *served*: at least 90 % of replies served and at most 1 % broken (none under 100 replies); *undecided*: fewer than
    10 replies, one of them strained and none broken; *broken*: more broken replies than that; *strained*: all others;
    *unheard*: no judged reply.
    """
    judged, strained, broken = counts.judged, counts.strained, counts.broken
    allowed = np.where(judged >= BROKEN_SHARE_FROM, rules.broken_share * judged + EPSILON, 0.0)
    too_broken = broken > allowed
    enough_served = judged - strained - broken >= rules.served_share * judged - EPSILON
    undecided = (judged < DECIDED_FROM) & (strained == 1) & (broken == 0)
    return np.select(
        [judged == 0, enough_served & ~too_broken, undecided, too_broken],
        [np.int8(UNHEARD), np.int8(SERVED), np.int8(UNDECIDED), np.int8(BROKEN_USER)],
        np.int8(STRAINED_USER),
    ).astype(np.int8)


@dataclass(frozen=True)
class UserCounts:
    """Number of users in each state: arrays with one value per level, after any axes of a resampling."""

    served: NDArray[np.int64]
    strained: NDArray[np.int64]
    broken: NDArray[np.int64]
    undecided: NDArray[np.int64]

    @property
    def judged(self) -> NDArray[np.int64]:
        """Users with at least one judged reply."""
        return self.served + self.strained + self.broken + self.undecided

    @property
    def not_served(self) -> NDArray[np.int64]:
        """Users who are strained or broken, whatever more replies would show."""
        return self.strained + self.broken


def count_users(kinds: Kinds, weights: NDArray[np.int64] | None = None) -> UserCounts:
    """Count users along the last axis, each as often as `weights` says."""

    def count(kind: int) -> NDArray[np.int64]:
        is_kind = kinds == kind
        return np.asarray(is_kind.sum(axis=-1) if weights is None else (is_kind * weights).sum(axis=-1))

    return UserCounts(count(SERVED), count(STRAINED_USER), count(BROKEN_USER), count(UNDECIDED))

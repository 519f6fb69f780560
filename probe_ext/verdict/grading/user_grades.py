"""From replies to people: a user is followed over all judged replies of a level."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.reply_grades import BROKEN, STRAINED, Grades
from probe_ext.verdict.values.columns import Ints

UNHEARD, SERVED, STRAINED_USER, BROKEN_USER, UNDECIDED = range(5)

Kinds = NDArray[np.int8]
"""one of these for each user"""

EPSILON = 1e-9
"""so that 9 of 10 are 90 %"""


@dataclass(frozen=True)
class Counts:
    """Judged replies by level (or any group) and user: arrays of one shape."""

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
    """How each user felt.

    *served*: at least 90 % of the replies served and at most 1 % broken (none under 100 replies); *undecided*: fewer
    than 10 replies, one strained and none broken; *broken*: more broken replies than that; *strained* otherwise;
    *unheard* without a judged reply. The figures are the profile's.
    """
    judged, strained, broken = counts.judged, counts.strained, counts.broken
    allowed = np.where(judged >= rules.broken_share_from, rules.broken_share * judged + EPSILON, 0.0)
    too_broken = broken > allowed
    enough_served = judged - strained - broken >= rules.served_share * judged - EPSILON
    undecided = (judged < rules.decided_from) & (strained == 1) & (broken == 0)
    return np.select(
        [judged == 0, enough_served & ~too_broken, undecided, too_broken],
        [np.int8(UNHEARD), np.int8(SERVED), np.int8(UNDECIDED), np.int8(BROKEN_USER)],
        np.int8(STRAINED_USER),
    ).astype(np.int8)


@dataclass(frozen=True)
class Headcount:
    """How many people of each kind a level had: arrays with one figure a level (any leading shape in a resampling)."""

    served: NDArray[np.int64]
    strained: NDArray[np.int64]
    broken: NDArray[np.int64]
    undecided: NDArray[np.int64]

    @property
    def heard(self) -> NDArray[np.int64]:
        """People with at least one judged reply."""
        return self.served + self.strained + self.broken + self.undecided

    @property
    def lost(self) -> NDArray[np.int64]:
        """People who are neither served nor may yet turn out to be."""
        return self.strained + self.broken


def headcount(kinds: Kinds, weights: NDArray[np.int64] | None = None) -> Headcount:
    """Count people along the last axis, each as often as `weights` says."""

    def of(kind: int) -> NDArray[np.int64]:
        is_kind = kinds == kind
        return np.asarray(is_kind.sum(axis=-1) if weights is None else (is_kind * weights).sum(axis=-1))

    return Headcount(of(SERVED), of(STRAINED_USER), of(BROKEN_USER), of(UNDECIDED))

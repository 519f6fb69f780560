"""Whether a level holds, fails, or is not proven either way."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.grading.user_grades import EPSILON, UserCounts
from probe_ext.verdict.values.columns import Bools, Floats
from probe_ext.verdict.values.level_result import State

UNPROVEN, HELD, FAILED = np.int8(0), np.int8(1), np.int8(2)
STATE_NAMES: tuple[State, ...] = ("unproven", "held", "failed")

States = NDArray[np.int8]


@dataclass(frozen=True)
class Coverage:
    """How much was heard of a level's users."""

    present: NDArray[np.int64]
    """users there were: the count of the level, or more where more were seen (a user who left and was replaced)"""
    enough: Bools
    """whether enough of them had enough judged replies"""


def judge_levels(people: UserCounts, heard: Coverage, share: float) -> States:
    """Held if served/heard reaches the share; failed if (served + undecided)/heard does not; else unproven.

    Without enough replies a level is unproven, unless it fails even if everybody yet unheard, or heard too little,
    turned out served: people who are strained or broken are so already.
    """
    heard_of = people.judged
    held = served_share(people) >= share - EPSILON
    hopeful = _ratio(people.served + people.undecided, heard_of)
    failed = hopeful < share - EPSILON
    certain = _ratio(heard.present - people.not_served, heard.present) < share - EPSILON
    state = np.where(held, HELD, np.where(failed, FAILED, UNPROVEN))
    few = np.where(certain & failed, FAILED, UNPROVEN)
    return np.where(heard_of == 0, UNPROVEN, np.where(heard.enough, state, few)).astype(np.int8)


def served_share(people: UserCounts) -> Floats:
    """Served of heard people; NaN where nobody was heard."""
    return _ratio(people.served, people.judged)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    out = np.full(np.broadcast(part, whole).shape, np.nan)
    share: Floats = np.divide(part, whole, out=out, where=np.broadcast_to(whole > 0, out.shape))
    return share

"""Capacity: the highest measured number of users that holds, under a monotone fit of the served share over levels.

A lower level that is unproven caps nothing; a lower level that is proven to fail does, whatever a higher one showed.
Levels with the same number of users count as one: their people are added up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.grading.user_grades import EPSILON, UserCounts
from probe_ext.verdict.levels.isotonic import falling_fit
from probe_ext.verdict.levels.level_state import FAILED, HELD, Coverage, States, judge_levels, served_share
from probe_ext.verdict.values.columns import Bools, Floats, Ints


@dataclass(frozen=True)
class Bracket:
    """Between which measured numbers of users the boundary lies; None where there is none."""

    held: int | None
    failed: int | None


@dataclass(frozen=True)
class Steps:
    """Numbers of users in rising order, each with all its levels put together."""

    users: Ints
    people: UserCounts
    coverage: Coverage


def put_together(users: Ints, people: UserCounts, heard: Coverage) -> Steps:
    """Add up the people of levels with the same number of users. The arrays' last axis is the level."""
    distinct, number = np.unique(users, return_inverse=True)

    def summed(values: NDArray[np.int64]) -> NDArray[np.int64]:
        out = np.zeros((*values.shape[:-1], len(distinct)), dtype=np.int64)
        for level, step in enumerate(number):
            out[..., step] += values[..., level]
        return out

    counts = UserCounts(*(summed(kind) for kind in (people.served, people.strained, people.broken, people.undecided)))
    enough: Bools = np.zeros(len(distinct), dtype=np.bool_)
    np.logical_or.at(enough, number, heard.enough)
    return Steps(distinct, counts, Coverage(summed(heard.present), enough))


def states_of(steps: Steps, share: float) -> States:
    """Whether each step holds or fails; of a resampling, by replicate and step."""
    return judge_levels(steps.people, steps.coverage, share)


def bracket(steps: Steps, share: float) -> Bracket:
    """The highest step that holds below the first that is proven to fail, and that one."""
    return find_bracket(steps.users, states_of(steps, share), served_share(steps.people), steps.people.judged, share)


def find_bracket(users: Ints, states: States, shares: Floats, heard: Ints, share: float) -> Bracket:
    """The same from what is known of each step: its state, its served share, and how many were heard."""
    fits = fitted(states, shares, heard) >= share - EPSILON
    failing = np.flatnonzero(states == FAILED)
    first = int(failing[0]) if len(failing) else len(users)
    holding = np.flatnonzero((states == HELD)[:first] & fits[:first])
    return Bracket(
        held=int(users[holding[-1]]) if len(holding) else None,
        failed=int(users[first]) if len(failing) else None,
    )


def fitted(states: States, shares: Floats, heard: Ints) -> Floats:
    """The served share by a fit that never rises with the users; only steps that hold or fail count in it."""
    decided = (states == HELD) | (states == FAILED)
    return falling_fit(shares, np.where(decided, heard, 0).astype(np.float64))

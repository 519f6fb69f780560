"""Somebody else's load against a level that is too much."""

import numpy as np
import pytest
from runs import random_visit, step_after, visit

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit

USERS, CYCLES = 20, 10


def shares_by_cycle(shares: list[float], *, users: int = USERS, start: float = 100.0, seed: int = 5) -> Visit:
    share = np.repeat(shares, users)
    return visit(users, np.random.default_rng(seed).random(len(share)) < share, start=start)


def run(doubtful: Visit, *others: Visit):
    return estimate([random_visit(10, 200, 0.98, seed=1), doubtful, *others])


@pytest.mark.parametrize("first", [0, 2, 5])
def test_one_bad_stretch_needs_a_second_visit(first: int) -> None:
    shares = [0.97] * CYCLES
    shares[first : first + 4] = [0.05] * 4
    level = run(shares_by_cycle(shares)).level(USERS)
    assert level is not None
    assert (level.state, level.reasons) == ("unproven", ("needs_second_visit",))
    result = run(shares_by_cycle(shares))
    step = step_after(result)
    assert step is not None
    assert (step.users, step.reason) == (USERS, "second_visit")


def test_second_visit_that_is_fine_leaves_the_disturbed_one_out() -> None:
    disturbed = shares_by_cycle([0.97] * 4 + [0.05] * 4 + [0.97] * 2)
    fine = [random_visit(USERS, 400, 0.99, seed=seed, start=200.0 + 50 * seed) for seed in range(3)]
    level = run(disturbed, *fine).level(USERS)
    assert level is not None
    assert level.state == "held"


def test_second_visit_that_agrees_proves_the_level_failed() -> None:
    bad = shares_by_cycle([0.97] * 3 + [0.05] * 5 + [0.97] * 2)
    again = shares_by_cycle([0.4] * CYCLES, start=200.0, seed=8)
    level = run(bad, again, shares_by_cycle([0.3] * CYCLES, start=250.0, seed=9)).level(USERS)
    assert level is not None
    assert level.state == "failed"


@pytest.mark.parametrize(
    "shares",
    [[0.5] * CYCLES, [1, 1, 0.9, 0.7, 0.5, 0.3, 0.1, 0, 0, 0], [1, 1, 1, 1, 0.1, 0, 0, 0, 0, 0]],
    ids=["bad all through", "queue that builds up", "queue that passes the bound"],
)
def test_overload_is_proven_in_one_visit(shares: list[float]) -> None:
    level = run(shares_by_cycle(shares)).level(USERS)
    assert level is not None
    assert level.state == "failed"


def test_stretch_at_the_end_counts_as_disturbed_if_more_users_are_served_better_after_it() -> None:
    ends_badly = shares_by_cycle([0.98] * 5 + [0.03] * 5)
    better = shares_by_cycle([0.95] * CYCLES, users=30, start=150.0, seed=6)
    level = run(ends_badly, better).level(USERS)
    assert level is not None
    assert level.state != "failed"

"""From replies to users, from users to levels, from levels to the capacity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.user_grades import Counts, UserCounts, classify, count_users
from probe_ext.verdict.levels.bracket import Bracket, bracket, put_together
from probe_ext.verdict.levels.isotonic import falling_fit
from probe_ext.verdict.levels.level_state import STATE_NAMES, Coverage, judge_levels

KINDS = ("unheard", "served", "strained", "broken", "undecided")


def kind(judged: int, strained: int = 0, broken: int = 0) -> str:
    """Classify a user with these replies."""
    return KINDS[int(classify(Counts(np.array(judged), np.array(strained), np.array(broken)), Users()))]


@pytest.mark.parametrize(
    ("judged", "strained", "broken", "expected"),
    [
        (0, 0, 0, "unheard"),
        (1, 0, 0, "served"),
        (1, 1, 0, "undecided"),
        (2, 1, 0, "undecided"),
        (9, 1, 0, "undecided"),
        (10, 1, 0, "served"),
        (9, 2, 0, "strained"),
        (10, 2, 0, "strained"),
        (2, 0, 1, "broken"),
        (99, 0, 1, "broken"),
        (100, 0, 1, "served"),
        (100, 0, 2, "broken"),
        (200, 0, 2, "served"),
        (100, 10, 0, "served"),
        (100, 10, 1, "strained"),
        (9, 1, 1, "broken"),
    ],
)
def test_classification_of_a_user(judged: int, strained: int, broken: int, expected: str) -> None:
    assert kind(judged, strained, broken) == expected


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=30))
def test_every_user_has_one_state(users: list[tuple[int, int, int]]) -> None:
    served, strained, broken = (np.array(column) for column in zip(*users, strict=True))
    people = count_users(classify(Counts(served + strained + broken, strained, broken), Users()))
    unheard = int((served + strained + broken == 0).sum())
    assert int(people.judged) + unheard == len(users)


def state(
    served: int, strained: int = 0, broken: int = 0, undecided: int = 0, *, unheard: int = 0, enough: bool = True
) -> str:
    """Return the state of a level with these users."""
    people = UserCounts(*(np.array([n]) for n in (served, strained, broken, undecided)))
    heard = Coverage(people.judged + unheard, np.array([enough]))
    return STATE_NAMES[int(judge_levels(people, heard, 0.95)[0])]


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ((19, 1), "held"),
        ((18, 2), "failed"),
        ((8, 0), "held"),
        ((7, 1), "failed"),
        ((7, 0, 0, 1), "unproven"),
        ((18, 1, 0, 1), "unproven"),
        ((17, 2, 0, 1), "failed"),
        ((0, 0, 8), "failed"),
        ((0, 0, 0, 0), "unproven"),
    ],
)
def test_a_level_holds_fails_or_is_unproven(people: tuple[int, ...], expected: str) -> None:
    assert state(*people) == expected


def test_too_few_replies_prove_only_a_certain_failure() -> None:
    assert state(8, enough=False) == "unproven"
    assert state(0, 0, 8, enough=False) == "failed"
    assert state(0, 0, 2, unheard=98, enough=False) == "unproven"
    assert state(0, 0, 6, unheard=94, enough=False) == "failed"


Served = tuple[int, int, int]
"""Users, served, undecided; the others are strained."""


def between(*levels: Served, enough: tuple[bool, ...] | None = None) -> Bracket:
    """Return the bracket of levels in which every user has replies."""
    users, served, undecided = (np.array(column) for column in zip(*levels, strict=True))
    people = UserCounts(served, users - served - undecided, np.zeros_like(users), undecided)
    told = np.ones(len(users), dtype=bool) if enough is None else np.array(enough)
    return bracket(put_together(users, people, Coverage(users, told)), 0.95)


def test_the_highest_level_that_holds() -> None:
    assert between((2, 2, 0), (4, 4, 0), (8, 3, 0)) == Bracket(4, 8)
    assert between((2, 2, 0), (4, 4, 0)) == Bracket(4, None)
    assert between((2, 0, 0), (4, 0, 0)) == Bracket(None, 2)


def test_a_lower_unproven_level_does_not_cap() -> None:
    assert between((2, 2, 0), (4, 3, 1), (8, 8, 0)) == Bracket(8, None)
    assert between((2, 2, 0), (4, 4, 0), (8, 8, 0), enough=(True, False, True)) == Bracket(8, None)


def test_a_lower_failed_level_caps() -> None:
    assert between((1, 0, 0), (64, 64, 0)) == Bracket(None, 1)
    assert between((2, 2, 0), (8, 4, 0), (64, 64, 0)) == Bracket(2, 8)


def test_levels_with_the_same_users_are_merged() -> None:
    assert between((8, 8, 0), (8, 7, 0), (16, 0, 0)) == Bracket(None, 8), "15 of 16 are fewer than 95 %"
    assert between((20, 20, 0), (20, 19, 0), (40, 0, 0)) == Bracket(20, 40)


SHARES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), max_size=12)


@given(SHARES)
def test_the_fit_never_rises_keeps_the_mean_and_leaves_a_falling_curve_alone(levels: list[tuple[float, int]]) -> None:
    values = np.array([value for value, _ in levels])
    weights = np.array([weight for _, weight in levels], dtype=np.float64)
    fit = falling_fit(values, weights)
    counts = weights > 0
    assert np.isnan(fit[~counts]).all()
    assert (np.diff(fit[counts]) <= 1e-12).all()
    assert (fit[counts] * weights[counts]).sum() == pytest.approx((values[counts] * weights[counts]).sum(), abs=1e-9)
    again = falling_fit(fit, weights)
    assert again[counts] == pytest.approx(fit[counts])


def test_the_fit_pools_by_weight() -> None:
    fit = falling_fit(np.array([1.0, 0.5, 1.0, 0.2]), np.array([10.0, 10.0, 30.0, 5.0]))
    assert fit == pytest.approx([1.0, 0.875, 0.875, 0.2])

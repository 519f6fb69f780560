"""People who differ, and people who don't."""

from dataclasses import replace

import numpy as np
import pytest
from runs import random_visit, visit

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit, group_by_users
from probe_ext.verdict.inference.user_differences import Mixture, compare_users, split_users, user_residuals
from probe_ext.verdict.values.capacity_estimate import Criteria


def two_kinds(users: int, cycles: int, worse: int, shares: tuple[float, float], seed: int = 0):
    rng = np.random.default_rng(seed)
    user = np.concatenate([rng.permutation(users) for _ in range(cycles)])
    taken = visit(users, rng.random(users * cycles) < np.where(user < worse, shares[0], shares[1]))
    return replace(taken, user=user)


def test_users_who_are_alike_are_rarely_called_different() -> None:
    excess = [user_residuals([random_visit(16, 320, 0.85, seed=seed)]).excess() for seed in range(200)]
    assert np.mean(np.array(excess) > 2.4) < 0.05
    assert abs(np.mean(excess)) < 0.3


def test_moment_that_is_bad_for_all_makes_nobody_different() -> None:
    fates = np.ones(320, dtype=np.bool_)
    fates[100:160] = False
    one = visit(16, fates)
    user = np.concatenate([np.random.default_rng(seed).permutation(16) for seed in range(20)])
    assert user_residuals([replace(one, user=user)]).excess() < 1.5


def test_worse_group_is_found_and_measured() -> None:
    residuals = user_residuals([two_kinds(40, 15, 10, (0.3, 0.97))])
    assert residuals.excess() > 10
    mixture = split_users(residuals)
    assert mixture is not None
    assert mixture.chance.sum() == pytest.approx(10, abs=1)
    assert mixture.worse_share == pytest.approx(0.3, abs=0.08)
    assert mixture.others_share == pytest.approx(0.97, abs=0.02)


def in_turns(users: int, worse: int, visits: int, *, cycles: int = 12) -> list[Visit]:
    """As in a search: each visit to a level has users of its own, some of whom are worse off."""
    found = []
    for place in range(visits):
        one = two_kinds(users, cycles, worse, (0.2, 0.99), seed=place)
        found.append(replace(one, user=one.user + 100 * place, start=100.0 * place, sent=one.sent + 100.0 * place))
    return found


def test_worse_users_are_counted_of_those_who_were_there_at_once() -> None:
    """Of 60 users in five visits 20 are worse off, but never more than 4 of 12 at once."""
    found = estimate(in_turns(12, 4, 5))
    group = found.levels[0].worse_group
    assert group is not None
    assert group.users == 4
    assert found.groups is not None
    assert (found.groups.worse_users, found.groups.users) == (4, 12)


def test_groups_are_those_of_the_level_that_the_sentence_names() -> None:
    """With more users nobody is served, so that nobody there is better off."""
    above = [replace(random_visit(16, 160, 0.02, seed=3, start=600.0 + 100 * n), user=np.arange(160) % 16 + 900)
             for n in range(2)]  # fmt: skip
    found = estimate([*in_turns(12, 4, 3), *above])
    assert found.groups is not None
    level = found.level(12)
    assert level is not None
    assert level.worse_group is not None
    assert (found.groups.users, found.groups.worse_users) == (12, level.worse_group.users)


def test_users_who_take_the_places_of_others_are_no_more_than_the_level_has() -> None:
    """On a ramp, or where users leave, one visit has more users than were there at once."""
    one = two_kinds(24, 12, 8, (0.2, 0.99))
    (level,) = group_by_users([replace(one, users=12)])
    mixture = split_users(user_residuals(level.visits))
    assert mixture is not None
    assert mixture.chance.sum() == pytest.approx(8, abs=0.5)
    assert mixture.worse_at_once(level) == 4


def test_visits_with_more_replies_count_for_more() -> None:
    few, many = two_kinds(12, 4, 6, (0.0, 1.0)), two_kinds(12, 20, 2, (0.0, 1.0), seed=1)
    (level,) = group_by_users([few, replace(many, user=many.user + 100, start=100.0)])
    mixture = split_users(user_residuals(level.visits))
    assert mixture is not None
    assert mixture.worse_at_once(level) == round((4 * 6 + 20 * 2) / 24)


def test_neither_nobody_nor_everybody_is_worse_off() -> None:
    (level,) = group_by_users([two_kinds(2, 20, 1, (0.0, 1.0))])
    everybody = Mixture(np.arange(2), np.ones(2), 0.1, 0.9)
    assert (everybody.worse_at_once(level), replace(everybody, chance=np.zeros(2)).worse_at_once(level)) == (1, 1)


def test_few_worse_users_leave_the_others_alike() -> None:
    comparison = compare_users(group_by_users([two_kinds(60, 15, 2, (0.2, 0.97))]), Criteria(), searching=False)
    assert comparison.differ
    assert comparison.rest_alike


def test_many_worse_users_do_not() -> None:
    comparison = compare_users(group_by_users([two_kinds(60, 15, 15, (0.2, 0.97))]), Criteria(), searching=False)
    assert comparison.differ
    assert not comparison.rest_alike


def test_four_replies_of_a_user_do_not_make_users_differ() -> None:
    """Three of the four first words of one user were late, and one of the five of another: seen in a real run."""
    user = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0])
    late = np.isin(np.arange(17), [3, 7, 14, 15])
    level = group_by_users([replace(visit(4, ~late), user=user)])
    assert user_residuals(level[0].visits).excess() > 2.4
    assert not compare_users(level, Criteria(), searching=False).differ


def test_few_replies_of_many_users_still_tell_who_gets_nothing() -> None:
    comparison = compare_users(group_by_users([two_kinds(300, 3, 20, (0.0, 0.99))]), Criteria(), searching=False)
    assert comparison.differ


def test_less_error_takes_a_clearer_difference() -> None:
    """Of several kinds of user, each may have a part of the error only."""
    found = user_residuals([two_kinds(16, 20, 3, (0.7, 0.9), seed=4)])
    assert found.differ(0.025)
    assert not found.differ(1e-9)


@pytest.mark.parametrize("served", [[True], [False], [True] * 9, [False] * 9])
def test_nothing_to_compare(served: list[bool]) -> None:
    residuals = user_residuals([visit(3, served)])
    assert residuals.excess() == 0.0
    assert split_users(residuals) is None


def test_users_who_take_fixed_turns_are_compared_all_the_same() -> None:
    rng = np.random.default_rng(3)
    worse = np.arange(40 * 15) % 40 < 10
    assert user_residuals([visit(40, rng.random(600) < np.where(worse, 0.3, 0.97))]).excess() > 2.4

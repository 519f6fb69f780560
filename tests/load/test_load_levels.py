"""Levels: how a list of them is read, and how a run steps through them."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.load.level_plan import PATIENCE, LevelPlan, LevelSteps, parse_levels

PLAN = LevelPlan((2, 5, 3), hold=10.0, settle=4.0, min_replies=3)


def all_heard(since: float) -> int:
    return 1000


def nobody_heard(since: float) -> int:
    return 0


def walk(
    steps: LevelSteps, heard: Callable[[float], int], *, until: float = 500.0, users: Callable[[float, int], int]
) -> list[tuple[float, int | None]]:
    """Ask once a second; when the answer changed, and to what. `users(t, target)` is how many there are."""
    seen: list[tuple[float, int | None]] = []
    target: int | None = steps.level
    t = 0.0
    while t <= until:
        target = steps.target(t, users(t, target or 0), heard)
        if not seen or seen[-1][1] != target:
            seen.append((t, target))
        if target is None:
            return seen
        t += 1.0
    return seen


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1,2,4,8", (1, 2, 4, 8)),
        (" 1 , 2 ", (1, 2)),
        ("16", (16,)),
        ("8,4,8", (8, 4, 8)),
        ("007", (7,)),
        ("1000000", (1_000_000,)),
    ],
)
def test_a_list_of_numbers_of_users_is_read(text: str, levels: tuple[int, ...]) -> None:
    assert parse_levels(text) == levels


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0,-3,x", "'0'"),
        ("1,-3", "'-3'"),
        ("1,x", "'x'"),
        ("1,2.5", "'2.5'"),
        ("1,2e3", "'2e3'"),
        ("1,,2", "''"),
        ("1,", "''"),
        ("", "''"),
        (" ", "''"),
        ("1 2", "'1 2'"),
        ("1;2", "'1;2'"),
        ("+1", r"'\+1'"),
        ("1_000", "'1_000'"),
        ("٣", "'٣'"),
        ("²", "'²'"),
        ("1000001", "'1000001'"),
        ("9" * 5000, "'9999"),
        ("1,1", "1 follows itself"),
        ("2,4,4,8", "4 follows itself"),
        ("1,01", "1 follows itself"),
    ],
)
def test_what_is_no_list_of_levels_is_refused_and_the_wrong_part_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        parse_levels(text)
    assert len(str(refused.value)) < 120


@given(st.text(alphabet="0123456789,- x\n٣", max_size=20))
def test_any_text_is_levels_or_refused(text: str) -> None:
    try:
        levels = parse_levels(text)
    except ValueError:
        levels = None
    if levels is not None:
        assert levels
        assert all(1 <= level <= 1_000_000 for level in levels)
        assert all(a != b for a, b in itertools.pairwise(levels))


def test_each_level_is_held_for_its_time_after_it_has_settled() -> None:
    steps = LevelSteps(PLAN)
    seen = walk(steps, all_heard, users=lambda t, target: target)
    # 4 s to settle and 10 s held, each from the moment at which the users are there (seen a second after the change)
    assert seen == [(0.0, 2), (14.0, 5), (29.0, 3), (44.0, None)]
    assert steps.never_reached == []


def test_settling_begins_when_the_users_are_there_and_not_when_they_are_asked_for() -> None:
    steps = LevelSteps(LevelPlan((2, 5), hold=10.0, settle=4.0, min_replies=3))

    def slowly(t: float, target: int) -> int:
        return target if t >= 6 else 0

    seen = walk(steps, all_heard, users=slowly)
    assert seen == [(0.0, 2), (20.0, 5), (35.0, None)]


def test_a_level_lasts_until_every_user_has_enough_replies_of_its_measured_part() -> None:
    asked: list[float] = []

    def heard(since: float) -> int:
        asked.append(since)
        return 2 if len(asked) > 7 else 1

    steps = LevelSteps(LevelPlan((2,), hold=10.0, settle=4.0, min_replies=3))
    seen = walk(steps, heard, users=lambda t, target: target)
    assert seen == [(0.0, 2), (21.0, None)]
    assert set(asked) == {4.0}  # only replies sent after it had settled count


def test_nobody_is_asked_about_before_the_hold_is_over() -> None:
    steps = LevelSteps(LevelPlan((2,), hold=10.0, settle=4.0, min_replies=3))

    def heard(since: float) -> int:
        raise AssertionError("asked too early")

    for t in range(14):
        assert steps.target(float(t), 2, heard) == 2


def test_a_level_that_stays_silent_is_left_after_five_times_its_hold() -> None:
    steps = LevelSteps(LevelPlan((2, 3), hold=10.0, settle=4.0, min_replies=3))
    seen = walk(steps, nobody_heard, users=lambda t, target: target)
    assert PATIENCE == 5
    assert seen == [(0.0, 2), (54.0, 3), (109.0, None)]
    assert steps.never_reached == []  # reached, though unheard


def test_a_level_that_is_never_reached_is_left_and_named() -> None:
    steps = LevelSteps(PLAN)
    seen = walk(steps, all_heard, users=lambda t, target: min(target, 3))
    assert steps.never_reached == [5]
    assert seen == [(0.0, 2), (14.0, 5), (68.0, 3), (83.0, None)]


def test_a_level_reached_in_the_last_moment_is_still_measured_in_full() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    seen = walk(steps, all_heard, users=lambda t, target: 4 if t >= 53 else 1)
    assert seen == [(0.0, 4), (67.0, None)]
    assert steps.never_reached == []


def test_users_that_are_lost_after_a_level_was_reached_do_not_begin_it_again() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    seen = walk(steps, all_heard, users=lambda t, target: 3 if 5 <= t <= 8 else 4)
    assert seen == [(0.0, 4), (14.0, None)]


def test_the_measured_part_is_told() -> None:
    steps = LevelSteps(PLAN)
    assert steps.measured_from() is None
    steps.target(3.0, 1, all_heard)
    assert steps.measured_from() is None
    steps.target(5.0, 2, all_heard)
    assert steps.measured_from() == 9.0


def test_asked_again_after_its_end_it_stays_at_its_end() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    assert walk(steps, all_heard, users=lambda t, target: 1)[-1][1] is None
    assert [steps.target(1000.0 + t, 1, all_heard) for t in range(3)] == [None, None, None]
    assert steps.never_reached == [4]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4).filter(
        lambda ls: all(a != b for a, b in itertools.pairwise(ls))
    ),
    st.integers(1, 12),
    st.integers(0, 6),
    st.booleans(),
    st.booleans(),
)
def test_every_plan_comes_to_its_end_through_all_its_levels(
    levels: list[int], hold: int, settle: int, comes: bool, speaks: bool
) -> None:
    steps = LevelSteps(LevelPlan(tuple(levels), float(hold), float(settle), 3))
    longest = len(levels) * (PATIENCE * hold + settle + 2)
    seen = walk(
        steps,
        all_heard if speaks else nobody_heard,
        until=float(longest),
        users=lambda t, target: target if comes else 0,
    )
    assert [target for _, target in seen] == [*levels, None]
    assert steps.never_reached == ([] if comes else levels)
    held = [b - a for (a, _), (b, _) in itertools.pairwise(seen)]
    assert min(held) >= hold + settle

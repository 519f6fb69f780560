"""Level lists are parsed, and a run steps through them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.load.level_plan import MAX_HOLD_FACTOR, LevelPlan, LevelSteps, parse_levels

PLAN = LevelPlan((2, 5, 3), hold=10.0, settle=4.0, min_replies=3)


@dataclass
class Level:
    """What a run says of one level."""

    state: str = "unproven"
    share_fit: float = 1.0
    seconds_needed: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass
class Run:
    """A monitor that knows what it is told: how many users have enough replies, and each level's estimate."""

    enough: Callable[[float], int] = lambda since: 1000
    levels: dict[int, Level] = field(default_factory=dict)
    visits: list[tuple[float, int]] = field(default_factory=list)
    ends: list[tuple[float, bool]] = field(default_factory=list)
    needed_share: float = 0.9
    estimate_: float | None = None
    interval: tuple[int, int | None] | None = None
    bracket: tuple[int | None, int | None] = (None, None)

    def users_with_enough_replies(self, since: float) -> int:
        return self.enough(since)

    def begin_visit(self, now: float, users: int) -> None:
        self.visits.append((now, users))

    def end_visit(self, now: float, *, more_users: bool) -> None:
        self.ends.append((now, more_users))

    def estimate(self, now: float) -> "Run":
        return self

    def level(self, users: int) -> Level | None:
        return self.levels.get(users)

    def reply_cycle(self) -> float:
        return 1.0

    def is_backed_up(self, level: int) -> bool:
        return False

    def users_replied(self, since: float) -> int:
        return 1000

    def has_other_load(self, now: float) -> bool:
        return False

    def visit_counts(self, now: float) -> tuple[int, int]:
        return 0, 0


ALL_REPLIED, NONE_REPLIED = Run(), Run(enough=lambda since: 0)


def walk(
    steps: LevelSteps,
    monitor: Any,
    *,
    until: float = 500.0,
    users: Callable[[float, int], int],
) -> list[tuple[float, int | None]]:
    """Call target() once a second; return the times and values of its changes. `users(t, target)` are running."""
    changes: list[tuple[float, int | None]] = []
    target: int | None = steps.level
    t = 0.0
    while t <= until:
        target = steps.target(t, users(t, target or 0), monitor)
        if not changes or changes[-1][1] != target:
            changes.append((t, target))
        if target is None:
            return changes
        t += 1.0
    return changes


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
def test_parses_user_counts(text: str, levels: tuple[int, ...]) -> None:
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
        ("1,1", "1 is repeated"),
        ("2,4,4,8", "4 is repeated"),
        ("1,01", "1 is repeated"),
    ],
)
def test_rejects_an_invalid_list_and_names_the_invalid_part(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as rejected:
        parse_levels(text)
    assert len(str(rejected.value)) < 120


@given(st.text(alphabet="0123456789,- x\n٣", max_size=20))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        levels = parse_levels(text)
    except ValueError:
        levels = None
    if levels is not None:
        assert levels
        assert all(1 <= level <= 1_000_000 for level in levels)
        assert all(a != b for a, b in itertools.pairwise(levels))


def test_holds_each_level_after_it_has_settled() -> None:
    steps = LevelSteps(PLAN)
    changes = walk(steps, ALL_REPLIED, users=lambda t, target: target)
    # 4 s to settle plus 10 s hold, counted from when all users are running (seen a second after the change)
    # and 4 s more where a queue of more users has to go first
    assert changes == [(0.0, 2), (14.0, 5), (29.0, 3), (48.0, None)]
    assert steps.never_reached == []


def test_settling_begins_when_all_users_are_running() -> None:
    steps = LevelSteps(LevelPlan((2, 5), hold=10.0, settle=4.0, min_replies=3))

    def slow_ramp(t: float, target: int) -> int:
        return target if t >= 6 else 0

    changes = walk(steps, ALL_REPLIED, users=slow_ramp)
    assert changes == [(0.0, 2), (20.0, 5), (35.0, None)]


def test_a_level_lasts_until_every_user_has_enough_replies_in_the_measured_part() -> None:
    calls: list[float] = []

    def one_slow_user(since: float) -> int:
        calls.append(since)
        return 2 if len(calls) > 7 else 1

    steps = LevelSteps(LevelPlan((2,), hold=10.0, settle=4.0, min_replies=3))
    changes = walk(steps, Run(one_slow_user), users=lambda t, target: target)
    assert changes == [(0.0, 2), (21.0, None)]
    assert set(calls) == {4.0}  # counts only replies sent after settling


def test_does_not_count_replies_before_the_hold_is_over() -> None:
    steps = LevelSteps(LevelPlan((2,), hold=10.0, settle=4.0, min_replies=3))

    def too_early(since: float) -> int:
        raise AssertionError("called before the hold was over")

    for t in range(14):
        assert steps.target(float(t), 2, Run(too_early)) == 2


def test_leaves_a_level_without_replies_after_five_times_its_hold() -> None:
    steps = LevelSteps(LevelPlan((2, 3), hold=10.0, settle=4.0, min_replies=3))
    changes = walk(steps, NONE_REPLIED, users=lambda t, target: target)
    assert MAX_HOLD_FACTOR == 5
    assert changes == [(0.0, 2), (54.0, 3), (109.0, None)]
    assert steps.never_reached == []  # reached, though no reply completed


def test_leaves_and_records_a_level_that_is_never_reached() -> None:
    steps = LevelSteps(PLAN)
    changes = walk(steps, ALL_REPLIED, users=lambda t, target: min(target, 3))
    assert steps.never_reached == [5]
    assert changes == [(0.0, 2), (14.0, 5), (68.0, 3), (87.0, None)]


def test_a_level_reached_at_the_last_moment_is_still_measured_in_full() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    changes = walk(steps, ALL_REPLIED, users=lambda t, target: 4 if t >= 53 else 1)
    assert changes == [(0.0, 4), (67.0, None)]
    assert steps.never_reached == []


def test_losing_users_does_not_restart_a_level() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    changes = walk(steps, ALL_REPLIED, users=lambda t, target: 3 if 5 <= t <= 8 else 4)
    assert changes == [(0.0, 4), (14.0, None)]


def test_measured_from_is_known_once_the_level_is_reached() -> None:
    steps = LevelSteps(PLAN)
    assert steps.measured_from() is None
    steps.target(3.0, 1, ALL_REPLIED)
    assert steps.measured_from() is None
    steps.target(5.0, 2, ALL_REPLIED)
    assert steps.measured_from() == 9.0


def test_stays_done_after_the_last_level() -> None:
    steps = LevelSteps(LevelPlan((4,), hold=10.0, settle=4.0, min_replies=3))
    assert walk(steps, ALL_REPLIED, users=lambda t, target: 1)[-1][1] is None
    assert [steps.target(1000.0 + t, 1, ALL_REPLIED) for t in range(3)] == [None, None, None]
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
def test_every_plan_ends_after_all_its_levels(
    levels: list[int], hold: int, settle: int, ramp_completes: bool, users_reply: bool
) -> None:
    steps = LevelSteps(LevelPlan(tuple(levels), float(hold), float(settle), 3))
    time_limit = len(levels) * (MAX_HOLD_FACTOR * hold + 2 * settle + 2)
    changes = walk(
        steps,
        ALL_REPLIED if users_reply else NONE_REPLIED,
        until=float(time_limit),
        users=lambda t, target: target if ramp_completes else 0,
    )
    assert [target for _, target in changes] == [*levels, None]
    assert steps.never_reached == ([] if ramp_completes else levels)
    held = [b - a for (a, _), (b, _) in itertools.pairwise(changes)]
    assert min(held) >= hold + settle


def sweep(levels: dict[int, Level], *planned: int, hold: float = 10.0) -> tuple[LevelSteps, Run, list[Any]]:
    steps, run = LevelSteps(LevelPlan(planned, hold=hold, settle=4.0, min_replies=3)), Run(levels=levels)
    return steps, run, walk(steps, run, users=lambda t, target: target)


def test_every_level_is_a_visit_that_ends_as_users_come_or_go() -> None:
    _, run, _ = sweep({}, 2, 5, 3)
    assert run.visits == [(4.0, 2), (19.0, 5), (38.0, 3)]
    assert run.ends == [(14.0, True), (29.0, False), (48.0, False)]


def test_a_level_is_held_on_for_the_few_replies_that_would_prove_it() -> None:
    _, _, changes = sweep({2: Level(seconds_needed=5.0)}, 2)
    assert changes == [(0.0, 2), (25.0, None)]  # 4 s to settle, 10 s hold, 5 s and a fifth more than the 5 s needed


@pytest.mark.parametrize("level", [Level(seconds_needed=50.0), Level(), Level("held"), Level("failed")])
def test_a_level_that_is_proven_or_needs_too_much_is_not_held_on(level: Level) -> None:
    _, _, changes = sweep({2: level}, 2)
    assert changes == [(0.0, 2), (14.0, None)]


def test_the_highest_level_that_held_is_visited_again() -> None:
    steps, _, changes = sweep({2: Level("held"), 4: Level("held"), 8: Level("failed")}, 2, 4, 8)
    assert [target for _, target in changes] == [2, 4, 8, 4, None]
    assert steps.as_json()["visited_again"] == [4]
    assert steps.as_json()["levels"] == [2, 4, 8]
    assert (steps.position, steps.why_again) == ("second visit to 4", "to see if the server has changed")


def test_a_disturbed_level_is_visited_again_before_it() -> None:
    disturbed = Level(reasons=("needs_second_visit",))
    _, _, changes = sweep({2: Level("held"), 4: disturbed, 8: Level("failed")}, 2, 4, 8)
    assert [target for _, target in changes] == [2, 4, 8, 4, 2, None]


def test_another_level_comes_before_the_last_one_is_visited_again() -> None:
    _, _, changes = sweep({2: Level("held"), 4: Level(reasons=("needs_second_visit",))}, 2, 4)
    assert [target for _, target in changes] == [2, 4, 2, 4, None]


@pytest.mark.parametrize("levels", [{2: Level("held"), 4: Level("held")}, {2: Level(), 4: Level("failed")}, {}])
def test_nothing_is_visited_again_where_that_would_tell_nothing(levels: dict[int, Level]) -> None:
    _, _, changes = sweep(levels, 2, 4)
    assert [target for _, target in changes] == [2, 4, None]

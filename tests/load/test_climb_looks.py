"""Whether a search goes on to more users, by what replies do so far: replies are played, time is the test's."""

from typing import Any

import pytest

from probe_ext.load.climb_looks import FIRST_LOOK_S, OVERLOADED_AFTER_S, OVERLOADED_FOR_S, ClimbLooks

REACHED = 103.0


class Replies:
    """A monitor that has seen these replies: as (well, known)."""

    needed_share = 0.9

    def __init__(self, since_entered: tuple[int, int], since_reached: tuple[int, int], ended: int = 0) -> None:
        self.since_entered, self.since_reached, self.ended = since_entered, since_reached, ended

    def early_counts(self, now: float, since: float) -> tuple[int, int]:
        return self.since_reached if since >= REACHED else self.since_entered

    def visit_counts(self, now: float) -> tuple[int, int]:
        return self.ended, self.ended


def look(replies: Any, seconds: float = FIRST_LOOK_S, *, measured: bool = False) -> tuple[bool, bool]:
    looks, well = ClimbLooks(16, 100.0, REACHED), False
    for second in range(int(seconds) + 1):
        well = looks.do_well(REACHED + second, replies, measured=measured)
    return well, looks.overloaded


def test_replies_that_do_well_in_the_first_burst_are_enough() -> None:
    assert look(Replies((16, 16), (0, 0))) == (True, False)
    assert look(Replies((16, 16), (0, 0)), FIRST_LOOK_S - 1) == (False, False), "not all users are there"
    assert look(Replies((7, 7), (0, 0))) == (False, False), "too few replies"


def test_a_slow_burst_is_forgiven_once_what_follows_does_well() -> None:
    assert look(Replies((10, 16), (5, 5)))[0] is False
    assert look(Replies((14, 24), (10, 10)), 6.0) == (True, False)


def test_a_level_is_overloaded_after_some_seconds_of_late_replies() -> None:
    late = Replies((8, 16), (2, 8))
    assert look(late, OVERLOADED_AFTER_S + OVERLOADED_FOR_S - 1) == (False, False)
    assert look(late, OVERLOADED_AFTER_S + OVERLOADED_FOR_S) == (False, True)


@pytest.mark.parametrize("counts", [(0, 3), (13, 16), (0, 0)])
def test_few_or_nearly_enough_replies_call_no_level_overloaded(counts: tuple[int, int]) -> None:
    assert look(Replies(counts, counts), 60.0) == (False, False)


def test_an_overloaded_level_is_not_left_by_looks_any_more() -> None:
    looks = ClimbLooks(16, 100.0, REACHED)
    for second in range(12):
        looks.do_well(REACHED + second, Replies((8, 16), (2, 8)), measured=False)
    assert looks.overloaded
    assert not looks.do_well(REACHED + 20, Replies((16, 16), (16, 16)), measured=False)


def test_a_measured_level_is_left_early_only_once_replies_have_ended() -> None:
    assert look(Replies((16, 16), (16, 16), ended=3), 8.0, measured=True)[0] is False
    assert look(Replies((16, 16), (16, 16), ended=4), 8.0, measured=True)[0] is True

"""A range that becomes wider says why, for a while."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from probe_ext.live.capacity_range.range_memory import SAID_FOR_S, RangeMemory
from probe_ext.live.capacity_range.range_news import RangeNews

Interval = tuple[int, int | None] | None


@dataclass
class Level:
    users: int
    state: str
    replies: int = 100
    served_share: float = 1.0
    reasons: tuple[str, ...] = ()
    share_fit: float = 1.0
    share_high: float = 1.0


@dataclass
class Dispersion:
    phi: float = 1.0


@dataclass
class Known:
    interval: Interval
    bracket: tuple[int | None, int | None] = (None, None)
    levels: tuple[Level, ...] = ()
    dispersion: Dispersion = field(default_factory=Dispersion)

    def level(self, users: int) -> Level | None:
        return next((level for level in self.levels if level.users == users), None)


def why(before: Known, now: Known) -> Any:
    memory = RangeMemory()
    first: Any = before
    assert memory.update(10.0, first) is None
    then: Any = now
    return memory.update(12.0, then)


HELD, LOST = Level(48, "held"), Level(48, "unproven", reasons=("too_few_replies",))


def test_an_end_that_was_never_proven_is_said_to_be_that() -> None:
    found = why(Known((37, 63), (1, 64)), Known((1, 63), (1, 64)))
    assert found.short == "37 was not proven"
    assert found.sentence == (
        "The range's lower end was 37 before, by a curve through the levels; that was not proven, "
        "and the replies since then allow more."
    )
    assert why(Known((8, 11), (8, 16)), Known((8, 15), (8, 16))).short == "11 was not proven"


@pytest.mark.parametrize(
    ("level", "phi", "reason"),
    [
        (LOST, 2.0, "the served share changes more from moment to moment than it seemed to, so each reply tells less"),
        (
            Level(48, "unproven", 130, 0.93, ("too_close",)),
            1.0,
            "further replies at this level are nearer to the limit",
        ),
        (LOST, 1.0, "what other levels show since then makes it doubtful"),
        (Level(48, "unproven", reasons=("visits_disagree",)), 2.0, "its visits differ by more than chance"),
        (None, 1.0, "this level is no longer judged"),
    ],
)
def test_a_lost_proof_is_said_to_be_lost_and_why(level: Level | None, phi: float, reason: str) -> None:
    before = Known((48, 255), (48, 256), (HELD, Level(256, "failed")))
    now = Known((14, 255), (None, 256), (level,) if level else (), Dispersion(phi))
    found = why(before, now)
    assert found.short == "48 no longer proven"
    assert found.sentence == f"That 48 people are served is no longer proven: {reason}."


def test_a_lost_upper_end_is_that_of_a_level_that_failed() -> None:
    before = Known((8, 15), (8, 16), (Level(16, "failed"),))
    found = why(before, Known((8, None), (8, None), (Level(16, "unproven", reasons=("needs_second_visit",)),)))
    assert found.short == "16 no longer proven"
    assert found.sentence.startswith("That 16 people are too many is no longer proven: one bad stretch explains it")


@pytest.mark.parametrize(
    ("before", "now"),
    [((8, None), (8, 15)), ((8, 15), (9, 12)), ((40, 60), (39, 60)), ((40, 60), (42, 61)), ((0, None), (0, 7)),
     ((8, 15), None)],
)  # fmt: skip
def test_a_narrower_range_or_a_small_step_needs_no_word(before: Interval, now: Interval) -> None:
    assert why(Known(before), Known(now)) is None


def test_small_steps_in_one_direction_are_said_once_they_add_up() -> None:
    memory, found = RangeMemory(), []
    for second, low in enumerate(range(40, 34, -1)):
        known: Any = Known((low, 60))
        found.append(memory.update(float(second), known))
    assert [bool(one) for one in found] == [False, False, False, True, True, True]
    assert found[3].short == "40 was not proven"


def test_the_reason_stands_for_a_minute_or_until_the_range_is_as_narrow_again() -> None:
    memory = RangeMemory()
    narrow: Any = Known((37, 63), (1, 64))
    wide: Any = Known((1, 63), (1, 64))
    assert memory.update(0.0, narrow) is None
    assert memory.update(2.0, wide)
    assert memory.update(SAID_FOR_S, wide)
    assert memory.update(SAID_FOR_S + 3.0, wide) is None
    assert memory.update(100.0, narrow) is None
    assert memory.update(102.0, wide)
    assert memory.update(104.0, narrow) is None


def test_a_line_with_a_range_outside_the_one_said_before_says_why() -> None:
    memory, news, lines = RangeMemory(), RangeNews(0.9), []
    steps: list[Any] = [
        Known((48, 63), (48, 64), (HELD,)),
        Known((14, 63), (None, 64), (LOST,)),
        Known((20, 40), (None, 64), (LOST,)),
    ]
    for second, known in enumerate(steps):
        lines.append(news.line(60.0 + second, 100, known, widening=memory.update(float(second), known)))
    assert lines[1] == (
        "after 61 s: so far somewhere between 14 and 63 people; narrowing. "
        "That 48 people are served is no longer proven: "
        "what other levels show since then makes it doubtful"
    )
    assert "proven" not in str(lines[2])

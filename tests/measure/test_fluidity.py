"""Token deadlines, compared with a direct simulation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.fluidity import DeadlineCount, Deadlines, worst
from probe_ext.measure.timeline import TokenEvents

RULE = Deadlines(first=1.0, each=0.1)
"""the first token within a second, then ten per second"""


def events_at(*at: float, tokens: int = 1) -> TokenEvents:
    return TokenEvents(list(at), [tokens] * len(at), [True] * len(at))


def simulate(at: list[float], tokens: list[int]) -> DeadlineCount:
    """Step through deadlines one by one."""
    deadline, total, missed = 1.0, 0, 0
    for time, count in zip(at, tokens, strict=True):
        for index in range(count):
            if index == 0 and time > deadline + 1e-9:
                while deadline < time:
                    missed, total, deadline = missed + 1, total + 1, deadline + 0.1
                deadline = time + 0.1
            else:
                total, deadline = total + 1, deadline + 0.1
    return DeadlineCount(total, missed)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((0.5, 0.6, 0.7), DeadlineCount(3, 0)),
        ((1.0, 1.1, 1.2), DeadlineCount(3, 0)),
        ((1.05,), DeadlineCount(1, 1)),
        ((1.25,), DeadlineCount(3, 3)),  # 1.0, 1.1 and 1.2 passed
        ((0.5, 1.09), DeadlineCount(2, 0)),  # half a second of slack
        ((0.5, 1.15), DeadlineCount(2, 1)),  # beyond the slack
        ((0.5, 3.55, 3.6), DeadlineCount(27, 25)),  # 25 deadlines in a pause of 3 s with half a second of slack
        ((0.5, 3.55, 3.66), DeadlineCount(27, 26)),  # a miss removes the slack
        ((), DeadlineCount(0, 0)),
    ],
)
def test_deadlines_of_single_tokens(at: tuple[float, ...], expected: DeadlineCount) -> None:
    assert RULE.count(events_at(*at), 0.0) == expected
    assert simulate(list(at), [1] * len(at)) == expected


def test_the_first_deadline_counts_from_the_start() -> None:
    assert RULE.count(events_at(100.9, 101.0), 100.0) == DeadlineCount(2, 0)
    assert RULE.count(events_at(101.2), 100.0).missed > 0


def test_tokens_of_one_event_have_no_delay_and_leave_slack() -> None:
    """Four tokens every 0.4 s are ten per second: in time, though each gap spans four deadlines."""
    assert RULE.count(events_at(0.5, 0.9, 1.3, tokens=4), 0.0) == DeadlineCount(12, 0)
    assert RULE.count(events_at(1.0, 1.4, 1.8, tokens=4), 0.0) == DeadlineCount(12, 0)
    assert RULE.count(events_at(1.0, 1.45, tokens=4), 0.0) == DeadlineCount(8, 1)


@pytest.mark.parametrize(
    ("at", "died", "failed", "expected"),
    [
        ((), 0.4, False, DeadlineCount(0, 0)),
        ((), 0.4, True, DeadlineCount(1, 1)),
        ((), 3.05, True, DeadlineCount(21, 21)),
        ((0.5,), 0.6, False, DeadlineCount(1, 0)),
        ((0.5,), 0.6, True, DeadlineCount(2, 1)),
        ((0.5,), 5.55, True, DeadlineCount(46, 45)),
        ((0.5,), 5.55, False, DeadlineCount(46, 45)),
    ],
)
def test_a_broken_off_reply_misses_passed_deadlines_and_at_least_one_if_failed(
    at: tuple[float, ...], died: float, failed: bool, expected: DeadlineCount
) -> None:
    assert RULE.count(events_at(*at), 0.0, died, failed=failed) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 2000).map(lambda ms: (ms + 0.5) / 1000), st.integers(1, 5)), min_size=1, max_size=30
    )
)
def test_count_equals_the_simulation(steps: list[tuple[float, int]]) -> None:
    """Half milliseconds keep tokens away from deadlines, where rounding would decide."""
    at, tokens, now = [], [], 0.0003
    for gap, count in steps:
        now += gap
        at.append(now)
        tokens.append(count)
    result = RULE.count(TokenEvents(at, tokens, [True] * len(at)), 0.0)
    assert result == simulate(at, tokens)
    assert 0 <= result.missed <= result.deadlines


def test_the_worst_choice_counts() -> None:
    assert worst([DeadlineCount(10, 1), DeadlineCount(4, 2), DeadlineCount(0, 0)]) == DeadlineCount(4, 2)
    assert worst([DeadlineCount(0, 0)]) is None
    assert worst([]) is None

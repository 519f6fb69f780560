"""The fluidity index, against a clock of deadlines that is moved by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.fluidity import Deadlines, Kept, worst
from probe_ext.measure.timeline import TokenEvents

RULE = Deadlines(first=1.0, each=0.1)
"""the first token within a second, then ten a second"""


def said(*at: float, tokens: int = 1) -> TokenEvents:
    return TokenEvents(list(at), [tokens] * len(at), [True] * len(at))


def by_hand(at: list[float], tokens: list[int]) -> Kept:
    """A wall clock with the next deadline on it, moved on with each that passes or is met."""
    deadline, total, missed = 1.0, 0, 0
    for moment, many in zip(at, tokens, strict=True):
        for extra in range(many):
            if extra == 0 and moment > deadline + 1e-9:
                while deadline < moment:
                    missed, total, deadline = missed + 1, total + 1, deadline + 0.1
                deadline = moment + 0.1
            else:
                total, deadline = total + 1, deadline + 0.1
    return Kept(total, missed)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ((0.5, 0.6, 0.7), Kept(3, 0)),
        ((1.0, 1.1, 1.2), Kept(3, 0)),
        ((1.05,), Kept(1, 1)),
        ((1.25,), Kept(3, 3)),  # due at 1.0; 1.1 and 1.2 passed too
        ((0.5, 1.09), Kept(2, 0)),  # half a second of slack
        ((0.5, 1.15), Kept(2, 1)),  # beyond it
        ((0.5, 3.55, 3.6), Kept(27, 25)),  # due at 1.1: 25 deadlines in a pause of 3 s with half a second of slack
        ((0.5, 3.55, 3.66), Kept(27, 26)),  # slack is gone after a miss
        ((), Kept(0, 0)),
    ],
)
def test_deadlines_of_single_tokens(at: tuple[float, ...], expected: Kept) -> None:
    assert RULE.kept(said(*at), 0.0) == expected
    assert by_hand(list(at), [1] * len(at)) == expected


def test_the_first_deadline_counts_from_when_it_was_asked() -> None:
    assert RULE.kept(said(100.9, 101.0), 100.0) == Kept(2, 0)
    assert RULE.kept(said(101.2), 100.0).missed > 0


def test_tokens_of_one_event_come_without_delay_and_give_slack() -> None:
    """Four tokens every 0.4 s are ten a second: in time, though each gap is four deadlines long."""
    assert RULE.kept(said(0.5, 0.9, 1.3, tokens=4), 0.0) == Kept(12, 0)
    assert RULE.kept(said(1.0, 1.4, 1.8, tokens=4), 0.0) == Kept(12, 0)
    assert RULE.kept(said(1.0, 1.45, tokens=4), 0.0) == Kept(8, 1)


@pytest.mark.parametrize(
    ("at", "died", "failed", "expected"),
    [
        ((), 0.4, False, Kept(0, 0)),
        ((), 0.4, True, Kept(1, 1)),
        ((), 3.05, True, Kept(21, 21)),
        ((0.5,), 0.6, False, Kept(1, 0)),
        ((0.5,), 0.6, True, Kept(2, 1)),
        ((0.5,), 5.55, True, Kept(46, 45)),
        ((0.5,), 5.55, False, Kept(46, 45)),
    ],
)
def test_a_reply_that_broke_off_misses_what_passed_and_one_at_least_if_it_failed(
    at: tuple[float, ...], died: float, failed: bool, expected: Kept
) -> None:
    assert RULE.kept(said(*at), 0.0, died, failed=failed) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 2000).map(lambda ms: (ms + 0.5) / 1000), st.integers(1, 5)), min_size=1, max_size=30
    )
)
def test_slack_and_a_clock_of_deadlines_say_the_same(steps: list[tuple[float, int]]) -> None:
    """Half milliseconds: no token comes just at a deadline, where a rounding would decide."""
    at, tokens, now = [], [], 0.0003
    for gap, many in steps:
        now += gap
        at.append(now)
        tokens.append(many)
    found = RULE.kept(TokenEvents(at, tokens, [True] * len(at)), 0.0)
    assert found == by_hand(at, tokens)
    assert 0 <= found.missed <= found.deadlines


def test_of_several_choices_the_worst_counts() -> None:
    assert worst([Kept(10, 1), Kept(4, 2), Kept(0, 0)]) == Kept(4, 2)
    assert worst([Kept(0, 0)]) is None
    assert worst([]) is None

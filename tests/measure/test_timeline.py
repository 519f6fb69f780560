"""Gaps, time per token, and what stays undefined."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.timeline import Pace, TokenEvents, gaps, pace, tpot, worst


def events(*rows: tuple[float, int, bool]) -> TokenEvents:
    made = TokenEvents()
    for row in rows:
        made.add(*row)
    return made


def test_gaps_are_the_seconds_between_neighbours() -> None:
    assert gaps([1.0, 1.5, 3.0]) == [0.5, 1.5]


@pytest.mark.parametrize("at", [[], [1.0]])
def test_fewer_than_two_events_have_no_gap(at: list[float]) -> None:
    assert gaps(at) == []


def test_with_one_token_an_event_time_per_token_is_vllms_definition() -> None:
    at = [10.0, 10.02, 10.06, 10.09]
    found = pace(events(*[(t, 1, True) for t in at]))
    assert found is not None
    assert found.tpot == pytest.approx((10.09 - 10.0) / (4 - 1))


def test_with_several_tokens_an_event_the_first_events_tokens_are_left_out() -> None:
    found = pace(events((1.0, 4, True), (1.3, 4, True), (1.6, 2, True)))
    assert found is not None
    assert (found.tokens, found.tokens_first) == (10, 4)
    assert found.tpot == pytest.approx(0.6 / 6)


def test_the_servers_own_count_wins_over_what_events_were_told_to_hold() -> None:
    found = pace(events((1.0, 1, True), (2.0, 1, True)), tokens=11)
    assert found is not None
    assert found.tpot == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("first", "last", "tokens", "tokens_first"),
    [
        pytest.param(5.0, 5.0, 1, 1, id="one token"),
        pytest.param(5.0, 5.0, 8, 8, id="all tokens in one event"),
        pytest.param(5.0, 5.0, 8, 2, id="all events in one moment"),
        pytest.param(5.0, 6.0, 3, 3, id="a count that leaves nothing to divide by"),
        pytest.param(5.0, 6.0, 2, 3, id="a count below that of the first event"),
    ],
)
def test_where_there_is_nothing_to_divide_time_per_token_is_undefined_not_zero(
    first: float, last: float, tokens: int, tokens_first: int
) -> None:
    assert tpot(first, last, tokens, tokens_first) is None


def test_one_event_has_a_first_token_and_no_gap() -> None:
    found = pace(events((7.5, 1, True)))
    assert found == Pace(7.5, 7.5, 1, 1, 1, None, None, None)


def test_without_events_there_is_no_pace() -> None:
    assert pace(TokenEvents()) is None
    assert worst([]) is None


def test_the_longest_gap_is_found_with_the_moment_at_which_it_began() -> None:
    found = pace(events((0.0, 1, True), (0.1, 1, True), (2.1, 1, True), (2.2, 1, True)))
    assert found is not None
    assert (found.longest_gap, found.gap_start) == (2.0, 0.1)


def test_of_reasoning_and_text_only_the_text_is_visible() -> None:
    mixed = events((1.0, 2, False), (2.0, 3, True), (3.0, 1, False), (5.0, 4, True))
    seen = mixed.only_visible()
    assert (seen.at, seen.tokens, seen.visible) == ([2.0, 5.0], [3, 4], [True, True])
    assert len(mixed.at) == 4
    found = pace(seen)
    assert found is not None
    assert (found.first, found.longest_gap, found.tokens) == (2.0, 3.0, 7)


def test_reasoning_alone_has_a_pace_and_no_visible_one() -> None:
    thought = events((1.0, 1, False), (2.0, 1, False))
    assert pace(thought) is not None
    assert pace(thought.only_visible()) is None


def test_of_several_choices_the_worst_of_each_figure_is_judged() -> None:
    quick = pace(events((1.0, 1, True), (1.1, 1, True), (4.1, 1, True)))
    slow = pace(events((2.0, 2, True), (4.0, 1, True), (6.0, 1, True)))
    assert quick is not None
    assert slow is not None
    found = worst([quick, slow])
    assert found is not None
    assert (found.first, found.last) == (2.0, 6.0)
    assert (found.longest_gap, found.gap_start) == (pytest.approx(3.0), 1.1)
    assert found.tpot == pytest.approx(2.0)
    assert (found.events, found.tokens, found.tokens_first) == (6, 7, 3)


def test_a_choice_without_a_gap_hides_no_other_choices_gap() -> None:
    lone, pair = pace(events((3.0, 1, True))), pace(events((1.0, 1, True), (1.4, 1, True)))
    assert lone is not None
    assert pair is not None
    for order in ([lone, pair], [pair, lone]):
        found = worst(order)
        assert found is not None
        assert found.first == 3.0
        assert found.longest_gap == pytest.approx(0.4)
        assert found.tpot == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 9)), min_size=1, max_size=30))
def test_a_pace_adds_up_whatever_the_steps(steps: list[tuple[float, int]]) -> None:
    at, rows = 100.0, []
    for step, tokens in steps:
        at += step
        rows.append((at, tokens, True))
    found = pace(events(*rows))
    assert found is not None
    assert found.tokens == sum(tokens for _, tokens in steps)
    assert math.isclose(found.last - found.first, sum(step for step, _ in steps[1:]), abs_tol=1e-6)
    if found.longest_gap is not None:
        assert found.longest_gap <= found.last - found.first + 1e-9
    if found.tpot is not None:
        rest = found.tokens - found.tokens_first
        assert math.isclose(found.tpot * rest, found.last - found.first, rel_tol=1e-9, abs_tol=1e-9)

"""Gaps, TPOT and pace, and where they are undefined."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.timeline import Pace, TokenEvents, gaps, pace, tpot, worst


def events(*rows: tuple[float, int, bool]) -> TokenEvents:
    column = TokenEvents()
    for row in rows:
        column.add(*row)
    return column


def test_gaps_are_seconds_between_successive_events() -> None:
    assert gaps([1.0, 1.5, 3.0]) == [0.5, 1.5]


@pytest.mark.parametrize("at", [[], [1.0]])
def test_fewer_than_two_events_have_no_gap(at: list[float]) -> None:
    assert gaps(at) == []


def test_tpot_with_one_token_per_event_matches_vllm() -> None:
    at = [10.0, 10.02, 10.06, 10.09]
    result = pace(events(*[(t, 1, True) for t in at]))
    assert result is not None
    assert result.tpot == pytest.approx((10.09 - 10.0) / (4 - 1))


def test_tpot_excludes_the_tokens_of_the_first_event() -> None:
    result = pace(events((1.0, 4, True), (1.3, 4, True), (1.6, 2, True)))
    assert result is not None
    assert (result.tokens, result.tokens_first) == (10, 4)
    assert result.tpot == pytest.approx(0.6 / 6)


def test_the_servers_count_takes_precedence() -> None:
    result = pace(events((1.0, 1, True), (2.0, 1, True)), tokens=11)
    assert result is not None
    assert result.tpot == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("first", "last", "tokens", "tokens_first"),
    [
        pytest.param(5.0, 5.0, 1, 1, id="one token"),
        pytest.param(5.0, 5.0, 8, 8, id="all tokens in one event"),
        pytest.param(5.0, 5.0, 8, 2, id="all events at the same time"),
        pytest.param(5.0, 6.0, 3, 3, id="all tokens counted in the first event"),
        pytest.param(5.0, 6.0, 2, 3, id="a count below that of the first event"),
    ],
)
def test_undefined_tpot_is_none(first: float, last: float, tokens: int, tokens_first: int) -> None:
    assert tpot(first, last, tokens, tokens_first) is None


def test_a_single_event_has_no_gap() -> None:
    result = pace(events((7.5, 1, True)))
    assert result == Pace(7.5, 7.5, 1, 1, 1, None, None, None)


def test_no_pace_without_events() -> None:
    assert pace(TokenEvents()) is None
    assert worst([]) is None


def test_finds_the_longest_gap_and_its_start() -> None:
    result = pace(events((0.0, 1, True), (0.1, 1, True), (2.1, 1, True), (2.2, 1, True)))
    assert result is not None
    assert (result.longest_gap, result.gap_start) == (2.0, 0.1)


def test_only_visible_excludes_reasoning() -> None:
    mixed = events((1.0, 2, False), (2.0, 3, True), (3.0, 1, False), (5.0, 4, True))
    seen = mixed.only_visible()
    assert (seen.at, seen.tokens, seen.visible) == ([2.0, 5.0], [3, 4], [True, True])
    assert len(mixed.at) == 4
    result = pace(seen)
    assert result is not None
    assert (result.first, result.longest_gap, result.tokens) == (2.0, 3.0, 7)


def test_reasoning_only_has_no_visible_pace() -> None:
    thought = events((1.0, 1, False), (2.0, 1, False))
    assert pace(thought) is not None
    assert pace(thought.only_visible()) is None


def test_worst_takes_the_worst_of_each_value() -> None:
    quick = pace(events((1.0, 1, True), (1.1, 1, True), (4.1, 1, True)))
    slow = pace(events((2.0, 2, True), (4.0, 1, True), (6.0, 1, True)))
    assert quick is not None
    assert slow is not None
    result = worst([quick, slow])
    assert result is not None
    assert (result.first, result.last) == (2.0, 6.0)
    assert (result.longest_gap, result.gap_start) == (pytest.approx(3.0), 1.1)
    assert result.tpot == pytest.approx(2.0)
    assert (result.events, result.tokens, result.tokens_first) == (6, 7, 3)


def test_worst_ignores_choices_without_a_gap() -> None:
    lone, pair = pace(events((3.0, 1, True))), pace(events((1.0, 1, True), (1.4, 1, True)))
    assert lone is not None
    assert pair is not None
    for order in ([lone, pair], [pair, lone]):
        result = worst(order)
        assert result is not None
        assert result.first == 3.0
        assert result.longest_gap == pytest.approx(0.4)
        assert result.tpot == pytest.approx(0.4)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 9)), min_size=1, max_size=30))
def test_pace_is_consistent(steps: list[tuple[float, int]]) -> None:
    at, rows = 100.0, []
    for step, tokens in steps:
        at += step
        rows.append((at, tokens, True))
    result = pace(events(*rows))
    assert result is not None
    assert result.tokens == sum(tokens for _, tokens in steps)
    assert math.isclose(result.last - result.first, sum(step for step, _ in steps[1:]), abs_tol=1e-6)
    if result.longest_gap is not None:
        assert result.longest_gap <= result.last - result.first + 1e-9
    if result.tpot is not None:
        rest = result.tokens - result.tokens_first
        assert math.isclose(result.tpot * rest, result.last - result.first, rel_tol=1e-9, abs_tol=1e-9)

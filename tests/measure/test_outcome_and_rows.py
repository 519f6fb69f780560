"""Outcomes and table rows."""

from dataclasses import fields

import pytest

from probe_ext.measure import table_rows
from probe_ext.measure.outcome import CLIENT_SIDE, FINISHED, Outcome, is_failure
from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, ServerRow, UserRow, columns, shifted


def reply_row(**changed: object) -> ReplyRow:
    blank: dict[str, object] = {f.name: None for f in fields(ReplyRow)}
    known = {"reply_id": "w:1", "worker": "w", "user": "w:1", "scenario": "s", "kind": "chat", "streamed": True}
    known |= {"due": 10.0, "late": 0.5, "end": 12.0, "events": 3, "outcome": "complete"}
    return ReplyRow(**(blank | known | changed))  # type: ignore[arg-type]


def test_outcome_values_are_part_of_the_file_format() -> None:
    assert {o.value for o in Outcome} == {
        *("complete", "no_answer", "empty", "truncated", "filtered", "rejected", "http_error", "stream_error"),
        *("bad_data", "cut", "stalled", "timeout_first", "timeout_total", "connect_failed", "connect_timeout"),
        *("hung_up", "ended_by_us", "client_error", "not_sent"),
    }


def test_finished_and_client_side_outcomes_are_disjoint() -> None:
    assert FINISHED
    assert CLIENT_SIDE
    assert not FINISHED & CLIENT_SIDE


def test_failures_for_locust() -> None:
    assert {o for o in Outcome if not is_failure(o)} == {Outcome.COMPLETE, Outcome.ENDED_BY_US}


def test_columns_are_in_field_order() -> None:
    assert columns(GapRow) == ("reply_id", "start", "end", "tokens_before", "tokens_together")
    assert columns(UserRow) == ("t", "users", "target", "state", "rate")
    assert columns(ServerRow) == ("t", "url", "engine", "quantity", "value", "width")
    assert columns(ReplyRow)[:4] == ("reply_id", "worker", "user", "scenario")


def test_marks_are_all_times_and_no_durations() -> None:
    times = {"due", "sent", "headers", "first", "first_visible", "last", "end", "gap_start"}
    assert set(REPLY_MARKS) == times
    assert set(GAP_MARKS) == {"start", "end"}
    floats = {f.name for f in fields(ReplyRow) if f.type in {float, float | None}}
    assert floats - times == {
        *("late", "tpot", "tpot_visible", "longest_gap", "longest_gap_visible", "connect", "tls", "lag_max"),
        *("resolve", "held_max", "server_ttft", "server_queue", "server_itl"),
    }


def test_shifts_times_and_keeps_durations() -> None:
    row = reply_row(sent=10.5, first=11.0, last=11.8, gap_start=11.2, longest_gap=0.4, tpot=0.2, connect=0.1)
    result = shifted(row, -10.0)
    assert (result.due, result.sent, result.first, result.end, result.gap_start) == (
        0.0,
        0.5,
        1.0,
        2.0,
        pytest.approx(1.2),
    )
    assert (result.late, result.longest_gap, result.tpot, result.connect) == (0.5, 0.4, 0.2, 0.1)


def test_shifting_keeps_missing_times() -> None:
    result = shifted(reply_row(), 100.0)
    assert (result.sent, result.first, result.last, result.gap_start) == (None, None, None, None)


def test_shifting_returns_a_new_row_and_is_reversible() -> None:
    gap = GapRow("w:1", 4.0, 6.5, 7)
    result = shifted(gap, 2.0)
    assert (gap.start, result.start, result.end, result.tokens_before) == (4.0, 6.0, 8.5, 7)
    assert shifted(result, -2.0) == gap


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        table_rows.GapRow("w:1", 0.0, 1.0, 2).start = 3.0  # type: ignore[misc]

"""Endings, and the columns that reach disk."""

from dataclasses import fields

import pytest

from probe_ext.measure import table_rows
from probe_ext.measure.outcome import FINISHED, OURS, Outcome, is_failure
from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, ServerRow, UserRow, columns, moved


def reply_row(**changed: object) -> ReplyRow:
    blank: dict[str, object] = {f.name: None for f in fields(ReplyRow)}
    known = {"reply_id": "w:1", "worker": "w", "user": "w:1", "scenario": "s", "kind": "chat", "streamed": True}
    known |= {"due": 10.0, "late": 0.5, "end": 12.0, "events": 3, "outcome": "complete"}
    return ReplyRow(**(blank | known | changed))  # type: ignore[arg-type]


def test_the_values_of_outcomes_are_the_run_directorys_contract() -> None:
    assert {o.value for o in Outcome} == {
        *("complete", "no_answer", "empty", "truncated", "filtered", "rejected", "http_error", "stream_error"),
        *("bad_data", "cut", "stalled", "timeout_first", "timeout_total", "connect_failed", "connect_timeout"),
        *("hung_up", "ended_by_us", "client_error"),
    }


def test_no_ending_is_both_the_servers_own_and_our_fault() -> None:
    assert FINISHED
    assert OURS
    assert not FINISHED & OURS


def test_all_but_a_complete_reply_and_one_that_we_ended_are_failures_to_locust() -> None:
    assert {o for o in Outcome if not is_failure(o)} == {Outcome.COMPLETE, Outcome.ENDED_BY_US}


def test_columns_stand_in_the_order_of_the_fields() -> None:
    assert columns(GapRow) == ("reply_id", "start", "end", "tokens_before")
    assert columns(UserRow) == ("t", "users", "target", "state")
    assert columns(ServerRow) == ("t", "url", "engine", "quantity", "value")
    assert columns(ReplyRow)[:4] == ("reply_id", "worker", "user", "scenario")


def test_every_moment_of_a_reply_is_a_mark_and_every_duration_is_none() -> None:
    moments = {"due", "sent", "headers", "first", "first_visible", "last", "end", "gap_start"}
    assert set(REPLY_MARKS) == moments
    assert set(GAP_MARKS) == {"start", "end"}
    floats = {f.name for f in fields(ReplyRow) if f.type in {float, float | None}}
    assert floats - moments == {
        *("late", "tpot", "tpot_visible", "longest_gap", "longest_gap_visible", "connect", "tls", "lag_max"),
    }


def test_a_row_is_moved_in_its_moments_and_keeps_its_durations() -> None:
    row = reply_row(sent=10.5, first=11.0, last=11.8, gap_start=11.2, longest_gap=0.4, tpot=0.2, connect=0.1)
    there = moved(row, -10.0, REPLY_MARKS)
    assert (there.due, there.sent, there.first, there.end, there.gap_start) == (0.0, 0.5, 1.0, 2.0, pytest.approx(1.2))
    assert (there.late, there.longest_gap, there.tpot, there.connect) == (0.5, 0.4, 0.2, 0.1)


def test_what_is_missing_stays_missing_when_a_row_is_moved() -> None:
    there = moved(reply_row(), 100.0, REPLY_MARKS)
    assert (there.sent, there.first, there.last, there.gap_start) == (None, None, None, None)


def test_moving_leaves_the_row_as_it_was_and_back_again_is_the_same() -> None:
    gap = GapRow("w:1", 4.0, 6.5, 7)
    there = moved(gap, 2.0, GAP_MARKS)
    assert (gap.start, there.start, there.end, there.tokens_before) == (4.0, 6.0, 8.5, 7)
    assert moved(there, -2.0, GAP_MARKS) == gap


def test_every_row_type_is_frozen() -> None:
    with pytest.raises(AttributeError):
        table_rows.GapRow("w:1", 0.0, 1.0, 2).start = 3.0  # type: ignore[misc]

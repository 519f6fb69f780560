"""A level is not blamed for what later users do to its replies, nor for the queue of the level before."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import CHAT, columns, evidence, manifest, reply, slow_start, staircase, steady

from probe_ext.measure.table_rows import GapRow, ReplyRow
from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, STRAINED, UNJUDGED, judge_replies
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels import grade_levels
from probe_ext.verdict.levels.cut_at_rise import as_of, longest_before
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.level_result import LevelResult


def grade(row: ReplyRow, until: float) -> int:
    return int(judge_replies(as_of(columns([row], ReplyRow), np.array([until])), CHAT, "shown").overall[0])


def as_of_with(table: Columns, until: Floats, gaps: Columns) -> Columns:
    return as_of(table, until, longest_before(table, until, gaps))


LONG = reply(0, 10.0, tokens_out=200)
"""Ends at 20.15."""


@pytest.mark.parametrize(
    ("row", "until", "expected"),
    [
        (LONG, np.inf, SERVED),
        (LONG, 25.0, SERVED),
        (LONG, 15.0, UNJUDGED),  # it may still go wrong
        (replace(LONG, tpot=0.15), 15.0, UNJUDGED),  # the typing speed until then is not known
        (replace(LONG, tpot=0.15), 25.0, STRAINED),
        (slow_start(0, 10.0, 4.0), 15.0, STRAINED),
        (slow_start(0, 10.0, 8.0), 15.0, STRAINED),  # it had waited for 5 s
        (slow_start(0, 10.0, 30.0), 10.5, UNJUDGED),
        (slow_start(0, 10.0, 30.0), 21.0, BROKEN),
        (replace(LONG, longest_gap=4.0, gap_start=12.0), 15.0, STRAINED),
        (replace(LONG, longest_gap=4.0, gap_start=14.0), 15.0, UNJUDGED),
        (replace(LONG, longest_gap=4.0, gap_start=16.0), 15.0, UNJUDGED),
        (replace(LONG, outcome="cut"), 15.0, UNJUDGED),
        (replace(LONG, outcome="client_error"), 15.0, UNJUDGED),
    ],
)
def test_a_reply_is_judged_as_of_the_cut(row: ReplyRow, until: float, expected: int) -> None:
    assert grade(row, until) == expected


def test_a_gap_before_the_cut_counts_although_a_longer_one_began_after_it() -> None:
    row = replace(LONG, longest_gap=8.0, gap_start=16.0)
    table, gaps = (
        columns([row, reply(1, 10.0, tokens_out=200)], ReplyRow),
        columns(
            [
                GapRow(row.reply_id, 11.0, 11.4, 5),
                GapRow(row.reply_id, 12.0, 14.5, 9),
                GapRow(row.reply_id, 16.0, 24.0, 12),
                GapRow("nobody:1", 11.0, 14.9, 1),
            ],
            GapRow,
        ),
    )
    cut = as_of_with(table, np.array([15.0, np.inf]), gaps)
    assert cut["longest_gap"][0] == 2.5
    assert as_of_with(table, np.array([13.0, np.inf]), gaps)["longest_gap"][0] == 1.0  # as far as it had got by then
    assert np.isnan(as_of_with(table, np.array([10.9, np.inf]), gaps)["longest_gap"][0])
    assert judge_replies(cut, CHAT, "shown").overall[0] == STRAINED


def test_replies_that_had_ended_stay_unchanged() -> None:
    table = columns([LONG, reply(1, 3.0)], ReplyRow)
    assert as_of(table, np.array([30.0, np.inf])) is table


def judged(*parts: list[ReplyRow], steps: tuple[tuple[int, float], ...]) -> Judgement:
    return judge(evidence([row for part in parts for row in part], staircase(*steps)), CHAT)


def at(verdict: Judgement, users: int) -> LevelResult:
    return next(level for level in verdict.levels if level.users == users)


SLOWED = [reply(user, 27.0, tokens_out=100, tpot=0.15) for user in range(2)]
"""Sent with two users, and slow once there were eight."""


def test_a_level_is_not_blamed_for_the_next_one() -> None:
    rest = [reply(user, 40.0 + 5 * k, tpot=0.15) for user in range(8) for k in range(4)]
    level = at(judged(steady(2, 0, 27), SLOWED, rest, steps=((2, 30), (8, 30))), 2)
    assert (level.served_share, level.replies_open) == (1.0, 2)
    assert level.replies_strained == 0


@pytest.mark.parametrize("until", [29.0, 29.6])
def test_a_visit_of_a_search_is_not_blamed_either_whose_end_is_known_better_than_from_samples(until: float) -> None:
    """Users are counted once a second, so a search goes on up to a second after the last sample with the old number."""
    rest = [reply(user, 40.0 + 5 * k, tpot=0.15) for user in range(8) for k in range(4)]
    steps = [
        {"users": users, "measured_from": start, "until": end, "state": "unproven"}
        for users, start, end in ((2, 5.0, until), (8, 35.0, 60.0))
    ]
    plan = {"levels": [2, 8], "hold": 20.0, "settle": 5.0, "min_replies": 3, "search": {"steps": steps}}
    run = evidence([*steady(2, 0, 27), *SLOWED, *rest], staircase((2, 30), (8, 30)), manifest=manifest(plan=plan))
    level = at(judge(run, CHAT), 2)
    assert level.t_end == until
    assert (level.served_share, level.replies_open, level.replies_strained) == (1.0, 2, 0)


def test_a_row_is_of_one_set_of_replies() -> None:
    """Those sent in the last second waited for the next level's users: none of the level's figures shows them."""
    last = [slow_start(user, 28.3, 5.0) for user in range(2)]
    rest = [reply(user, 40.0 + 5 * k) for user in range(8) for k in range(4)]
    alone = at(judged(steady(2, 0, 26), rest, steps=((2, 30), (8, 30))), 2)
    level = at(judged(steady(2, 0, 26), last, rest, steps=((2, 30), (8, 30))), 2)
    assert level.replies == alone.replies + 2
    same = replace(level, replies=alone.replies, total_tokens_per_s=alone.total_tokens_per_s)
    assert same == alone
    assert (level.served_share, level.slo_attainment) == (1.0, 1.0)
    assert level.ttft_p50 is not None
    assert level.ttft_p50 < 1.0
    assert level.ttft_p95 is None, "14 replies are too few for it"


def test_without_more_users_a_reply_is_judged_whole() -> None:
    alone = judged(steady(2, 0, 27), SLOWED, steps=((2, 30),))
    assert (at(alone, 2).replies_open, at(alone, 2).replies_strained) == (0, 2)
    fewer = judged(steady(2, 0, 27), SLOWED, steady(1, 30, 30), steps=((2, 30), (1, 30)))
    assert (at(fewer, 2).replies_open, at(fewer, 2).replies_strained) == (0, 2)


def test_after_more_users_a_level_starts_when_their_queue_has_drained() -> None:
    """Eight users leave a queue: the two who stay get their old replies after 12 s, and new ones at once."""
    queued = [reply(user, 28.0, first=41.5 + user / 2, tokens_out=2) for user in range(2)]
    stuck = [slow_start(user, 36.0, 3.0) for user in range(2)]
    calm = [reply(user, 43.0 + 3 * k) for user in range(2) for k in range(7)]
    overload = [slow_start(user, 5.5 + 4 * k, 12.0) for user in range(2, 8) for k in range(4)]
    level = at(judged(overload, queued, stuck, calm, steps=((8, 30), (2, 35))), 2)
    assert level.t_start == pytest.approx(42.05)
    assert (level.served_share, level.replies, level.replies_strained) == (1.0, 14, 0)


@pytest.mark.parametrize("rows_at_once", [1, 7, 64])
def test_grading_in_parts_changes_nothing(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        slow_start(user, 5.0 * n + user, 0.2 + user) if n % 2 else reply(user, 5.0 * n + user, tokens_out=100)
        for n in range(10)
        for user in range(4)
    ]
    # Reasoning that users see in some rows only, so that both ways to judge it differ late.
    rows = [replace(row, first_visible=row.first and row.first + 3.0) if n > 30 else row for n, row in enumerate(rows)]
    run = evidence(rows, staircase((2, 25), (4, 35)))
    at_once = judge(run, CHAT)
    monkeypatch.setattr(grade_levels, "ROWS_AT_ONCE", rows_at_once)
    assert judge(run, CHAT).to_json() == at_once.to_json()

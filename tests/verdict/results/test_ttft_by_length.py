"""TTFT by prompt length: classes of powers of two, at the level with the fewest users."""

import numpy as np
import pytest
from worlds import reply

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.sections.optional.prompt_lengths import prompt_lengths
from probe_ext.verdict.evidence.columns import Columns, from_rows
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.levels.level_assignment import LevelAssignment
from probe_ext.verdict.results.ttft_by_length import ttft_by_length
from probe_ext.verdict.values.level_result import TtftByLength


def seen(prompts: list[tuple[int, int, float]], levels: tuple[int, ...] = (8, 2)) -> TtftByLength | None:
    """Return the result of replies with (index of the level, prompt tokens, TTFT)."""
    rows = [
        reply(0, 10.0, first=10.0 + ttft, end=20.0, tokens_in=tokens, tokens_cached=16) for _, tokens, ttft in prompts
    ]
    level_of = np.array([level for level, _, _ in prompts], dtype=np.int64)
    columns: Columns = from_rows(rows, ReplyRow)
    found = [Level(users, users, users, 0.0, 30.0, band=False) for users in levels]
    ends = np.full(len(rows), 20.0)
    counted = [np.flatnonzero(level_of == index) for index in range(len(levels))]
    assignment = LevelAssignment(found, level_of, np.zeros(len(rows), dtype=np.int64), ends)
    return ttft_by_length(columns, assignment, counted)


SHORT, LONG = [(1, n, 0.02) for n in range(40, 60)], [(1, n, 0.3) for n in range(600, 606)]


def test_long_prompts_stand_beside_short_ones_at_the_lowest_level() -> None:
    result = seen([*SHORT, *LONG, *[(0, 500, 5.0)] * 9, (-1, 50, 9.0)])
    assert result is not None
    assert result.users == 2
    short, long = result.classes
    assert (short.tokens_from, short.tokens_to, short.replies) == (40, 59, 20)
    assert (short.ttft_p50, long.ttft_p50) == (pytest.approx(0.02), pytest.approx(0.3))
    assert short.ttft_p95 == pytest.approx(0.02)
    assert long.ttft_p95 is None
    assert long.cached_share == pytest.approx(16 / 602.5, rel=0.01)


@pytest.mark.parametrize("prompts", [SHORT, [*SHORT, *LONG[:4]], [], [(1, 0, 0.1)] * 9])
def test_one_length_is_no_table(prompts: list[tuple[int, int, float]]) -> None:
    assert seen(prompts) is None


def test_a_level_without_known_lengths_is_passed_over() -> None:
    result = seen([*[(1, 0, 0.1)] * 9, *((0, tokens, ttft) for _, tokens, ttft in [*SHORT, *LONG])])
    assert result is not None
    assert result.users == 8


def test_a_level_with_too_few_replies_of_another_length_is_passed_over() -> None:
    result = seen([*SHORT, *LONG[:4], *((0, tokens, ttft) for _, tokens, ttft in [*SHORT, *LONG])])
    assert result is not None
    assert result.users == 8


def test_the_page_shows_each_class() -> None:
    view = {"users": 2, "classes": [{"tokens_from": 600, "tokens_to": 1100, "replies": 6, "ttft_p50": 0.3,
                                     "ttft_p95": None, "cached_share": 0.25}]}  # fmt: skip
    table = prompt_lengths({"ttft_by_length": view})
    assert table is not None
    assert table.rows == [["600 to 1,100", "6", "0.30 s", "–", "25 %"]]
    assert "2 users" in table.note
    assert prompt_lengths({"ttft_by_length": None}) is None

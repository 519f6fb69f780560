"""A level's figures: percentiles, throughput, and server metrics."""

from dataclasses import replace

import pytest
from worlds import CHAT, columns, evidence, manifest, reply, staircase, steady

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.evidence.evidence import Window
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.results.slo_metrics import token_windows, tokens_within
from probe_ext.verdict.server.server_series import read_metrics, restarts, server_figures, total_rise
from probe_ext.verdict.values.level_result import LevelResult

LEVEL = Level(2, 2, 2, 10.0, 20.0, band=False)


def only_level(rows: list[ReplyRow], **changes: object) -> LevelResult:
    return judge(evidence(rows, staircase((1, 30)), **changes), CHAT).levels[0]


def test_percentiles_of_the_replies() -> None:
    rows = [reply(0, 6.0 + i / 10, first=6.0 + i / 10 + (i + 1) / 100, due=5.9 + i / 10) for i in range(101)]
    figures = only_level(rows)
    assert figures.ttft_p50 == pytest.approx(0.51)
    assert figures.ttft_p95 == pytest.approx(0.96)
    assert figures.ttft_p99 == pytest.approx(1.00)
    assert figures.first_word_p50 == pytest.approx(0.61)
    assert figures.decode_rate_p50 == pytest.approx(20.0)
    assert figures.slo_attainment == pytest.approx(90 / 101), "past 1 s from due"
    assert figures.goodput_rps == pytest.approx(90 / 23), "a level of 24 s, of which the last second is not judged"


def test_the_way_is_what_a_first_token_takes_longer_here_than_at_the_server() -> None:
    rows = [reply(0, 6.0 + i, first=6.3 + i, server_ttft=0.1 + i / 100) for i in range(11)]
    figures = only_level(rows)
    assert figures.server_ttft_p50 == pytest.approx(0.15)
    assert figures.way_p50 == pytest.approx(0.15)
    silent = only_level([reply(0, 6.0)])
    assert (silent.server_ttft_p50, silent.way_p50) == (None, None)


def test_short_replies_have_no_decode_rate_and_no_replies_no_figures() -> None:
    assert only_level([reply(0, 6.0, tokens_out=5)]).decode_rate_p50 is None
    nothing = only_level([])
    assert (nothing.ttft_p50, nothing.longest_gap_max, nothing.slo_attainment, nothing.goodput_rps) == (None,) * 4


def tokens_at(*windows: tuple[float, int]) -> list[Window]:
    return [Window("tokens", start, 1.0, count, None) for start, count in windows]


def test_windows_at_the_edges_count_in_proportion() -> None:
    inside = tokens_at((9.0, 1000), (10.0, 50), (19.0, 50), (20.0, 1000))
    assert tokens_within(token_windows(inside), LEVEL) == pytest.approx(10.0)
    half = Level(2, 2, 2, 9.5, 19.5, band=False)
    assert tokens_within(token_windows(inside), half) == pytest.approx((500 + 50 + 25) / 10)


def test_no_counts_are_not_zero_tokens() -> None:
    assert tokens_within(token_windows([]), LEVEL) is None
    assert tokens_within(token_windows(tokens_at((100.0, 5))), LEVEL) == 0.0
    assert only_level(steady(1, 0, 30), windows=()).total_tokens_per_s is None


def samples(quantity: str, *values: float, engine: str = "0", url: str = "u", start: float = 9.5) -> list[ServerRow]:
    """Return one sample a second from second 9.5 on; the first is before the level."""
    return [ServerRow(start + i, url, engine, quantity, value) for i, value in enumerate(values)]


def server_values(rows: list[ServerRow]) -> tuple[float | None, ...]:
    figures = server_figures(read_metrics(columns(rows, ServerRow)), LEVEL)
    return figures.kv_usage_max, figures.preemptions, figures.waiting_max, figures.running_max


def test_a_silent_server_has_no_figures() -> None:
    assert server_values([]) == (None, None, None, None)
    assert server_values(samples("kv_usage", 0.5, start=100.0)) == (None, None, None, None)


def test_the_fullest_engine_counts_and_queues_add_up() -> None:
    rows = samples("kv_usage", 0.99, 0.3, 0.4) + samples("kv_usage", 0.1, 0.7, 0.2, engine="1")
    rows += samples("waiting", 9.0, 1.0, 2.0) + samples("waiting", 9.0, 3.0, 1.0, engine="1")
    rows += samples("running", 0.0, 4.0) + samples("running", 0.0, 5.0, url="v", start=9.6)
    assert server_values(rows) == (0.7, None, 4.0, 9.0)


def test_parts_and_their_sum_are_not_added_up() -> None:
    rows = samples("waiting", 1.0, 3.0) + samples("waiting", 1.0, 2.0, engine="1")
    assert server_values(rows + samples("waiting", 2.0, 5.0, engine="all"))[2] == 5.0


def test_a_counter_counts_where_it_rose_and_survives_a_restart() -> None:
    rows = samples("preemptions", 5.0, 7.0, 7.0, 2.0, 3.0)
    assert server_values(rows)[1] == 2 + 0 + 2 + 1
    metrics = read_metrics(columns(rows, ServerRow))
    assert total_rise(metrics, "preemptions") == 5.0
    assert list(restarts(metrics)) == [("u", 12.5)]


def test_a_new_process_start_is_a_restart() -> None:
    rows = samples("process_start", 1000.0, 1000.0, 1050.0)
    assert list(restarts(read_metrics(columns(rows, ServerRow)))) == [("u", 11.5)]


def test_a_stale_engine_is_left_out() -> None:
    rows = samples("waiting", 8.0) + samples("waiting", *[1.0] * 10, engine="1", start=10.0)
    assert server_values(rows)[2] == 9.0
    assert server_values(samples("waiting", 8.0, start=1.0) + samples("waiting", 1.0, engine="1", start=10.0))[2] == 1.0


def test_a_killed_run_counts_only_what_its_windows_cover() -> None:
    whole = [(LEVEL.t_start + second, 50) for second in range(4)]
    windows = tokens_at(*whole, (LEVEL.t_start + 4, 30), (LEVEL.t_start + 5, 5))  # replies in flight are not in these
    assert tokens_within(token_windows(windows), LEVEL, 2.0) == pytest.approx(50.0)
    assert tokens_within(token_windows(windows), LEVEL) == pytest.approx(235 / LEVEL.seconds)
    for lost in (6.0, float("inf")):
        assert tokens_within(token_windows(windows), LEVEL, lost) is None


def test_a_run_killed_while_it_ends_counts_as_killed() -> None:
    """Its reason to end is in the manifest by then, but not when it ended."""
    rows = [reply(user, 5.0 + 2 * n, end=6.9 + 2 * n) for user in range(2) for n in range(10)]
    windows = tuple(tokens_at(*((float(second), 50) for second in range(14))))
    whole = only_level(rows, windows=windows)
    killed = only_level(rows, windows=windows, manifest=manifest(ended_at=None))
    assert whole.total_tokens_per_s is not None
    assert killed.total_tokens_per_s == pytest.approx(50.0)
    assert whole.total_tokens_per_s < 50.0


OWN = {"profile": CHAT.model_dump(mode="json")}


def with_deadlines(*kept: tuple[int | None, int | None]) -> list[ReplyRow]:
    rows = steady(1, 0, 30)
    assert len(kept) <= len(rows)
    found = [replace(row, deadlines=n, deadlines_missed=m) for row, (n, m) in zip(rows, kept, strict=False)]
    return [*found, *rows[len(kept) :]]


def test_fluidity_is_over_all_deadlines_and_its_share_over_replies() -> None:
    rows = with_deadlines((100, 0), (100, 10), (100, 11), (200, 79), (0, 0), (None, None))
    run = evidence(rows, staircase((1, 30)), manifest=manifest(**OWN))
    (level,) = judge(run, CHAT).levels
    assert level.fluidity_index == pytest.approx(1 - 100 / 500)
    assert level.fluid_share == pytest.approx(2 / 4)


def test_deadlines_of_another_profile_are_ignored() -> None:
    rows = with_deadlines((100, 0))
    assert CHAT.typing
    faster = CHAT.model_copy(update={"typing": CHAT.typing.model_copy(update={"served": 30.0})})
    for profile, stated in ((faster, OWN), (CHAT, {}), (CHAT, {"profile": {"name": 7}})):
        run = evidence(rows, staircase((1, 30)), manifest=manifest(**stated))
        (level,) = judge(run, profile).levels
        assert (level.fluidity_index, level.fluid_share) == (None, None)


def test_a_profile_without_a_first_word_or_a_typing_speed_sets_no_deadlines() -> None:
    found = CHAT.deadlines
    assert found is not None
    assert (found.first, found.each, found.from_sent, found.visible) == (1.0, 0.1, False, False)
    assert CHAT.model_copy(update={"typing": None}).deadlines is None
    assert CHAT.model_copy(update={"first_word": None}).deadlines is None


def test_goodput_is_the_highest_rate_with_nine_of_ten_served() -> None:
    """One user with a reply every 3 s; four users, all served; eight users with a fifth of replies too late."""
    late = [
        reply(u, 125.1 + 3 * i, first=125.1 + 3 * i + (5 if i % 5 == 0 else 0.1)) for i in range(18) for u in range(8)
    ]
    rows = [*steady(1, 0, 60), *steady(4, 60, 60), *late]
    verdict = judge(evidence(rows, staircase((1, 60), (4, 60), (8, 60))), CHAT)
    assert verdict.goodput is not None
    assert (verdict.goodput.users, verdict.goodput.goal) == (4, 0.9)
    four = verdict.levels[1]
    assert (
        verdict.goodput.replies_per_s
        == four.goodput_rps
        == pytest.approx(four.replies_served / (four.t_end - four.t_start - 1))
    )
    assert judge(evidence(late, staircase((8, 120), (8, 60))), CHAT).goodput is None


def test_goodput_is_not_of_a_level_at_which_hardly_a_reply_ended() -> None:
    """Two users with 36 replies in 55 s; eight with one each in 5 s."""
    rows = [*steady(2, 0, 60), *[reply(user, 65.1) for user in range(8)]]
    found = judge(evidence(rows, staircase((2, 60), (8, 10))), CHAT)
    assert [level.slo_attainment for level in found.levels] == [1.0, 1.0]
    assert (found.levels[1].goodput_rps or 0) > (found.levels[0].goodput_rps or 0)
    assert found.goodput is not None
    assert found.goodput.users == 2


def test_goodput_is_of_all_visits_and_not_of_the_best_one() -> None:
    """Four users twice: all served in one visit, a third in the other; so two users have the goodput."""
    slow = [reply(u, 120.1 + 3 * i, first=120.1 + 3 * i + (0.1 if i % 3 else 5)) for i in range(18) for u in range(4)]
    rows = [*steady(4, 0, 60), *steady(2, 60, 60), *slow]
    verdict = judge(evidence(rows, staircase((4, 60), (2, 60), (4, 60))), CHAT)
    first, second = (level for level in verdict.levels if level.users == 4)
    assert (first.slo_attainment, verdict.goodput and verdict.goodput.users) == (1.0, 2)
    assert second.slo_attainment is not None
    assert second.slo_attainment < 0.9
    alike = judge(evidence([*steady(4, 0, 60), *steady(2, 60, 60), *steady(4, 120, 60)],
                           staircase((4, 60), (2, 60), (4, 60))), CHAT)  # fmt: skip
    assert alike.goodput is not None
    four = [level for level in alike.levels if level.users == 4]
    seconds = sum(level.t_end - level.t_start - 1 for level in four)
    assert alike.goodput.replies_per_s == pytest.approx(sum(level.replies_served for level in four) / seconds)

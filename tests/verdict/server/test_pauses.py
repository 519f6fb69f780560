"""Silent pauses beside preemptions, in worlds where it is known what has to do with what."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from worlds import CHAT, columns, evidence, reply, staircase

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow
from probe_ext.report.inputs import frames
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.find_pauses import find_pauses, longest, threshold
from probe_ext.verdict.server.overlap import Brackets, counter_rises, gauge_rises, overlap, windows
from probe_ext.verdict.server.pause_list import listed
from probe_ext.verdict.server.preemptions import find_preemptions
from probe_ext.verdict.server.server_series import Series, read_metrics
from probe_ext.verdict.values.pause_types import Pauses
from scripts.study.diagnosis.chance_of_overlap import LOADS, independent, linked

SECONDS = 300
EXAMPLE = Path(__file__).parents[3] / "reports" / "examples" / "vllm"

Span = tuple[float, float]


def scattered(n: int, seed: int, lasts: float = 2.5, first: float = 5.0) -> list[Span]:
    """Pauses at random times, the same length each."""
    random = Random(seed)
    starts = sorted(random.uniform(first, SECONDS - 10) for _ in range(n))
    return [(start, start + lasts) for start in starts]


def counted(at: list[float], quantity: str = "preemptions", url: str = "u") -> list[ServerRow]:
    """A counter that is read once a second and grows by one at each of the moments."""
    moments = np.array(sorted(at))
    return [ServerRow(float(t), url, "0", quantity, float((moments <= t).sum())) for t in range(SECONDS + 1)]


def queue(spans: list[Span]) -> list[ServerRow]:
    """The waiting gauge: a request waits during each span."""
    return [
        ServerRow(float(t), "u", "0", "waiting", float(sum(a <= t < b for a, b in spans))) for t in range(SECONDS + 1)
    ]


def world(spans: list[Span], server: list[ServerRow]) -> Evidence:
    """Four users all the time; a reply a pause, silent in its middle."""
    rows = [replace(reply(i % 4, a - 1, last=b + 1, end=b + 1), reply_id=f"r{i}") for i, (a, b) in enumerate(spans)]
    gaps = [GapRow(f"r{i}", a, b, 5) for i, (a, b) in enumerate(spans)]
    return evidence(rows, staircase((4, SECONDS)), gaps=columns(gaps, GapRow), server=server)


def judged(spans: list[Span], server: list[ServerRow]) -> Pauses:
    return judge(world(spans, server), CHAT).pauses


def test_pauses_that_end_with_preemptions_are_more_than_chance() -> None:
    """The counter rises as the victim speaks again, the queue grows as it falls silent."""
    spans = scattered(30, seed=1)
    found = judged(spans, counted([b - 0.01 for _, b in spans]) + queue(spans))
    assert (found.count, found.watched, found.preemptions) == (30, 30, 30)
    assert (found.meets_preemption, found.starts_as_queue_grows) == (30, pytest.approx(28, abs=2))
    ends = found.ends_with_preemption
    assert ends
    assert (ends.seen, ends.of, ends.result) == (30, 30, "more_than_chance")
    assert ends.chance < 10
    assert found.sentence.startswith("30 silent pauses of 2 s or more. 30 of 30 end with a preemption; ")
    assert found.sentence.endswith("would by chance: more than chance explains.")
    assert "caus" not in found.sentence


def test_preemptions_at_other_times_show_no_sign() -> None:
    spans = scattered(30, seed=2)
    apart = [t for t in np.arange(5.0, 290.0, 1.0).tolist() if all(not a - 2 < t < b + 2 for a, b in spans)]
    found = judged(spans, counted(Random(3).sample(apart, 20)))
    assert found.ends_with_preemption
    assert (found.ends_with_preemption.seen, found.ends_with_preemption.result) == (0, "no_sign")
    assert found.sentence.endswith("no sign of a connection.")


def test_without_any_preemption_nothing_coincides() -> None:
    found = judged(scattered(30, seed=2), counted([]))
    assert found.ends_with_preemption
    assert (found.meets_preemption, found.ends_with_preemption.seen, found.ends_with_preemption.chance) == (0, 0, 0)
    assert found.sentence == "30 silent pauses of 2 s or more; the server counted no preemptions."


def test_few_pauses_cannot_be_told_from_chance() -> None:
    """Six pauses beside a preemption every other second: half of them coincide anyway."""
    spans = scattered(6, seed=4)
    found = judged(spans, counted(np.arange(0.5, 300.0, 2.0).tolist()))
    assert found.ends_with_preemption
    assert found.ends_with_preemption.chance == pytest.approx(3, abs=0.5)
    assert found.ends_with_preemption.result == "cannot_tell"
    assert "too few to tell" in found.sentence


def test_a_small_difference_is_no_sign_however_significant() -> None:
    """One pause in fifty ends with a preemption; among thousands that is far beyond chance."""
    random = np.random.default_rng(6)
    ends = np.sort(random.uniform(0, 20_000, 20_000))
    own = ends[random.random(len(ends)) < 0.02]
    t = np.arange(20_001.0)
    series = Series(t, np.searchsorted(own, t, side="right").astype(float))
    found = overlap(counter_rises([series]), ends, windows([], [series], 20_000.0))
    assert found.seen > found.chance_high
    assert found.result == "no_sign"


def test_pauses_everywhere_meet_every_preemption_and_chance_explains_it() -> None:
    spans = [(float(t), t + 4.5) for t in range(5, 290, 5)]
    found = judged(spans, counted(np.arange(0.5, 300.0, 1.0).tolist()))
    assert found.ends_with_preemption
    assert found.ends_with_preemption.seen >= 55
    assert found.ends_with_preemption.result == "no_sign"


QUICK_LOADS = ("even load", "busy spells of 20 s")


@pytest.mark.untraced
@pytest.mark.parametrize(
    "load", [load if load in QUICK_LOADS else pytest.param(load, marks=pytest.mark.long) for load in LOADS]
)
def test_what_only_shares_the_load_is_seldom_called_more_than_chance(load: str) -> None:
    """2.5 % are claimed; the study counts more runs."""
    false = sum(independent(load, seed, 15, 60) == "more_than_chance" for seed in range(60))
    assert false <= 4


def test_what_is_linked_is_found() -> None:
    assert sum(linked(0.9, seed) == "more_than_chance" for seed in range(20)) >= 19


def test_windows_are_short_and_end_with_levels() -> None:
    edges = windows([Level(2, 2, 2, 5.0, 150.0, False), Level(8, 8, 8, 155.0, 299.0, False)], [], 300.0)
    assert 150.0 in edges
    assert edges[0] == 0.0
    assert edges[-1] == 300.0
    assert np.diff(edges).max() < 10


def test_chance_is_what_geometry_says() -> None:
    """Over all rotations a moment meets the brackets of its window by their share of it."""
    low, high = np.array([10.0, 20.0, 50.0]), np.array([11.0, 21.0, 53.0])
    moments = np.linspace(0, 99, 40)
    found = overlap(Brackets(low, high), moments, np.array([0.0, 100.0]))
    assert found.chance == pytest.approx(40 * 5 / 100, rel=0.12)


def test_a_draining_queue_does_not_grow() -> None:
    draining = Series(np.arange(4.0), np.array([6.0, 5.0, 4.0, 3.0]))
    assert not len(gauge_rises([draining]).low)
    found = judged([(99.5, 102.0)], counted([10.0]) + [
        ServerRow(float(t), "u", "0", "waiting", float(max(0, 120 - t))) for t in range(SECONDS + 1)
    ])  # fmt: skip
    assert found.starts_as_queue_grows == 0


def test_a_counter_that_starts_anew_is_no_rise() -> None:
    spans = [(99.2, 101.6)]
    values = [5.0] * 100 + [0.0] * 201
    rows = [ServerRow(float(t), "u", "0", "preemptions", v) for t, v in enumerate(values)]
    found = judged(spans, rows)
    assert found.meets_preemption == 0
    rows[110:] = [replace(row, value=2.0) for row in rows[110:]]
    again = judged([(108.5, 111.0)], rows)
    assert (again.meets_preemption, again.preemptions) == (1, 2)


def test_without_metrics_it_cannot_know() -> None:
    found = judged(scattered(3, seed=1), [])
    assert (found.count, found.watched, found.preemptions) == (3, 0, None)
    assert (found.meets_preemption, found.ends_with_preemption, found.starts_as_queue_grows) == (None, None, None)
    assert (found.kv_usage_p50, found.waiting_p50) == (None, None)
    assert "is not known" in found.sentence


def test_a_pause_during_which_nobody_asked_the_server_is_left_out() -> None:
    rows = [row for row in counted([150.5, 250.5]) if not 140 < row.t < 160]
    found = judged([(149.0, 152.0), (249.0, 252.0)], rows)
    assert (found.count, found.watched) == (2, 1)
    assert found.meets_preemption == 1
    assert found.ends_with_preemption
    assert found.ends_with_preemption.of == 1
    run = world([(149.0, 152.0), (249.0, 252.0)], rows)
    unknown, known = listed(run, read_metrics(columns(rows, ServerRow)), find_pauses(run, 2.0))
    assert (unknown.meets_preemption, known.meets_preemption) == (None, True)


def test_the_figures_of_a_pause_are_those_of_its_moment() -> None:
    kv = [ServerRow(float(t), "u", "0", "kv_usage", 0.9 if 100 <= t <= 104 else 0.3) for t in range(SECONDS)]
    server = counted([103.5]) + queue([(101.0, 103.2)]) + kv
    spans = [(50.5, 53.0), (100.5, 103.3)]
    run = world(spans, server)
    early, late = listed(run, read_metrics(columns(server, ServerRow)), find_pauses(run, 2.0))
    assert (early.kv_usage, early.waiting, early.meets_preemption, early.users) == (0.3, 0.0, False, 4)
    assert (late.kv_usage, late.waiting, late.meets_preemption) == (0.9, 1.0, True)
    assert (late.ends_with_preemption, late.starts_as_queue_grows) == (True, True)


def test_a_silence_in_which_a_reply_died_is_a_pause_that_never_resumed() -> None:
    rows = [
        reply(0, 10.0, last=12.0, end=20.0, outcome="stalled"),
        reply(1, 10.0, last=12.0, end=13.0, outcome="ended_by_us"),
        reply(2, 10.0, last=12.0, end=15.0),
        reply(3, 10.0, first=None, last=None, end=40.0, outcome="timeout_first", tpot=None),
    ]
    run = evidence(rows, staircase((4, 60)))
    spans = find_pauses(run, 2.0)
    assert (spans.start.tolist(), spans.end.tolist(), spans.resumed.tolist()) == ([12.0], [20.0], [False])


def test_gaps_of_unknown_replies_and_below_the_bound_are_none() -> None:
    run = world([(10.0, 12.0), (20.0, 21.9)], [])
    gaps = columns([GapRow("r0", 10.0, 12.0, 1), GapRow("r1", 20.0, 21.9, 1), GapRow("lost", 30.0, 39.0, 1)], GapRow)
    assert len(find_pauses(replace(run, gaps=gaps), 2.0)) == 1
    assert len(find_pauses(evidence([], staircase((1, 30))), 2.0)) == 0


def test_the_bound_is_the_profiles_and_never_below_what_is_kept() -> None:
    assert threshold(CHAT) == 2.0
    assert threshold(CHAT.model_copy(update={"silence": None})) == 2.0
    strict = CHAT.silence.model_copy(update={"served": 0.1}) if CHAT.silence else None
    assert threshold(CHAT.model_copy(update={"silence": strict})) == 0.25


def test_the_longest_stand_in_order_of_time() -> None:
    spans = find_pauses(world([(10.0, 13.0), (20.0, 22.0), (30.0, 37.0)], []), 2.0)
    assert longest(spans, 2).tolist() == [0, 2]


def test_brackets_of_several_engines_that_touch_are_one_and_far_samples_bracket_nothing() -> None:
    one = Series(np.array([0.0, 1.0, 2.0, 30.0]), np.array([0.0, 1.0, 2.0, 9.0]))
    other = Series(np.array([0.5, 1.5, 5.5]), np.array([0.0, 1.0, 2.0]))
    brackets = counter_rises([one, other])
    assert (brackets.low.tolist(), brackets.high.tolist()) == ([0.0], [5.5])
    assert counter_rises([]).met_by(np.array([1.0]), np.array([2.0])).tolist() == [False]


def test_the_real_run_whose_users_were_preempted() -> None:
    """vLLM with room for two users: the six had pauses, and each ends as the server counts a preemption."""
    found = judge(frames.load(EXAMPLE), CHAT).pauses
    assert found.count == found.watched > 50
    assert found.ends_with_preemption
    assert found.ends_with_preemption.seen == found.count
    assert found.ends_with_preemption.chance < found.count / 2
    assert found.ends_with_preemption.result == "more_than_chance"


# --- which level a preemption is charged to ---


def charged(preemptions: list[float], waiting: list[float] | None) -> list[tuple[float, float, float, bool]]:
    """One sample a second of both."""
    rows = [ServerRow(float(t), "u", "0", "preemptions", v) for t, v in enumerate(preemptions)]
    rows += [ServerRow(float(t), "u", "0", "waiting", v) for t, v in enumerate(waiting or [])]
    found = find_preemptions(read_metrics(columns(rows, ServerRow)))
    each = zip(found.at, found.shown, found.count, found.queued, strict=True)
    return [(float(at), float(shown), float(n), bool(queued)) for at, shown, n, queued in each]


@pytest.mark.parametrize(
    ("preemptions", "waiting", "expected"),
    [
        ([0, 0, 0, 0, 1], [0, 1, 1, 1, 0], [(1, 4, 1, True)]),
        ([0, 0, 0, 0, 2], [0, 1, 1, 2, 0], [(3, 4, 1, True), (1, 4, 1, True)]),
        ([0, 0, 0, 0, 3], [0, 1, 1, 2, 0], [(3, 4, 1, True), (1, 4, 1, True), (4, 4, 1, False)]),
        ([0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [(4, 4, 1, False)]),
        ([0, 0, 1, 0, 1], [0, 1, 0, 1, 0], [(1, 2, 1, True), (3, 4, 1, True)]),
        ([0, 0, 0, 1], None, [(3, 3, 1, False)]),
        ([0, 0, 0, 0], [0, 1, 1, 0], []),
    ],
)
def test_a_preemption_is_charged_to_where_an_unbroken_queue_grew(
    preemptions: list[float], waiting: list[float] | None, expected: list[tuple[float, float, float, bool]]
) -> None:
    assert charged(preemptions, waiting) == expected


def test_a_level_is_charged_with_what_began_in_it_and_says_what_is_unsure() -> None:
    """Put on hold at second 8, counted at second 12: the level up to second 10 is charged, and unsure of it."""
    rows: list[ReplyRow] = [reply(u, 5.5) for u in range(2)]
    told = [ServerRow(float(t), "u", "0", "preemptions", float(t >= 12)) for t in range(40)]
    told += [ServerRow(float(t), "u", "0", "waiting", float(8 <= t < 12)) for t in range(40)]
    found = find_preemptions(read_metrics(columns(told, ServerRow)))
    assert found.within(Level(2, 2, 2, 5.0, 10.0, False)) == (1, 1)
    assert found.within(Level(3, 3, 3, 11.0, 20.0, False)) == (0, 0)
    verdict = judge(evidence(rows, staircase((2, 30)), server=told), CHAT)
    assert [(lv.preemptions, lv.preemptions_unsure) for lv in verdict.levels] == [(1, 0)]

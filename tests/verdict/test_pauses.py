"""Silent pauses and preemptions, in runs whose relation between the two is known."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from worlds import CHAT, columns, evidence, reply, staircase

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow
from probe_ext.report.inputs import frames
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.find_pauses import find_pauses, longest, threshold
from probe_ext.verdict.server.overlap import Brackets, overlap, rises, stretches
from probe_ext.verdict.server.pause_list import listed
from probe_ext.verdict.server.preemptions import find_preemptions
from probe_ext.verdict.server.server_series import Series, read_metrics
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.pause_types import Pauses

SECONDS = 300
EXAMPLE = Path(__file__).parents[2] / "reports" / "examples" / "vllm"

Span = tuple[float, float]


def scattered(n: int, seed: int, lasts: float = 2.5, first: float = 5.0) -> list[Span]:
    """Return pauses of equal length at random times."""
    random = Random(seed)
    starts = sorted(random.uniform(first, SECONDS - 10) for _ in range(n))
    return [(start, start + lasts) for start in starts]


def counted(at: list[float], quantity: str = "preemptions", url: str = "u") -> list[ServerRow]:
    """Return a counter, read once a second, that grows by one at each of these times."""
    moments = np.array(sorted(at))
    return [ServerRow(float(t), url, "0", quantity, float((moments <= t).sum())) for t in range(SECONDS + 1)]


def queue(spans: list[Span]) -> list[ServerRow]:
    """Return the waiting gauge: one request waits during each span."""
    return [
        ServerRow(float(t), "u", "0", "waiting", float(sum(a <= t < b for a, b in spans))) for t in range(SECONDS + 1)
    ]


def world(spans: list[Span], server: list[ServerRow]) -> Evidence:
    """Return a run of four users with one reply per pause, silent in its middle."""
    rows = [replace(reply(i % 4, a - 1, last=b + 1, end=b + 1), reply_id=f"r{i}") for i, (a, b) in enumerate(spans)]
    gaps = [GapRow(f"r{i}", a, b, 5) for i, (a, b) in enumerate(spans)]
    return evidence(rows, staircase((4, SECONDS)), gaps=columns(gaps, GapRow), server=server)


def judged(spans: list[Span], server: list[ServerRow]) -> Pauses:
    return judge(world(spans, server), CHAT).pauses


def test_pauses_of_preemptions_overlap_far_more_than_chance() -> None:
    """The counter rises when the preempted reply resumes, the queue grows when it pauses."""
    spans = scattered(30, seed=1)
    found = judged(spans, counted([b - 0.01 for _, b in spans]) + queue(spans))
    assert (found.count, found.watched, found.preemptions) == (30, 30, 30)
    assert found.meets_preemption
    assert found.ends_with_preemption
    assert found.starts_as_queue_grows
    assert found.meets_preemption.seen == found.ends_with_preemption.seen == 30
    assert found.meets_preemption.beyond_chance
    assert found.ends_with_preemption.beyond_chance
    assert found.ends_with_preemption.chance < 6
    assert found.sentence.startswith(
        "30 silent pauses of 2 s or more: 30 end as the server counts a preemption, more than"
    )
    assert "caus" not in found.sentence


def test_preemptions_at_other_times_are_no_more_than_chance() -> None:
    spans = scattered(30, seed=2)
    apart = [t for t in np.arange(5.0, 290.0, 1.0).tolist() if all(not a - 2 < t < b + 2 for a, b in spans)]
    found = judged(spans, counted(Random(3).sample(apart, 20)))
    assert found.meets_preemption
    assert found.meets_preemption.seen == 0
    assert found.meets_preemption.chance > 3
    assert not found.meets_preemption.beyond_chance
    assert "no more than" in found.sentence


def test_without_preemptions_nothing_overlaps() -> None:
    found = judged(scattered(30, seed=2), counted([]))
    assert found.meets_preemption
    assert (found.meets_preemption.seen, found.meets_preemption.chance) == (0, 0)
    assert found.sentence == "30 silent pauses of 2 s or more; the server counted no preemptions."


def test_pauses_everywhere_meet_every_preemption_and_chance_explains_it() -> None:
    spans = [(float(t), t + 4.5) for t in range(5, 290, 5)]
    found = judged(spans, counted(np.arange(7.0, 290.0, 4.0).tolist()))
    assert found.meets_preemption
    assert found.meets_preemption.seen >= 55
    assert found.meets_preemption.chance > 50
    assert not found.meets_preemption.beyond_chance


def test_events_that_only_share_the_load_are_no_more_than_chance() -> None:
    """Both happen mostly in the second half, at a higher level, and are otherwise independent."""
    random = Random(5)
    spans = [(start, start + 2.0) for start in [20.0, 90.0, *sorted(random.uniform(155, 285) for _ in range(80))]]
    series = counted([10.0, 60.0, *(random.uniform(150, 295) for _ in range(40))])
    edges = stretches([Level(2, 2, 2, 5.0, 150.0, False), Level(8, 8, 8, 155.0, 300.0, False)], 300.0)
    assert edges.tolist() == [0.0, 150.0, 300.0]
    start, end = np.array(spans).T
    brackets = rises(list(read_metrics(columns(series, ServerRow))["preemptions"].values()))
    fair, fooled = (overlap(brackets, start, end, cut) for cut in (edges, np.array([0.0, 300.0])))
    assert not fair.beyond_chance
    assert fair.chance == pytest.approx(fair.seen, rel=0.15)
    assert fooled.chance < 0.75 * fair.chance, "turning over all levels at once takes the load for a connection"


def test_independent_series_rarely_exceed_chance() -> None:
    edges = np.array([0.0, 300.0])
    false = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        start = np.sort(random.uniform(0, 295, 25))
        low = np.unique(random.integers(0, 299, 20)).astype(np.float64)
        false += overlap(Brackets(low, low + 1), start, start + 2.0, edges).beyond_chance
    assert false <= 6, "2.5 % are expected, which is one or two"


@pytest.mark.parametrize("lasts", [0.0, 2.0, 7.0])
def test_chance_matches_geometry(lasts: float) -> None:
    """Over all rotations, a span of length d misses all brackets with probability Σ max(0, gap − d) ÷ length."""
    low, high = np.array([10.0, 20.0, 50.0]), np.array([11.0, 21.0, 53.0])
    start = np.linspace(0, 99, 40)
    expected = 40 * (1 - sum(max(0.0, gap - lasts) for gap in (9.0, 29.0, 57.0)) / 100)
    found = overlap(Brackets(low, high), start, start + lasts, np.array([0.0, 100.0]))
    assert found.chance == pytest.approx(expected, rel=0.12)
    assert found.chance_low <= expected <= found.chance_high


def test_a_counter_reset_is_not_a_rise() -> None:
    spans = [(99.2, 101.6)]
    values = [5.0] * 100 + [0.0] * 201
    rows = [ServerRow(float(t), "u", "0", "preemptions", v) for t, v in enumerate(values)]
    found = judged(spans, rows)
    assert found.meets_preemption is not None
    assert found.meets_preemption.seen == 0
    rows[110:] = [replace(row, value=2.0) for row in rows[110:]]
    again = judged([(108.5, 111.0)], rows)
    assert again.meets_preemption is not None
    assert (again.meets_preemption.seen, again.preemptions) == (1, 2)


def test_without_metrics_nothing_is_known() -> None:
    found = judged(scattered(3, seed=1), [])
    assert (found.count, found.watched, found.preemptions) == (3, 0, None)
    assert (found.meets_preemption, found.ends_with_preemption, found.starts_as_queue_grows) == (None, None, None)
    assert (found.kv_usage_p50, found.waiting_p50) == (None, None)
    assert "is not known" in found.sentence


def test_a_pause_between_distant_samples_is_left_out() -> None:
    rows = [row for row in counted([150.5, 250.5]) if not 140 < row.t < 160]
    found = judged([(149.0, 152.0), (249.0, 252.0)], rows)
    assert (found.count, found.watched) == (2, 1)
    assert found.meets_preemption
    assert found.meets_preemption.seen == 1
    assert "of 1 during which the counter was read" in found.sentence
    run = world([(149.0, 152.0), (249.0, 252.0)], rows)
    unknown, known = listed(run, read_metrics(columns(rows, ServerRow)), find_pauses(run, 2.0))
    assert (unknown.meets_preemption, known.meets_preemption) == (None, True)


def test_a_pause_has_the_figures_of_its_time() -> None:
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


def test_gaps_of_unknown_replies_and_short_gaps_are_not_pauses() -> None:
    run = world([(10.0, 12.0), (20.0, 21.9)], [])
    gaps = columns([GapRow("r0", 10.0, 12.0, 1), GapRow("r1", 20.0, 21.9, 1), GapRow("lost", 30.0, 39.0, 1)], GapRow)
    assert len(find_pauses(replace(run, gaps=gaps), 2.0)) == 1
    assert len(find_pauses(evidence([], staircase((1, 30))), 2.0)) == 0


def test_the_threshold_is_the_profiles_and_not_below_the_recorded_gaps() -> None:
    assert threshold(CHAT) == 2.0
    assert threshold(CHAT.model_copy(update={"silence": None})) == 2.0
    strict = CHAT.silence.model_copy(update={"served": 0.1}) if CHAT.silence else None
    assert threshold(CHAT.model_copy(update={"silence": strict})) == 0.25


def test_the_longest_pauses_are_in_order_of_time() -> None:
    spans = find_pauses(world([(10.0, 13.0), (20.0, 22.0), (30.0, 37.0)], []), 2.0)
    assert longest(spans, 2).tolist() == [0, 2]


def test_touching_brackets_of_engines_merge_and_distant_samples_bracket_nothing() -> None:
    one = Series(np.array([0.0, 1.0, 2.0, 30.0]), np.array([0.0, 1.0, 2.0, 9.0]))
    other = Series(np.array([0.5, 1.5, 5.5]), np.array([0.0, 1.0, 2.0]))
    brackets = rises([one, other])
    assert (brackets.low.tolist(), brackets.high.tolist()) == ([0.0], [5.5])
    assert rises([]).met_by(np.array([1.0]), np.array([2.0])).tolist() == [False]


def test_a_recorded_run_with_preemptions() -> None:
    """vLLM with room for two users: six paused, and each pause ends as the server counts a preemption."""
    found = judge(frames.load(EXAMPLE), CHAT).pauses
    assert found.count == found.watched > 50
    assert found.ends_with_preemption
    assert found.ends_with_preemption.seen == found.count
    assert found.ends_with_preemption.chance < found.count / 2
    assert found.ends_with_preemption.beyond_chance
    assert found.starts_as_queue_grows
    assert found.starts_as_queue_grows.beyond_chance


# --- to which level a preemption is attributed ---


def attributed(preemptions: list[float], waiting: list[float] | None) -> list[tuple[float, float, float, bool]]:
    """Sample both once a second."""
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
def test_a_preemption_is_attributed_to_where_an_unbroken_queue_grew(
    preemptions: list[float], waiting: list[float] | None, expected: list[tuple[float, float, float, bool]]
) -> None:
    assert attributed(preemptions, waiting) == expected


def test_a_level_states_its_preemptions_and_how_many_are_uncertain() -> None:
    """Preempted at second 8, counted at second 12: attributed to the level up to second 10, as uncertain."""
    rows: list[ReplyRow] = [reply(u, 5.5) for u in range(2)]
    told = [ServerRow(float(t), "u", "0", "preemptions", float(t >= 12)) for t in range(40)]
    told += [ServerRow(float(t), "u", "0", "waiting", float(8 <= t < 12)) for t in range(40)]
    found = find_preemptions(read_metrics(columns(told, ServerRow)))
    assert found.within(Level(2, 2, 2, 5.0, 10.0, False)) == (1, 1)
    assert found.within(Level(3, 3, 3, 11.0, 20.0, False)) == (0, 0)
    verdict = judge(evidence(rows, staircase((2, 30)), server=told), CHAT)
    assert [(lv.preemptions, lv.preemptions_unsure) for lv in verdict.levels] == [(1, 0)]

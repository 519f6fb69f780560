"""Diagnosis of servers whose limit is known: every rule where it must hold, and where it must not."""

import math
import re
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from recorded_runs import recorded
from regimes import evidence_of, judged, ruling
from worlds import CHAT, evidence, manifest, reply, staircase, steady, worker

from probe_ext.load.level_plan import LevelPlan
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.diagnosis.diagnose import RULES
from probe_ext.verdict.diagnosis.facts.level_load import tokens_by_block
from probe_ext.verdict.diagnosis.rules.ruling import graded, holds
from probe_ext.verdict.diagnosis.rules.throughput import MAX_FLAT, Point, Slope
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.phrasing.formats import rate
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.ruling_types import RULE_NAMES
from scripts.study.diagnosis import diagnoses
from scripts.study.diagnosis.diagnoses import blind
from scripts.study.diagnosis.hostile_servers import HELD_OUT_HOSTILE, HOSTILE
from scripts.study.diagnosis.regimes import DEMO, REGIMES
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run, drive

BREAKS_FIRST = {"serial": "first_word", "batch": "first_word", "wall": "first_word", "prefill": "first_word",
                "ceiling": "typing", "healthy": None}  # fmt: skip


def test_less_than_a_second_has_no_blocks() -> None:
    tokens = np.array([[0.0, 1.0, 5.0], [1.0, 1.0, 7.0]])
    assert [len(part) for part in tokens_by_block(tokens, 0.2, 1.1, 10)] == [0, 0]
    middle, per_second = tokens_by_block(tokens, 0.0, 2.0, 10)
    assert (list(middle), list(per_second)) == ([0.5, 1.5], [5.0, 7.0])


def test_every_rule_has_a_run_where_it_must_hold() -> None:
    every = [*REGIMES.values(), *HOSTILE.values()]
    held = set[str]().union(*(regime.bounds | regime.outside for regime in every))
    assert held == set(RULE_NAMES) - {"client_too_slow", "shared_cpu"}, "which have their own tests"
    assert (*RULES, "shared_cpu", "not_loaded") == RULE_NAMES


QUICK_HOSTILE = (
    "gateway, 250 tokens/s", "GPU throttles", "350 ms behind an edge", "sticky balancer 3:1", "cache 60 ms away",
    "buffering proxy", "429 beyond 8 at once", "noisy neighbour", "429 to one in 12, however many ask",
    "350 ms away for every third user",
)  # fmt: skip
HOSTILE_TOO = (
    "proxy, one at a time",
    "one replica slow",
    "4 tokens an event, no usage",
    "first token, then all",
    "one replica slow and full",
    "three engines at random",
    "two engines at random, long prompts",
    "quota used up",
)
"""One of each kind; the study has all."""
SLOW = {"ceiling, experts", "ceiling, other card", "healthy, thinking", "wall, other card", "batch, other card"}
"""Left to the study: many users, or too short a run."""


@pytest.mark.untraced
@pytest.mark.parametrize("name", [name for name in REGIMES if name not in SLOW])
def test_the_limits_and_nothing_else_are_named(name: str) -> None:
    found = judged(name).diagnosis
    assert set(found.bounds) == REGIMES[name].bounds
    for rule in found.rules:
        assert rule.why
        assert bool(rule.advice and rule.confidence and rule.label) == (rule.state == "holds")
        assert bool(rule.needs) == (rule.state == "unknown")
    assert [rule.rule for rule in found.rules] == list(RULE_NAMES)


@pytest.mark.untraced
@pytest.mark.parametrize("name", [name for name in REGIMES if name not in SLOW])
def test_nothing_is_claimed_without_server_metrics(name: str) -> None:
    found = judged(name, seen=False)
    outside = REGIMES[name].outside
    assert outside <= set(found.diagnosis.bounds) <= outside | REGIMES[name].outside_allowed
    assert ruling(found, "memory_wall").state == "unknown"
    if "batch_limit" in REGIMES[name].bounds:
        assert ruling(found, "batch_limit").state == "unknown"
        assert "metrics" in found.diagnosis.sentence


@pytest.mark.parametrize("name", BREAKS_FIRST)
def test_the_first_limit_agrees(name: str) -> None:
    assert judged(name).breaks_first == BREAKS_FIRST[name]


def test_a_rule_states_the_number_of_users_and_advice() -> None:
    serial, batch = ruling(judged("serial"), "serialised"), ruling(judged("batch"), "batch_limit")
    assert (serial.from_users, serial.confidence) == (4, "high")
    assert "--max-num-seqs" in serial.advice
    assert (batch.from_users, batch.confidence) == (8, "high")
    assert {fact.value for fact in batch.evidence if fact.unit == "requests"} >= {4.0}
    assert "no more than 4 requests run at once" in judged("batch").diagnosis.sentence
    low, _ = judged("batch").kv_headroom.replies or (0, 0)
    assert low >= 8
    assert batch.advice.startswith("Raise --max-num-seqs from 4 to 8,"), "what it is, and a cautious next value"
    top = max(judged("batch").levels, key=lambda level: level.users)
    price = f"typed more slowly ({rate(top.decode_rate_p50)} tokens/s at {top.users} users now)"
    assert all(part in batch.advice for part in ("KV cache (which has room", price, "probe compare"))
    wall = ruling(judged("wall"), "memory_wall")
    assert (wall.from_users, wall.confidence) == (16, "high")
    assert "hardware is the limit" in ruling(judged("ceiling"), "ceiling").advice


def test_confidence_is_lower_without_server_metrics() -> None:
    assert ruling(judged("cache"), "response_cache").confidence == "high"
    assert ruling(judged("cache", seen=False), "response_cache").confidence == "medium"
    assert ruling(judged("stubs", seen=False), "cut_answers").confidence == "medium"
    assert ruling(judged("healthy", seen=False), "not_loaded").confidence == "low"


@pytest.mark.parametrize(
    ("same", "other", "expected"),
    [({}, {}, "low"), ({"S1": True}, {}, "medium"), ({"S1": True, "S2": True}, {}, "medium"),
     ({"S1": True}, {"S2": True}, "high"), ({}, {"S1": True, "S2": True}, "high"), ({"S1": None}, {}, "low"),
     ({"S1": True}, {"S2": True, "S3": False}, "medium"), ({}, {"S3": False}, "low")],
)  # fmt: skip
def test_high_confidence_needs_a_sign_from_another_source(
    same: dict[str, bool | None], other: dict[str, bool | None], expected: str
) -> None:
    confidence, reason = graded(same, other)
    assert confidence == expected
    assert all((name in reason) == (seen is not None) for name, seen in {**same, **other}.items())


@pytest.mark.untraced
@pytest.mark.parametrize(
    "name", [*QUICK_HOSTILE, *(pytest.param(name, marks=pytest.mark.long) for name in HOSTILE_TOO)]
)
def test_servers_that_mislead(name: str) -> None:
    hostile, run = HOSTILE[name], diagnoses.evidence_of(HOSTILE[name], 5)
    verdict = judge(run, CHAT)
    found = set(verdict.diagnosis.bounds)
    assert hostile.bounds <= found <= hostile.bounds | hostile.allowed
    assert "other_load" in hostile.bounds or all(level.judged for level in verdict.levels)
    found = set(judge(blind(run), CHAT).diagnosis.bounds)
    assert hostile.outside <= found <= hostile.outside | hostile.outside_allowed


THERE = {"slow_replica": "one replica slow and full", "quota": "429 beyond 8 at once",
         "uneven_balancer": "sticky balancer 3:1, other card"}  # fmt: skip
NOT_THERE = {"slow_replica": "two engines at random, long prompts", "quota": "429 to one in 25, however many ask",
             "uneven_balancer": "two engines, evenly"}  # fmt: skip
SEEDS = 3
"""As `scripts/study/diagnosis` counts over more."""


@pytest.mark.untraced
@pytest.mark.long
@pytest.mark.parametrize("rule", THERE)
def test_how_often_a_rule_finds_what_is_there_and_is_silent_where_it_is_not(rule: str) -> None:
    every = HOSTILE | HELD_OUT_HOSTILE
    there, not_there = (
        [rule in judge(diagnoses.evidence_of(every[names[rule]], seed), CHAT).diagnosis.bounds for seed in range(SEEDS)]
        for names in (THERE, NOT_THERE)
    )
    assert (sum(there), sum(not_there)) == (SEEDS, 0)


def test_a_single_rejected_reply_is_no_quota() -> None:
    """One of 12 is more than 5 %, but one, and no share of which more users would have more."""
    rejected = {"outcome": Outcome.REJECTED, "status": 429, "first": None, "tpot": None, "tokens_out": None}
    few, many = (
        [reply(0, 2.0 + 2 * k) for k in range(22)],
        [reply(user, 54.0 + 2 * k) for user in (0, 1) for k in range(9)],
    )

    def state(rows: list[ReplyRow]) -> str:
        run = evidence(rows, staircase((1, 50), (2, 22)), manifest=manifest(workers=[worker(started=len(rows))]))
        return ruling(judge(run, CHAT), "quota").state

    beyond = [reply(1, 55.0 + 0.8 * k, longest_gap=None, **rejected) for k in range(24)]
    assert state([*few, *many]) == "absent"
    assert state([*few, *many, beyond[0], beyond[1]]) == "absent"
    assert state([*few, *many, *beyond]) == "holds"


def test_the_path_is_long_for_every_user_or_for_some() -> None:
    label = {
        name: ruling(judge(diagnoses.evidence_of(HOSTILE[name], 1), CHAT), "slow_path").label
        for name in ("350 ms behind an edge", "350 ms away for every third user")
    }
    assert re.fullmatch(r"the path to the server adds 0.3\d s to every first word", label["350 ms behind an edge"])
    assert "every" not in label["350 ms away for every third user"]
    assert "far less for some users" in label["350 ms away for every third user"]


def test_others_load_silences_the_diagnosis() -> None:
    found = judge(diagnoses.evidence_of(HOSTILE["noisy neighbour"], 2), CHAT).diagnosis
    assert found.bounds == ("other_load",)
    assert found.sentence == "What limits the server is not known: it had other load as well (high confidence)."


@pytest.mark.parametrize(("regime", "rule"), [("stubs", "cut_answers"), ("cache", "response_cache")])
def test_others_load_makes_no_reply_shorter_and_none_come_from_memory(
    regime: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = holds("other_load", "Others were there.", "it had other load as well", ("medium", ""), "Repeat it.", ())
    monkeypatch.setitem(cast("dict[str, Any]", RULES), "other_load", lambda _facts: shared)
    found = judge(evidence_of(regime), CHAT)
    assert found.diagnosis.bounds == ("other_load", rule)
    assert ruling(found, rule).label in found.diagnosis.sentence
    assert found.sentence.startswith("With replies ")


def test_the_advice_for_one_at_a_time_names_the_proxy_unless_the_server_shows_its_queue() -> None:
    assert "proxy" not in ruling(judged("serial"), "serialised").advice
    assert "proxy" in ruling(judged("serial", seen=False), "serialised").advice


def busy(cpu: float | None) -> Judgement:
    rows = steady(2, 0, 30)
    stated = manifest(workers=[worker(started=len(rows), cpu_seconds=cpu)])
    return judge(evidence(rows, staircase((2, 30)), manifest=stated), CHAT)


def test_a_client_that_cannot_keep_up() -> None:
    assert ruling(busy(98.0), "client_too_slow").state == "holds"
    assert ruling(busy(10.0), "client_too_slow").state == "absent"
    assert ruling(judge(Evidence({}, {}, {}, {}, (), {}, None, ()), CHAT), "client_too_slow").state == "unknown"


@pytest.mark.parametrize(("stamps", "state"), [("kernel", "unknown"), ("read", "holds")])
def test_one_stall_of_the_event_loop_is_no_limit_unless_it_invalidates_the_run(stamps: str, state: str) -> None:
    rows = steady(2, 0, 30)
    stalled = worker(started=len(rows), loop_lag_max=1.5, receive_stamps=stamps)
    found = judge(evidence(rows, staircase((2, 30)), manifest=manifest(workers=[stalled])), CHAT)
    assert ruling(found, "client_too_slow").state == state


def test_a_client_that_cannot_keep_up_looks_like_a_ceiling() -> None:
    run = evidence_of("ceiling")
    late = {**run.manifest, "workers": [{**run.manifest["workers"][0], "cpu_seconds": run.manifest["duration"]}]}
    found = judge(Evidence(**{**vars(run), "manifest": late}), CHAT)
    assert found.diagnosis.bounds == ("client_too_slow",)
    assert ruling(found, "ceiling").state == "unknown"


def test_an_empty_run_claims_nothing() -> None:
    found = judge(Evidence({}, {}, {}, {}, (), {}, None, ()), CHAT).diagnosis
    assert found.bounds == ()
    assert "not known" in found.sentence
    assert not [rule.rule for rule in found.rules if rule.state == "holds"]


def test_a_single_level_does_not_show_that_no_limit_is_reached() -> None:
    rows = steady(2, 0, 30)
    found = judge(evidence(rows, staircase((2, 30))), CHAT)
    assert ruling(found, "not_loaded").state == "unknown"
    assert "Only one level was measured" in found.diagnosis.sentence


@pytest.mark.parametrize(
    ("samples", "users", "needs"),
    [
        ((), 4, "the server's metrics: requests running and waiting"),
        ((1.0, 2.0), 4, "longer levels"),
        ((), 1, "a level with several users"),
        ((1.0, 10.0, 20.0), 1, "a level with several users"),
    ],
)
def test_metrics_that_were_read_are_not_asked_for_again(samples: tuple[float, ...], users: int, needs: str) -> None:
    server = [ServerRow(t, "u", "0", name, 1.0) for t in samples for name in ("running", "waiting", "kv_usage")]
    run = evidence(steady(users, 0, 30, tpot=0.2, tokens_out=10), staircase((users, 30)), server=server)
    found = judge(run, CHAT)
    assert ruling(found, "gateway").needs.startswith(needs)
    asked_for = [one.rule for one in found.diagnosis.rules if one.needs.startswith("the server's metrics")]
    assert bool(asked_for) == (not samples)


def test_requested_single_token_answers_are_not_cut() -> None:
    rows = steady(2, 0, 60, tokens_out=1, finish_reason="length")

    def asked(tokens: int) -> str:
        stated = manifest(options={"max_tokens": tokens, "ignore_eos": False}, workers=[worker(started=len(rows))])
        return ruling(judge(evidence(rows, staircase((2, 60)), manifest=stated), CHAT), "cut_answers").state

    assert (asked(1), asked(64)) == ("absent", "holds")


def test_tokens_that_never_reached_the_clients() -> None:
    rows = [reply(0, 6.0 + t, tokens_out=20) for t in range(40)]
    run = evidence(rows, staircase((1, 60)))

    def state(generated: float, finished: float) -> str:
        counters = {"generation_tokens": generated, "requests_finished": finished}
        server = {
            "t": np.array([0.0, 60.0] * 2), "url": np.array(["u"] * 4, dtype=object),
            "engine": np.array(["0"] * 4, dtype=object),
            "quantity": np.array([name for name in counters for _ in "ab"], dtype=object),
            "value": np.array([0.0, generated, 0.0, finished]),
        }  # fmt: skip
        return ruling(judge(replace(run, server=server), CHAT), "cut_answers").state

    assert state(800.0, 40.0) == "absent"
    assert state(8000.0, 40.0) == "holds"
    assert state(8000.0, 400.0) == "unknown", "others used the server"


def test_a_recorded_queue_of_a_real_server() -> None:
    found = judge(recorded("queueing", 16, 12), CHAT)
    assert found.diagnosis.bounds == ("batch_limit",)
    batch = ruling(found, "batch_limit")
    assert batch.evidence[0].value == 4
    assert ruling(found, "memory_wall").state == "absent"
    assert ruling(judge(blind(recorded("queueing", 16, 12)), CHAT), "batch_limit").state == "unknown"


def test_a_recorded_preemption_of_a_real_server() -> None:
    found = judge(recorded("preemption", 8, 14), CHAT)
    assert found.diagnosis.bounds == ("memory_wall",)
    wall = ruling(found, "memory_wall")
    assert wall.confidence == "high"
    assert ruling(found, "batch_limit").state == "absent"


def far(seconds: float) -> Judgement:
    """Return a run of 16 answers of 20 tokens that each take this long, from a server 50 ms away."""
    rows = [reply(0, 6.0 + t, first=6.0 + t + seconds, tpot=0.0001, end=6.0 + t + seconds + 0.002, connect=0.05)
            for t in range(16)]  # fmt: skip
    return judge(evidence(rows, staircase((1, 60))), CHAT)


def test_a_remote_cache_is_found_after_subtracting_the_network_time() -> None:
    assert ruling(far(0.050), "response_cache").state == "holds"
    assert ruling(far(0.400), "response_cache").state == "absent"


def test_replies_that_are_not_streamed_need_the_servers_gauges() -> None:
    def whole(run: Evidence) -> Evidence:
        missing = np.full(len(run.replies["sent"]), np.nan)
        unseen = dict.fromkeys(("first", "last", "first_visible", "tpot", "longest_gap"), missing)
        return replace(run, replies={**run.replies, **unseen, "streamed": np.zeros(len(missing), dtype=bool)})

    assert judge(whole(evidence_of("serial")), CHAT).diagnosis.bounds == ("serialised",)
    assert judge(whole(evidence_of("batch")), CHAT).diagnosis.bounds == ("batch_limit",)
    unseen = judge(whole(blind(evidence_of("serial"))), CHAT)
    assert ruling(unseen, "serialised").state == "unknown"
    assert unseen.diagnosis.bounds == ()


def test_waiting_for_a_step_to_end_is_no_batch_limit() -> None:
    """Long prompts of 16 users delay every step: some always wait, and the number running keeps changing."""
    rows = [reply(user, 1.0 + 5 * n, tpot=0.2) for n in range(10) for user in range(16)]
    waits = [0, 1, 2, 1, 0, 2, 1, 1, 0, 2] * 5
    server = [ServerRow(float(t), "u", "0", name, float(value)) for t, waiting in enumerate(waits)
              for name, value in (("running", 16 - waiting), ("waiting", waiting), ("kv_usage", 0.3))]  # fmt: skip
    stated = manifest(plan={"levels": [16], "hold": 50.0, "settle": 0.0, "min_replies": 3},
                      workers=[worker(started=len(rows))])  # fmt: skip
    run = evidence(rows, staircase((16, 50)), server=server, manifest=stated)
    assert ruling(judge(run, CHAT), "batch_limit").state == "unknown"


@pytest.mark.parametrize(
    ("lower", "upper", "fewer", "state"),
    [
        ((4, 4, 4, 4, 4, 4, 2, 3, 3, 2), (4, 4, 4, 2, 4, 4, 3, 4, 4, 2), 8, "holds"),
        ((4, 4, 4, 4, 4, 2, 2, 3, 3, 2), (4, 4, 4, 2, 4, 3, 3, 4, 2, 2), 8, "holds"),
        ((4, 4, 4, 4, 1, 2, 2, 3, 3, 2), (4, 4, 4, 2, 4, 4, 3, 4, 4, 2), 8, "absent"),
        ((4, 4, 4, 4, 4, 4, 2, 3, 3, 2), (4, 4, 4, 2, 4, 1, 3, 2, 3, 2), 8, "absent"),
        ((4, 4, 4, 4, 4, 4, 2, 3, 3, 2), (4, 4, 4, 2, 4, 4, 3, 4, 4, 2), 10, "absent"),
        ((5, 5, 5, 5, 5, 5, 2, 3, 3, 2), (4, 4, 4, 2, 4, 4, 3, 4, 4, 2), 8, "absent"),
    ],
    ids=["as recorded from vLLM", "half", "less below", "less above", "levels too near", "another number"],
)
def test_two_levels_show_a_limit_although_gauges_lag_behind_slow_steps(
    lower: tuple[int, ...], upper: tuple[int, ...], fewer: int, state: str
) -> None:
    """Four run at once in seven of ten samples; the others were taken before the step."""
    rows = [reply(user, (100.0 if users == 12 else 0.0) + 10 * n, tpot=0.5)
            for users in (fewer, 12) for n in range(10) for user in range(users)]  # fmt: skip
    server = [ServerRow(t + 0.5, "u", "0", name, float(value)) for t in range(200)
              for users, running in [(fewer, lower[t % 10]) if t < 100 else (12, upper[t % 10])]
              for name, value in (("running", running), ("waiting", users - 4), ("kv_usage", 0.01))]  # fmt: skip
    stated = manifest(plan={"levels": [fewer, 12], "hold": 100.0, "settle": 0.0, "min_replies": 3},
                      workers=[worker(started=len(rows))])  # fmt: skip
    run = evidence(rows, staircase((fewer, 100), (12, 100)), server=server, manifest=stated)
    assert ruling(judge(run, CHAT), "batch_limit").state == state


def test_a_ramp_without_levels_is_diagnosed_by_its_bands() -> None:
    plan = LevelPlan((12,), 36.0, 0.0, 3)
    ramp = Run(replace(DEMO, max_num_seqs=4), People(reply=120), plan)
    run = drive(ramp, 1, lambda t, _: 1 + int(t) // 6 if t < 72 else None, lambda _: None).evidence
    found = judge(replace(run, manifest={**run.manifest, "plan": None}), CHAT)
    assert all(level.band for level in found.levels)
    assert found.diagnosis.bounds == ("batch_limit",)


def test_failing_replies_are_not_blamed_on_the_hardware() -> None:
    rows = [
        replace(row, outcome="stream_error" if i % 2 else "complete")
        for i, row in enumerate(steady(1, 0.0, 60.0, every=1.5))
    ]
    found = judge(evidence(rows, staircase((1, 60.0))), CHAT)
    assert (found.breaks_first, found.served_users) == ("answer", 0)
    expected = "Replies fail from 1 user on; no limit of the server's speed explains that."
    assert found.diagnosis.sentence == expected


@pytest.mark.parametrize(
    ("batches", "tokens", "known", "between"),
    [
        ((0.5, 125.0), (200.0, 2420.0), False, 62),
        ((60.0, 125.0), (1500.0, 2420.0), True, 62),
        ((16.0, 128.0), (1600.0, 12000.0), True, 64),
    ],
)
def test_two_levels_far_apart_do_not_show_whether_throughput_still_grows(
    batches: tuple[float, float], tokens: tuple[float, float], known: bool, between: int
) -> None:
    """At 250 times the batch, 12 times the tokens: as well a tenth of the way up and flat ever since."""
    low, high = (Point(cast("Any", None), *point) for point in zip(batches, tokens, strict=True))
    stretch = math.log(high.batch / low.batch)
    found = Slope(low, high, math.log(high.tokens_per_s / low.tokens_per_s) / stretch, 0.01)
    assert found.power > MAX_FLAT
    assert found.hides_plateau is not known
    assert found.level_between == f"a level of about {between} users"


def test_the_peak_of_the_kv_cache_is_one_figure_wherever_it_was_reached() -> None:
    for name in ("serial", "batch", "prefill"):
        verdict = judged(name)
        wall = ruling(verdict, "memory_wall")
        shown = re.findall(r"at most ([\d.]+ %) full", verdict.kv_headroom.sentence)
        assert shown == re.findall(r"never exceeded ([\d.]+ %)", wall.why) != []

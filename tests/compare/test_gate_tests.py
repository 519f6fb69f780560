"""Gates on figures, and against a baseline: passed and failed only where that is proven."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from probe_ext.compare.gate_tests import GateTest, baseline_tests, limit_tests
from probe_ext.compare.replies import AssignedReplies, assigned_replies
from probe_ext.compare.set_up import Run
from probe_ext.report.outputs.asked_gates import AskedGates, gate_tests, outcome_of
from probe_ext.report.outputs.gate import Gate
from probe_ext.settings.gate_limits import gate_limits
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.evidence.evidence import Evidence
from scripts.study.truth import chat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import hold_levels
from tests.compare.test_compare_set_ups import LEVELS, run


@cache
def evidence() -> Evidence:
    """Of a server with 8 places, at up to 16 users."""
    return hold_levels(load_profile("demo"), People(), LEVELS, seed=1, hold=25.0).evidence


@cache
def replies() -> AssignedReplies:
    return assigned_replies(evidence(), chat())


def applied(limits: str, users: int | None = None, of: AssignedReplies | None = None) -> list[GateTest]:
    return limit_tests(of or replies(), gate_limits(limits), users)


@pytest.mark.parametrize(
    ("limits", "outcome"),
    [
        ("ttft_p95=0.8@8", "passed"),
        ("ttft_p95=0.8@16", "failed"),
        ("ttft_p95=100ms@10", "failed"),
        ("ttft_p50=1@4", "passed"),
        ("tpot_p95=0.1@8", "passed"),
        ("tpot_p95=0.01@8", "failed"),
        ("longest_gap_p95=2s@8", "passed"),
        ("broken_share=5%@8", "passed"),
        ("ttft_p95=0.8@7", "unproven"),
    ],
)
def test_a_limit_is_judged_by_what_is_proven(limits: str, outcome: str) -> None:
    (test,) = applied(limits)
    assert test.outcome == outcome, test.sentence
    assert test.name.startswith(limits.partition("=")[0])
    assert test.sentence.startswith(f"gate: {test.name}: ")


def test_a_limit_looks_at_the_gates_users_else_at_the_highest_level() -> None:
    assert applied("ttft_p95=0.8")[0].name.endswith("at 16 users")
    assert applied("ttft_p95=0.8", users=8)[0].name.endswith("at 8 users")
    assert applied("ttft_p95=0.8@4", users=8)[0].name.endswith("at 4 users")


def test_where_all_replies_failed_no_limit_is_kept() -> None:
    columns = dict(evidence().replies)
    size = len(columns["first"])
    for name in ("first", "first_visible", "last", "tpot", "longest_gap", "tokens_out"):
        columns[name] = np.full(size, np.nan)
    for name, value in (("outcome", "http_error"), ("finish_reason", "")):
        columns[name] = np.array([value] * size, dtype=object)
    all_failed = assigned_replies(replace(evidence(), replies=columns), chat())
    for limits in ("ttft_p95=100@8", "tpot_p95=10@8", "longest_gap_p95=100@8", "broken_share=50%@8"):
        assert applied(limits, of=all_failed)[0].outcome != "passed", limits


def test_a_server_is_not_worse_than_a_smaller_one() -> None:
    outcomes = {test.name: test.outcome for test in baseline_tests(run(3, places=16), run(1), 0.10)}
    assert set(outcomes.values()) == {"passed"}
    assert len(outcomes) == 6


def test_a_smaller_server_is_worse_by_first_word_and_nothing_else() -> None:
    tests = {test.name.partition(" at ")[0]: test.outcome for test in baseline_tests(run(1), run(3, places=16), 0.10)}
    assert tests["people"] == tests["replies served by first word"] == "failed"
    assert "failed" not in {tests["replies served by silence"], tests["complete answers"]}


def test_a_server_is_never_proven_worse_than_itself() -> None:
    assert "failed" not in {test.outcome for test in baseline_tests(run(2), run(1), 0.10)}


def test_capacities_beyond_what_both_tried_count_as_equal() -> None:
    (people, *_) = baseline_tests(run(5, places=16), run(3, places=16), 0.10)
    assert people.outcome == "passed", people.sentence


def test_of_a_capacity_json_only_what_it_holds_is_tested() -> None:
    left = replace(run(1), manifest=None, profile=None, replies=None)
    tests = baseline_tests(run(3, places=16), left, 0.10)
    assert [test.name.partition(" at ")[0] for test in tests] == ["people", "served replies"]
    assert {test.outcome for test in tests} == {"passed"}


def test_what_must_not_differ_leaves_every_test_unproven() -> None:
    tests = baseline_tests(run(4, reply=100), run(1), 0.10)
    assert {test.outcome for test in tests} == {"unproven"}
    assert "output lengths" in tests[0].sentence


def with_host(one: Run, host: str, platform: str) -> Run:
    manifest: dict[str, Any] = dict(one.manifest or {})
    workers = [{**worker, "host": host} for worker in manifest["workers"]]
    return replace(one, manifest={**manifest, "workers": workers, "versions": {"platform": platform}})


def test_runners_of_one_kind_may_have_other_names() -> None:
    one, other = with_host(run(1), "runner-1", "Linux"), with_host(run(3, places=16), "runner-2", "Linux")
    assert {test.outcome for test in baseline_tests(other, one, 0.10)} == {"passed"}
    elsewhere = with_host(run(3, places=16), "runner-2", "Darwin")
    assert {test.outcome for test in baseline_tests(elsewhere, one, 0.10)} == {"unproven"}


def test_an_invalid_run_passes_nothing() -> None:
    capacity = {**run(1).capacity, "verdict": "invalid"}
    (test,) = gate_tests(AskedGates("ttft_p95=0.8@8"), capacity, evidence(), (chat(), False), None)
    assert test.outcome == "unproven"
    assert "invalid" in test.sentence


def test_all_gates_together_went_as_the_worst_of_them() -> None:
    passed, failed, unproven = (GateTest("t", outcome, "s") for outcome in ("passed", "failed", "unproven"))
    assert outcome_of(None, []) is None
    assert outcome_of(Gate(8, "passed", "s"), [passed]) == "passed"
    assert outcome_of(Gate(8, "passed", "s"), [unproven]) == "unproven"
    assert outcome_of(Gate(8, "unproven", "s"), [failed, passed]) == "failed"


def test_the_command_line_overrides_the_runs_own_gates() -> None:
    own = {"fail_over": "ttft_p95=1", "baseline": "old", "margin": 0.2}
    assert AskedGates().completed(own) == AskedGates("ttft_p95=1", "old", 0.2)
    assert AskedGates("ttft_p95=2", None, 0.05).completed(own) == AskedGates("ttft_p95=2", "old", 0.05)
    assert AskedGates().completed({"fail_over": 3, "margin": "x"}) == AskedGates()

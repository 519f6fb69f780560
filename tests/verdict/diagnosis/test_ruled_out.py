"""Nothing is ruled out by a check that failed or is undecided, nor named as a cause without proof."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from regimes import judged, ruling
from worlds import CHAT, evidence, manifest, reply, staircase, steady, worker

from probe_ext.measure.findings import FindingName, FindingState
from probe_ext.verdict.checks.client_accuracy import late_starts, loop_lag, receive_lag
from probe_ext.verdict.diagnosis import diagnose as diagnosis
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.rules.headroom import shared_cpu
from probe_ext.verdict.diagnosis.rules.ruled_out import CHECKS, unless_doubted
from probe_ext.verdict.diagnosis.rules.ruling import absent, deferred, unknown
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.ruling_types import RULE_NAMES

ALL_CHECKS = sorted({check for needed in CHECKS.values() for check in (*needed.passed, *needed.not_failed)})


def facts(loads: Any = (), **states: FindingState) -> Facts:
    """Return facts whose checks passed, but for these."""
    found = {**dict.fromkeys(ALL_CHECKS, "pass"), **states}
    findings = tuple(
        Finding(cast("FindingName", name), cast("Any", state), False, f"{name} is {state}.")
        for name, state in found.items()
    )
    return cast("Facts", SimpleNamespace(findings=findings, reported=frozenset({"running"}), loads=loads))


def load(users: int, share: float, state: str = "unproven", in_flight: float = 0.9) -> Any:
    crowd = SimpleNamespace(in_flight=in_flight)
    served = share >= 0.9 and state != "failed"
    return SimpleNamespace(
        users=users, served_share=share, failed=state == "failed", held=state == "held", served=served, crowd=crowd,
        failing=False,
    )  # fmt: skip


def test_every_rule_says_what_it_needs_to_be_ruled_out() -> None:
    assert set(CHECKS) == set(RULE_NAMES) - {"not_loaded"}


@pytest.mark.parametrize("state", ["pass", "fail", "unproven"])
@pytest.mark.parametrize("check", ALL_CHECKS)
def test_no_rule_is_ruled_out_by_a_check_that_failed_or_is_undecided(check: str, state: FindingState) -> None:
    rulings = {name: absent(name, "It was not seen.") for name in CHECKS}
    decided = unless_doubted(rulings, facts(**{check: state}))
    for name, needed in CHECKS.items():
        doubted = state == "fail" and check in (*needed.passed, *needed.not_failed)
        doubted |= state == "unproven" and check in needed.passed
        assert decided[name].state == ("unknown" if doubted else "absent")
        assert bool(decided[name].needs) == doubted
        assert (f"{check} is {state}." in decided[name].why) == doubted


@pytest.mark.parametrize("check", ["accounted", "files"])
def test_nothing_is_ruled_out_where_replies_are_missing(check: str) -> None:
    rulings = {name: absent(name, "It was not seen.") for name in CHECKS}
    decided = unless_doubted(rulings, facts(**{check: "fail"}))
    assert {ruling.state for ruling in decided.values()} == {"unknown"}


def test_a_rule_that_refers_to_an_undecided_one_is_undecided() -> None:
    rulings = {"ceiling": unknown("ceiling", "Within noise.", "longer levels"),
               "throughput_limit": deferred("throughput_limit", "More is known there", "ceiling")}  # fmt: skip
    limit = unless_doubted(rulings, facts())["throughput_limit"]
    assert (limit.state, limit.needs) == ("unknown", "longer levels")
    assert limit.why == "More is known there: see `ceiling`. That is not known either."
    certain = unless_doubted({**rulings, "ceiling": absent("ceiling", "It was not seen.")}, facts())
    assert certain["throughput_limit"] == absent("throughput_limit", "More is known there: see `ceiling`.")


def test_throttling_is_unknown_while_no_level_was_visited_twice() -> None:
    found = judged("healthy")
    visited = next(finding for finding in found.findings if finding.check == "drift")
    assert visited.state == "unproven"
    assert ruling(found, "throttling").state == "unknown"


@pytest.mark.parametrize(
    ("loads", "says"),
    [
        ([load(1, 0.2, "failed"), load(4, 0.1, "failed", 4)], True),
        ([load(1, 0.7), load(4, 1.0, in_flight=4)], False),
        ([load(1, 0.7), load(4, 0.1, "failed", 4)], False),
        ([load(1, 0.7, "failed"), load(4, 1.0, in_flight=4)], False),
        ([load(1, 0.7, "failed"), load(1, 1.0), load(4, 0.5, in_flight=4)], False),
    ],
)
def test_a_single_user_is_blamed_only_if_proven_and_no_more_users_did_better(loads: list[Any], says: bool) -> None:
    rulings = {name: unknown(name, "It was not seen.", "more") for name in RULE_NAMES}
    sentence = diagnosis._nothing_holds(rulings, facts(loads), frozenset())
    assert ("Even a single user" in sentence) is says


@pytest.mark.parametrize(
    ("own", "late", "share", "bounds", "state"),
    [
        ("fail", "fail", 0.2, [], "holds"),
        ("fail", "fail", 0.2, ["ceiling"], "unknown"),
        ("fail", "fail", 1.0, [], "unknown"),
        ("fail", "pass", 0.2, [], "unknown"),
        ("pass", "fail", 0.2, [], "absent"),
        ("unproven", "fail", 0.2, [], "unknown"),
    ],
)
def test_a_shared_cpu_is_named_where_nothing_else_explains_late_reads(
    own: FindingState, late: FindingState, share: float, bounds: list[str], state: str
) -> None:
    found = shared_cpu(facts([load(8, share)], own_machine=own, loop_lag=late), bounds)
    assert found.state == state
    assert found.confidence in {None, "low", "medium"}


@pytest.mark.parametrize(
    ("states", "confidence"),
    [({}, "low"), ({"receive_lag": "fail"}, "medium"), ({"held_back": "fail"}, "medium"),
     ({"held_back": "fail", "receive_lag": "fail", "late_starts": "fail"}, "medium")],
)  # fmt: skip
def test_one_late_moment_of_a_shared_machine_tells_little(states: dict[str, FindingState], confidence: str) -> None:
    found = shared_cpu(facts([load(8, 0.2)], own_machine="fail", loop_lag="fail", **states), [])
    assert found.confidence == confidence


def test_a_starved_shared_machine_is_named_in_the_sentence() -> None:
    rows = [reply(user, 4.0 * n + user / 10, tpot=0.2) for user in range(4) for n in range(8)]
    stated = manifest(
        workers=[worker(started=len(rows), host="vm", loop_lag_max=1.4)], target={"host": "http://127.0.0.1:8000"}
    )
    found = judge(evidence(rows, staircase((4, 34)), manifest=stated), CHAT).diagnosis
    assert found.bounds == ("shared_cpu",)
    assert "the CPU that server and load generator share may be short" in found.sentence


@pytest.mark.parametrize(
    ("cpu", "advises"),
    [
        (1.7, "a machine of its own"),
        (80.0, "Use more workers"),
        (None, "does nothing else"),
        (30.0, "does nothing else"),
    ],
)
def test_advice_for_a_late_load_generator_goes_by_how_busy_it_was(cpu: float | None, advises: str) -> None:
    stated = manifest(workers=[worker(cpu_seconds=cpu, loop_lag_max=1.4)])
    for late in (loop_lag(stated), receive_lag(0.2, None, stated), late_starts(0.5, stated)):
        assert late.state == "fail"
        assert advises in late.advice
        assert ("Use more workers" in late.advice) == (cpu != 1.7)


def test_one_level_is_not_compared_with_itself() -> None:
    found = judge(evidence(steady(2, 0, 30), staircase((2, 30))), CHAT)
    assert not [fact.name for fact in ruling(found, "prefill_bound").evidence if "over that at" in fact.name]

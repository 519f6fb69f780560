"""Displays and report judge the load generator alike."""

from dataclasses import replace
from typing import Any

import pytest

from probe_ext.live.generator_check import GeneratorCheck
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import LatencySketch
from probe_ext.verdict.evidence.evidence import Window
from probe_ext.verdict.judge import judge
from tests.verdict.worlds import CHAT, evidence, manifest, staircase, steady, worker


@pytest.mark.parametrize(
    ("late", "lag", "broken", "changes", "slow"),
    [
        (0.001, 0.0005, 0, {}, False),
        (0.001, 0.0005, 0, {"loop_lag_max": 0.9}, False),
        (0.001, 0.0005, 0, {"loop_lag_max": 1.5, "receive_stamps": "read"}, True),
        (0.3, 0.0005, 0, {}, True),
        (0.001, 0.08, 0, {}, True),
        (0.001, 0.0005, 0, {"cpu_seconds": 95.0}, True),
        (0.001, 0.0005, 1, {}, True),
    ],
    ids=["well", "one moment", "a moment that spoils it", "late starts", "slow reads", "CPU", "own fault"],
)
def test_a_run_is_called_too_slow_while_it_goes_on_as_its_report_will(
    late: float, lag: float, broken: int, changes: dict[str, Any], *, slow: bool
) -> None:
    rows = [replace(row, late=late) for row in steady(2, 0, 30)]
    rows[:broken] = [replace(row, outcome=Outcome.CLIENT_ERROR) for row in rows[:broken]]
    reads = LatencySketch()
    reads.add([lag] * 100)
    known = manifest(workers=[worker(started=len(rows), **changes)])
    windows = [Window("lag", 0.0, 5.0, None, reads)]
    report = judge(evidence(rows, staircase((2, 30)), manifest=known, windows=windows), CHAT)
    ruling = next(rule for rule in report.diagnosis.rules if rule.rule == "client_too_slow")
    check = GeneratorCheck()
    check.add(rows)
    check.update(known, reads, LatencySketch())
    assert (ruling.state == "holds", bool(check.trouble)) == (slow, slow)
    assert not slow or ruling.why in check.trouble


def test_nothing_is_said_before_anything_is_known() -> None:
    check = GeneratorCheck()
    check.update({"workers": [], "duration": 0.0}, LatencySketch(), LatencySketch())
    assert not check.trouble

"""The synthetic runs that measure the cost of a report are sound ones."""

import json
from pathlib import Path

import pytest

from probe_ext.report import report_command
from scripts.page import long_gauntlet
from scripts.page.big_run import LEVELS, build


def test_the_big_run_is_complete_and_saturates(tmp_path: Path) -> None:
    built = report_command.build(build(tmp_path / "run", users=20, replies=2000, seconds=300.0, engines=2))
    found = json.loads((tmp_path / "run" / "capacity.json").read_text(encoding="utf-8"))
    assert [level["users"] for level in found["levels"]] == [2 * (n + 1) for n in range(LEVELS)]
    assert built.judgement.verdict == "valid"
    assert [level["users"] for level in found["levels"] if "silence" in level["why"]] == [18, 20]
    assert {f["check"] for f in found["findings"] if f["state"] == "fail"} == {"own_machine"}


def test_the_long_gauntlet_is_complete_and_shows_its_outage(tmp_path: Path) -> None:
    run = long_gauntlet.build(tmp_path / "run", replies=4000, rate=0.5)
    built = report_command.build(run)
    found = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    checks = {f["check"]: f["state"] for f in found["findings"]}
    assert (checks["accounted"], checks["arrivals"], checks["files"]) == ("pass", "pass", "pass")
    assert built.judgement.replies == 4000
    (outage,) = found["rolling"]["outages"]
    assert outage["until"] - outage["since"] == pytest.approx(long_gauntlet.OUTAGE_S, abs=30)

"""The synthetic run that measures the cost of a report is a valid one."""

import json
from pathlib import Path

from probe_ext.report import report_command
from scripts.page.big_run import LEVELS, build


def test_the_big_run_is_complete_and_saturates(tmp_path: Path) -> None:
    built = report_command.build(build(tmp_path / "run", users=20, replies=2000, seconds=300.0, engines=2))
    found = json.loads((tmp_path / "run" / "capacity.json").read_text(encoding="utf-8"))
    assert [level["users"] for level in found["levels"]] == [2 * (n + 1) for n in range(LEVELS)]
    assert built.judgement.verdict == "valid"
    assert [level["users"] for level in found["levels"] if "silence" in level["why"]] == [18, 20]
    assert {f["check"] for f in found["findings"] if f["state"] == "fail"} == {"own_machine"}

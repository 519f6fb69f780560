"""`make demo` with shorter levels: it must show a newcomer everything."""

import json
import re
import sys
from pathlib import Path

import pytest

from scripts.demo import lateness
from tests.e2e.conftest import ROOT, Run, finished, start
from tests.e2e.test_endings import check_accounts

SHORTER = ("--levels", "2,16", "--hold", "4s", "--settle", "1s", "--min-replies", "1", "--warm-up", "off")


def test_demo_has_a_level_that_fails_and_one_that_does_not(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    run = finished(start([sys.executable, str(ROOT / "scripts" / "demo.py"), *SHORTER, "--out", str(out)]), out)
    assert run.code == 0, run.said
    plan = run.manifest["plan"]
    assert plan.pop("visited_again") in ([], [2])  # if it held, which so few replies seldom prove
    assert plan == {"levels": [2, 16], "hold": 4.0, "settle": 1.0, "min_replies": 1, "rates": None, "search": None}
    check_accounts(run, nodes=2)
    assert len({row["worker"] for row in run.rows()}) == 2
    judged = json.loads((out / "capacity.json").read_text())
    states = {level["users"]: level["state"] for level in judged["levels"]}
    assert states[16] == "failed"
    assert states[2] != "failed"
    check_what_was_said(run, judged["sentence"])


@pytest.mark.parametrize(("late", "said"), [((), ""), ((0.021, 0.09), ""), ((0.05, 0.31), "up to 0.3 s late")])
def test_a_late_simulated_server_is_explained_where_it_matters(late: tuple[float, ...], said: str) -> None:
    warnings = "".join(f"simulator behind schedule: tokens sent {one:.3f} s late; why\n" for one in late)
    assert (said in lateness(warnings), bool(lateness(warnings))) == (True, bool(said))


def check_what_was_said(run: Run, sentence: str) -> None:
    """Output: the plan, the progress, then the verdict, the report's path, and how its commands can be run."""
    first, *rest, ended = run.said.rstrip().splitlines()
    port = re.match(r"simulated server running at http://127\.0\.0\.1:(\d+); now testing it with two workers", first)
    assert port is not None
    assert ended.endswith(f" start it again first: probe sim --profile demo --port {port[1]}")
    assert "behind schedule" not in run.said
    answer, following, report = [line for line in rest if "This machine was busy" not in line][-3:]
    assert answer == sentence
    command = rf"probe run capacity --host http://127\.0\.0\.1:{port[1]} "
    assert re.match(rf"To .* \(about \d+ minutes?\): {command}", following)
    assert "16" in sentence
    assert report == f"report: {run.directory / 'capacity.html'}"
    assert (run.directory / "capacity.html").exists()

"""`--search` as run by a user: it ends by itself, records its steps, and reports when interrupted."""

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, channel, finished, locust, start, start_anew, wait_for
from tests.e2e.test_bad_input import check_refused, probe_run
from tests.e2e.test_endings import check_accounts

BRIEF = ("--search", "--hold", "2s", "--settle", "1s", "--min-replies", "1", "--warm-up", "off", "--max-tokens", "20")
HASTY = "name: hasty\nfirst_word: {served: 0.001, strained: 0.002}\n"


def test_search_ends_and_its_steps_are_in_manifest_and_report(sim: str, tmp_path: Path) -> None:
    """This profile serves no user, so the search fails at one user."""
    out, slo = tmp_path / "run", tmp_path / "hasty.yaml"
    slo.write_text(HASTY)
    command = [str(BIN / "probe"), "run", "capacity", "--host", sim, *BRIEF, "--slo", str(slo), "--out", str(out)]
    run = finished(start([*command, "--processes", "2"]), out)
    assert run.code == 0, run.said
    check_accounts(run, nodes=2, least=3)
    assert run.manifest["end_reason"] == "search_done"
    searched = run.manifest["plan"]["search"]
    assert (searched["outcome"], run.manifest["plan"]["levels"]) == ("precise", [1])
    assert searched["interval"] == [0, 0]
    assert {(step["users"], step["state"]) for step in searched["steps"]} == {(1, "failed")}
    judged = json.loads((out / "capacity.json").read_text())
    assert (judged["served_users"], judged["bracket"]) == (0, [None, 1])
    told = next(finding for finding in judged["findings"] if finding["check"] == "search")
    assert (told["state"], told["invalidates"]) == ("pass", False)
    assert "search · 1 user · " in run.said
    assert "failed, until" in (out / "capacity.html").read_text(encoding="utf-8")


def test_ctrl_c_reports_the_search_so_far(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [str(BIN / "probe"), "run", "capacity", "--host", sim, *BRIEF, "--out", str(out)]
    process = start(command)
    wait_for(lambda: (out / "run.json").exists() and '"users": 4' in (out / "run.json").read_text(), "a second level")
    process.send_signal(signal.SIGINT)
    run = finished(process, out)
    assert (run.code, run.manifest["end_reason"]) == (130, "interrupted")
    assert run.manifest["plan"]["search"]["outcome"] is None
    judged = json.loads((out / "capacity.json").read_text())
    (told,) = (f for f in judged["findings"] if f["check"] in {"ended", "search"})
    assert (told["check"], told["state"]) == ("ended", "unproven")
    assert "The search" in told["why"]
    assert (out / "capacity.html").exists()


def test_plain_locust_searches_until_its_time_limit(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = finished(start_anew([*locust(sim, out, *BRIEF, "--search-time", "3s"), *channel()]), out)
    check_accounts(run, nodes=1, least=1)
    assert (run.code, run.manifest["end_reason"]) == (0, "search_done")
    assert run.manifest["plan"]["search"]["outcome"] == "time"
    found = next(finding for finding in run.manifest["findings"] if finding["check"] == "search")
    assert "--search-time" in found["advice"]


@pytest.mark.parametrize("mixed", [("--levels", "1,2"), ("-u", "4"), ("-r", "2"), ("-t", "5s")])
def test_refuses_a_search_with_levels_users_rate_or_time(sim: str, tmp_path: Path, mixed: tuple[str, str]) -> None:
    out = tmp_path / "run"
    refused = probe_run("capacity", "--host", sim, *BRIEF, *mixed, "--out", out)
    check_refused(refused, mixed[0], "--search")
    assert not out.exists()

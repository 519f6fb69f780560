"""However a run ends, every started reply is counted exactly once."""

import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest

from probe_ext.report.inputs import frames
from probe_ext.verdict.levels.find_levels import find_levels
from tests.e2e.conftest import BIN, Run, finished, locust, replies, start, start_anew, stopped, wait_for

USERS = ("-u", "6", "-r", "6")


def started(run: Run) -> int:
    return sum(worker["started"] for worker in run.manifest["workers"])


def check_accounts(run: Run, *, nodes: int, least: int = 6) -> None:
    """Check the accounts of a run, which must have replies."""
    rows = run.rows()
    assert len(rows) >= least, f"an empty run proves nothing:\n{run.said}"
    assert len({row["reply_id"] for row in rows}) == len(rows)
    assert started(run) == len(rows)
    ended_by_us = Counter(row["outcome"] for row in rows)["ended_by_us"]
    assert run.locust_total == len(rows) - ended_by_us
    workers = run.manifest["workers"]
    assert len(workers) == nodes
    assert all(worker["last_word"] and worker["rows"] == worker["started"] for worker in workers)
    assert run.manifest["ended_at"] is not None


def test_the_check_can_fail(sim: str, tmp_path: Path) -> None:
    run = stopped(start(locust(sim, tmp_path / "run", *USERS)), tmp_path / "run", lambda rows: len(rows) >= 6)
    check_accounts(run, nodes=1)
    lines = (run.directory / "requests.csv").read_text().splitlines(keepends=True)
    (run.directory / "requests.csv").write_text("".join(lines[:-1]))
    with pytest.raises(AssertionError):
        check_accounts(run, nodes=1)


def test_two_workers_ended_by_time(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = finished(start_anew(locust(sim, out, *USERS, "-t", "5s", "--processes", "2")), out)
    check_accounts(run, nodes=2)
    assert run.code == 0
    assert run.manifest["end_reason"] == "run_time"
    assert {row["outcome"] for row in run.rows()} == {"complete"}  # replies in flight were allowed to finish
    took = [float(row["end"]) - float(row["sent"]) for row in run.rows()]
    assert max(took) > 1  # a run of short replies would prove nothing


@pytest.mark.parametrize(
    ("signal_number", "reason", "code", "whole_group"),
    [
        pytest.param(signal.SIGINT, "interrupted", 130, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, "terminated", 0, False, id="the master terminated"),
        pytest.param(signal.SIGINT, "interrupted", 130, False, id="the master interrupted", marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, "terminated", 0, True, id="the process group terminated", marks=pytest.mark.long),
    ],
)
def test_two_workers_ended_by_a_signal(
    sim: str, tmp_path: Path, signal_number: signal.Signals, reason: str, code: int, *, whole_group: bool
) -> None:
    out = tmp_path / "run"
    process = start(locust(sim, out, *USERS, "--processes", "2"))
    wait_for(lambda: replies(out) >= 6, "replies before the signal")
    if whole_group:
        os.killpg(process.pid, signal_number)
    else:
        process.send_signal(signal_number)
    run = finished(process, out)
    check_accounts(run, nodes=2)
    assert (run.code, run.manifest["end_reason"]) == (code, reason)
    assert f"probe: {reason}: waiting up to 20 s for replies in flight" in run.said
    assert not [w for w in run.manifest["workers"] if w["away"] or w["lost_at"] is not None or w["left_at"] is not None]


def test_second_ctrl_c_aborts_and_counts_replies_in_flight(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(locust(sim, out, *USERS))
    wait_for(lambda: replies(out) >= 6, "replies before the signal")
    process.send_signal(signal.SIGINT)
    wait_for(lambda: '"end_reason": "interrupted"' in (out / "run.json").read_text(), "the first signal to be taken")
    process.send_signal(signal.SIGINT)
    run = finished(process, out)
    check_accounts(run, nodes=1)
    assert run.code == 130
    assert "ended_by_us" in {row["outcome"] for row in run.rows()}


def test_signal_during_the_report_keeps_one_report_and_the_gates_code(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    brief = ("--levels", "1", "--hold", "1s", "--settle", "0s", "--min-replies", "1", "--fail-under-users", "2000")
    command = [argument for argument in locust(sim, out, *brief) if argument != "--no-report"]
    process = start(command)
    wait_for(lambda: (out / "run.json").exists() and '"ended_at": "' in (out / "run.json").read_text(), "the run's end")
    process.send_signal(signal.SIGTERM)
    run = finished(process, out)
    assert run.code == 1, run.said
    assert run.said.count("report: ") == 1, run.said
    assert "SystemExit" not in run.said


@pytest.mark.long
def test_a_signal_to_the_reports_process_too_says_how_to_make_it(sim: str, tmp_path: Path) -> None:
    """As Ctrl-C does in a terminal: run and report get it alike."""
    out = tmp_path / "run"
    command = [argument for argument in locust(sim, out, "-u", "2", "-t", "300s") if argument != "--no-report"]
    process = start(command)
    wait_for(lambda: replies(out) >= 1, "a reply")
    process.send_signal(signal.SIGINT)
    wait_for(lambda: _report_of(process.pid), "the report's process")
    for pid in (_report_of(process.pid), process.pid):
        os.kill(pid, signal.SIGINT)
    run = finished(process, out)
    assert run.code == 130, run.said
    assert f"`probe report {out}` makes it" in run.said
    assert "Traceback" not in run.said
    assert len(run.rows()) == sum(worker["started"] for worker in run.manifest["workers"])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _report_of(pid: int) -> int:
    """The process that makes a run's report; 0 if there is none."""
    made = (child for child in _children(pid) if b"probe_ext\0report" in Path(f"/proc/{child}/cmdline").read_bytes())
    return next(made, 0)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_a_master_that_was_killed(sim: str, tmp_path: Path) -> None:
    """They would look for it for five minutes, or miss its heartbeats after one."""
    process = start(locust(sim, tmp_path / "run", *USERS, "--processes", "2"))
    workers = wait_for(lambda: (found := _children(process.pid)) and len(found) == 2 and found, "two workers")
    process.kill()
    wait_for(lambda: not any(map(_is_running, workers)), "the end of the workers")
    assert "lost contact with the master" not in process.communicate()[0]


@pytest.mark.long
def test_workers_of_a_killed_probe_worker_end_before_they_have_joined(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # where a master might be
        join = ["worker", "capacity", "--master-host", "127.0.0.1", "--master-port", str(silent.getsockname()[1])]
        process = start_anew([str(BIN / "probe"), *join, "--processes", "2"])
        workers = wait_for(lambda: (found := _children(process.pid)) and len(found) == 2 and found, "two workers")
        calls = [silent.accept()[0] for _ in range(3)]  # of the process that looks for a master, and both workers
        process.kill()
        wait_for(lambda: not any(map(_is_running, workers)), "the end of the workers")
        for call in calls:
            call.close()
    process.communicate()


def test_levels_end_the_run_and_are_in_users_csv(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    levels = ("--levels", "2,4", "--hold", "3s", "--settle", "1s", "--min-replies", "1")
    run = finished(start(locust(sim, out, *levels, "--processes", "2")), out)
    check_accounts(run, nodes=2)
    assert run.manifest["end_reason"] == "levels_done"
    assert run.manifest["plan"] == {
        "levels": [2, 4], "visited_again": [], "hold": 3.0, "settle": 1.0, "min_replies": 1,
        "rates": None, "search": None,
    }  # fmt: skip
    draining = min(float(row["t"]) for row in run.rows("users.csv") if row["state"] == "stopping")
    late = Counter(row["user"] for row in run.rows() if float(row["sent"]) > draining)
    assert max(late.values(), default=0) <= 1, "sent while the order to stop was on its way to the worker"
    last = find_levels(frames.load(out).users, run.manifest["plan"], None)[-1]
    assert last.t_end <= draining < max(float(row["end"]) for row in run.rows())  # the drain is no part of a level
    counts = [int(row["users"]) for row in run.rows("users.csv")]
    assert [n for n, m in zip(counts, [None, *counts], strict=False) if n != m and n in {2, 4}] == [2, 4]


ONLY_ONE = """
from locust import task

from probe_ext import StreamingUser


class OnlyOneUser(StreamingUser):
    fixed_count = 1

    @task
    def ask(self):
        self.llm.ask(self.prompts.next())
"""


def test_unreached_level_is_a_finding(sim: str, tmp_path: Path) -> None:
    file, out = tmp_path / "only_one.py", tmp_path / "run"
    file.write_text(ONLY_ONE)
    brief = ("--levels", "1,3", "--hold", "1s", "--settle", "0s", "--min-replies", "1", "--max-tokens", "12")
    run = finished(start(locust(sim, out, *brief, file=file)), out)
    check_accounts(run, nodes=1, least=2)
    assert run.manifest["end_reason"] == "levels_done"
    found = [one for one in run.manifest["findings"] if one["check"] == "level_reached"]
    assert [(one["state"], one["invalidates"]) for one in found] == [("fail", False)]  # the first level was reached
    assert "3 users" in found[0]["why"]
    assert {int(row["users"]) for row in run.rows("users.csv")} <= {0, 1}


def test_killed_worker_loses_only_unsent_rows(sim: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(locust(sim, out, *USERS, "--processes", "2"))
    wait_for(lambda: replies(out) >= 6, "replies before the kill")
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    before = replies(out)
    wait_for(lambda: replies(out) >= before + 4, "replies of the worker that is left")
    process.send_signal(signal.SIGINT)
    run = finished(process, out)
    assert len(run.rows()) == len({row["reply_id"] for row in run.rows()})
    kept = {worker["last_word"] for worker in run.manifest["workers"]}
    assert kept == {True, False}
    left = next(worker for worker in run.manifest["workers"] if worker["last_word"])
    assert left["rows"] == left["started"]

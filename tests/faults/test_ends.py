"""Ends of runs during long replies: every request that the server got is counted."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, CAPACITY, Run, channel, end, finished, free_port, replies, start, wait_for
from tests.e2e.test_endings import check_accounts
from tests.e2e.test_swarm import Web, _answers
from tests.faults.conftest import USERS, sim

pytestmark = pytest.mark.swarm

LEVELS = ("--levels", "3,6", "--hold", "8s", "--settle", "1s", "--min-replies", "1")
SLOW = "0.4"
"""speed of the simulated server: most replies take two to seven seconds, more than the drain limit"""


def _command(url: str, out: Path, *more: str) -> list[str]:
    line = [str(BIN / "locust"), "-f", str(CAPACITY), "--host", url, "--out", str(out), "--loglevel", "WARNING"]
    line += ["--no-report", "--drain", "1s", "--warm-up", "off", "--processes", "2", *channel()]
    return [*line, *more]


def _headless(url: str, out: Path, *more: str, signalled: signal.Signals | None = None, group: bool = False) -> Run:
    process = start(_command(url, out, "--headless", "--only-summary", *more))
    if signalled:
        wait_for(lambda: replies(out) >= 6, "replies before the signal")
        (os.killpg if group else os.kill)(process.pid, signalled)
    return finished(process, out)


def _web_stop(url: str, out: Path) -> Run:
    port = str(free_port())
    process = start(_command(url, out, "--web-host", "127.0.0.1", "--web-port", port))
    ui = Web(f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: _answers(ui), "the web UI")
        wait_for(lambda: len(json.loads(ui.get("/stats/requests"))["workers"]) == 2, "both workers")
        assert ui.swarm(user_count="6", spawn_rate="6")["success"]
        wait_for(lambda: replies(out) >= 6, "replies before the stop")
        ui.stop()
    finally:
        end(process)
    return finished(process, out)


ENDS: dict[str, Callable[[str, Path], Run]] = {
    "run_time": lambda url, out: _headless(url, out, *USERS, "-t", "15s"),
    "interrupted": lambda url, out: _headless(url, out, *USERS, signalled=signal.SIGINT, group=True),
    "terminated": lambda url, out: _headless(url, out, *USERS, signalled=signal.SIGTERM),
    "stopped": _web_stop,
    "levels_done": lambda url, out: _headless(url, out, *LEVELS),
}


@pytest.mark.parametrize("reason", ENDS)
def test_counts_injected_faults(reason: str, tmp_path: Path, tell: Callable[..., None]) -> None:
    out = tmp_path / "run"
    with sim("--speed", SLOW) as server:
        run = ENDS[reason](server.url, out)
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    rows = run.rows()
    outcomes = Counter(row["outcome"] for row in rows)
    assert run.manifest["end_reason"] == reason
    assert fired == len(rows)
    assert outcomes["ended_by_us"] > 0  # the drain limit was shorter than the replies in flight
    assert max(float(row["end"]) - float(row["sent"]) for row in rows if row["outcome"] == "complete") > 2
    assert not [w for w in run.manifest["workers"] if w["away"] or w["left_at"] is not None]
    tell(f"a run's end: {reason}", fired=fired, counted=f"{len(rows)}: {dict(outcomes)}", reported="its end")

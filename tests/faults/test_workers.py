"""Workers that die, hang, join late, or all leave."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from probe_ext.cli import main
from probe_ext.report.inputs import frames
from tests.e2e.conftest import BIN, PATIENCE, wait_for
from tests.e2e.test_endings import check_accounts
from tests.faults.conftest import ELSEWHERE, USERS, findings, sim, swarm

pytestmark = pytest.mark.swarm

Tell = Callable[..., None]


def test_kill_9(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with another clock and disk is killed: sent rows are kept, rows in its backup are merged."""
    away, out = tmp_path / "away", Path("run")  # below each worker's own directory
    away.mkdir()
    monkeypatch.chdir(tmp_path)
    if os.geteuid():
        pytest.skip("NOT CHECKED: a time namespace needs root")
    with sim() as server, swarm(server.url, out, *USERS, "-t", "25s") as it:
        it.join()
        it.join(*ELSEWHERE, cwd=away)
        it.wait_for_replies(8)
        shell = it.workers[1].pid
        child = int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])
        own = wait_for(lambda: next(away.rglob("requests-*.csv"), None), "the worker's own rows")
        os.kill(child, signal.SIGSTOP)  # rows it wrote but could not send
        it.wait_for_replies(1)
        os.kill(child, signal.SIGKILL)
        run = it.finish()
        fired = server.served(run.directory)
    lost = next(w for w in run.manifest["workers"] if not w["last_word"])
    rows = run.rows()
    started = sum(w["started"] for w in run.manifest["workers"])
    assert len({row["reply_id"] for row in rows}) == len(rows) <= started <= fired
    assert started - len(rows) <= 3  # one in flight per user of the dead worker
    assert fired - len(rows) <= 3 + 3
    assert lost["lost_at"] is not None
    assert 4990 < lost["clock_offset"] < 5010 + 25
    assert 0 < lost["clock_error"] < 0.5
    said = findings(out)
    assert "lost" in said["workers"].why
    assert not any(one.makes_invalid for one in said.values() if one.check in {"workers", "accounted"})
    before = len(rows)
    files = [str(path) for pattern in ("requests-*.csv", "gaps-*.csv") for path in away.rglob(pattern)]
    assert main(["merge", str(out), *files]) == 0
    assert main(["merge", str(out), *files]) == 0
    merged = run.rows()
    assert len({row["reply_id"] for row in merged}) == len(merged)
    assert {line.split(",")[0] for line in own.read_text().splitlines()[1:]} <= {row["reply_id"] for row in merged}
    duration = run.manifest["duration"]
    assert all(-1 < float(row["sent"]) < duration for row in merged if row["sent"])  # all on the master's time axis
    tell(
        "kill -9 of one of two workers, with another clock and another disk; then `probe merge`",
        fired=fired,
        counted=f"{before}, {len(merged)} after merging; {fired - len(merged)} were in the dead worker's hand",
        reported=said["workers"].why,
    )


def test_sigstop_for_ten_seconds(tmp_path: Path, tell: Tell) -> None:
    out = tmp_path / "run"
    with sim() as server, swarm(server.url, out, *USERS, "-t", "40s") as it:
        it.join()
        hung = it.join()
        it.wait_for_replies(8)
        hung.send_signal(signal.SIGSTOP)
        time.sleep(10)
        hung.send_signal(signal.SIGCONT)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    ((since, until),) = next(w["away"] for w in run.manifest["workers"] if w["away"])
    assert 7 < until - since < 25
    said = findings(out)
    assert "was out of contact from" in said["workers"].why
    assert "None of its rows is missing" in said["workers"].why
    _no_level_meanwhile(out, since, until)
    tell("SIGSTOP of one of two workers for 10 s", fired=fired, counted=len(run.rows()), reported=said["workers"].why)


def _no_level_meanwhile(out: Path, since: float, until: float) -> None:
    from probe_ext.verdict.evidence.manifest_view import absences  # noqa: PLC0415
    from probe_ext.verdict.levels.find_levels import find_levels  # noqa: PLC0415

    evidence = frames.load(out)
    levels = find_levels(evidence.users, None, None, absences(evidence.manifest))
    assert not [level for level in levels if level.t_start < until and level.t_end > since and not level.band]


def test_late_join(tmp_path: Path, tell: Tell) -> None:
    out = tmp_path / "run"
    with sim() as server, swarm(server.url, out, *USERS, expect=1) as it:
        it.join()
        it.wait_for_replies(8)
        it.join()
        wait_for(lambda: [w["rows"] > 3 for w in it.manifest()["workers"]] == [True, True], "replies of both")
        it.process.send_signal(signal.SIGINT)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    workers = {row["worker"] for row in run.rows()}
    assert len(workers) == 2
    ours = sum(row["outcome"] == "ended_by_us" for row in run.rows())
    tell(
        "a second worker joins in mid-run; Locust gives it half of the users",
        fired=fired,
        counted=len(run.rows()),
        reported=f"two workers, both drained; {ours} replies of moved users ended by us",
    )


def test_every_worker_killed(tmp_path: Path, tell: Tell) -> None:
    """With levels, Locust alone would wait for workers for ever."""
    out = tmp_path / "run"
    levels = ("--levels", "4,8", "--hold", "60s")
    with sim() as server, swarm(server.url, out, *levels) as it:
        it.join()
        it.join()
        it.wait_for_replies(6)
        for worker in it.workers:
            worker.send_signal(signal.SIGKILL)
        run = it.finish()
        fired = server.served(run.directory)
    rows = frames.load(out).replies["reply_id"]  # with the workers' backups, which are in the same directory here
    assert run.manifest["end_reason"] == "workers_lost"
    assert "lost contact with the last worker" in run.said
    assert fired - len(rows) <= 4 + 4  # in flight, or finished in the second before the kill
    said = findings(out)
    assert "last worker was lost" in said["ended"].why
    assert said["workers"].why.count("was lost at") == 2
    tell("kill -9 of every worker", fired=fired, counted=len(rows), reported=said["ended"].why)


def test_ctrl_c_on_each_worker_in_turn(tmp_path: Path, tell: Tell) -> None:
    """Ctrl-C in mid-run: the first worker leaves, the run goes on; the last one ends it, and none is lost."""
    out = tmp_path / "run"
    with sim() as server, swarm(server.url, out, *USERS, "-t", "90s") as it:
        it.join()
        it.join()
        it.wait_for_replies(8)
        it.workers[0].send_signal(signal.SIGINT)
        assert it.workers[0].wait(PATIENCE) == 0
        it.wait_for_replies(4)
        it.workers[1].send_signal(signal.SIGINT)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    assert run.manifest["end_reason"] == "workers_left"
    assert "the last worker left" in run.said
    assert all(w["left_at"] is not None and not w["away"] for w in run.manifest["workers"])
    said = findings(out)["workers"].why
    assert "no other was left. All sent their final report." in said
    tell("Ctrl-C on each worker in turn", fired=fired, counted=len(run.rows()), reported=said)


def test_worker_without_the_masters_api_key(tmp_path: Path, tell: Tell) -> None:
    """It is refused before it sends a request, and does not count as an expected worker."""
    out, key = tmp_path / "run", {**os.environ, "PROBE_API_KEY": "sk-never-to-be-seen"}
    none = {name: value for name, value in os.environ.items() if name != "PROBE_API_KEY"}
    locked = {**os.environ, "SIM_KEY": key["PROBE_API_KEY"]}
    with (
        sim("--api-key-env", "SIM_KEY", env=locked) as server,
        swarm(server.url, out, *USERS, "-t", "10s", expect=2, env=key) as it,
    ):
        it.join(env=key)
        without = it.join(env=none)
        said, _ = without.communicate(timeout=PATIENCE)
        assert without.returncode == 2
        assert not out.joinpath("requests.csv").exists()  # the master still waits for its second
        it.join(env=key)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert {row["outcome"] for row in run.rows()} <= {"complete", "ended_by_us"}
    assert len(run.rows()) == fired
    assert "this worker has none; set PROBE_API_KEY in its environment" in said
    assert "refused: it has no API key, this master has one" in run.said
    assert "never-to-be-seen" not in said + run.said
    line = next(line for line in said.splitlines() if "refused" in line)
    tell("a worker without the master's API key joins", fired=fired, counted=len(run.rows()), reported=line)


OTHER_VERSION = """
import probe_ext, sys
probe_ext.__version__ = "9.9.9"
from probe_ext.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_worker_of_another_version(tmp_path: Path, tell: Tell) -> None:
    out = tmp_path / "run"
    with sim() as server, swarm(server.url, out, *USERS, expect=1) as it:
        it.join()
        it.wait_for_replies(3)
        other = [sys.executable, "-c", OTHER_VERSION, "worker", "--master-host", "127.0.0.1", "--master-port", it.port]
        from tests.e2e.conftest import start  # noqa: PLC0415

        refused = start(other)
        said, _ = refused.communicate(timeout=PATIENCE)
        it.wait_for_replies(6)
        it.process.send_signal(signal.SIGINT)
        run = it.finish()
        fired = server.served(run.directory)
    assert refused.returncode == 2
    assert "this worker runs probe-ext 9.9.9, the master" in said
    assert "runs probe-ext 9.9.9, this master" in run.said
    assert "refused" in run.said
    rows = run.rows()
    assert len({row["worker"] for row in rows}) == 1
    assert fired - len(rows) <= 6  # requests started by users that Locust moved to it briefly
    tell(
        "a worker of another version joins in mid-run",
        fired=fired,
        counted=len(rows),
        reported=next(line for line in said.splitlines() if "refused" in line),
    )


STEPPED = """
import sys, time
real, begun = time.time, time.monotonic()
time.time = lambda: real() + (86400 if time.monotonic() - begun > 8 else 0)
from probe_ext.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_stepped_wall_clock_on_a_worker(tmp_path: Path, tell: Tell) -> None:
    """By a day in mid-run: Locust's own worker would quit at once, as it times heartbeats by the wall clock."""
    out = tmp_path / "run"
    from tests.e2e.conftest import end, start  # noqa: PLC0415

    with sim() as server, swarm(server.url, out, *USERS, "-t", "20s", expect=1) as it:
        worker = start(
            [sys.executable, "-c", STEPPED, "worker", "--master-host", "127.0.0.1", "--master-port", it.port]
        )
        try:
            run = it.finish()
        finally:
            end(worker)
        fired = server.served(run.directory)
    check_accounts(run, nodes=1)
    assert len(run.rows()) == fired
    sent = [float(row["sent"]) for row in run.rows()]
    assert max(sent) > 14  # it continued after the clock step
    assert not any(w["away"] for w in run.manifest["workers"])
    assert BIN
    tell(
        "the wall clock of a worker steps by a day in mid-run",
        fired=fired,
        counted=len(sent),
        reported="no finding",
    )

"""A worker whose link to the master is cut while its link to the server is not."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe_ext.cli import main
from tests.e2e.conftest import wait_for
from tests.e2e.test_endings import check_accounts
from tests.faults.conftest import ELSEWHERE, USERS, findings, sim, swarm

pytestmark = pytest.mark.swarm

NAME = f"probe{os.getpid()}"
MASTER, SERVER = "10.77.61", "10.77.62"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with separate links to the master and to the server."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("NOT CHECKED: a network of its own needs root and iproute2")
    _ip("netns", "add", NAME)
    try:
        for number, net in ((1, MASTER), (2, SERVER)):
            here, there = f"pm{os.getpid() % 10000}x{number}", f"pw{os.getpid() % 10000}x{number}"
            _ip("link", "add", here, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", NAME)
            _ip("addr", "add", f"{net}.1/24", "dev", here)
            _ip("link", "set", here, "up")
            _ip("-n", NAME, "addr", "add", f"{net}.2/24", "dev", there)
            _ip("-n", NAME, "link", "set", there, "up")
        yield NAME
    finally:
        for number in (1, 2):
            subprocess.run(["ip", "link", "del", f"pm{os.getpid() % 10000}x{number}"], check=False, capture_output=True)
        _ip("netns", "del", NAME)


def test_network_lost_for_good(
    namespace: str, tmp_path: Path, tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disconnected worker is killed; the rows it measured meanwhile are merged from its backup."""
    away, out, link = tmp_path / "away", Path("run"), f"pm{os.getpid() % 10000}x1"
    away.mkdir()
    monkeypatch.chdir(tmp_path)
    apart = ("ip", "netns", "exec", namespace, *ELSEWHERE)
    with (
        sim(bind=f"{SERVER}.1") as server,
        swarm(server.url, out, *USERS, "-t", "45s", expect=2, bind="0.0.0.0") as it,
    ):
        it.join()
        it.join(*apart, cwd=away, host=f"{MASTER}.1")
        it.wait_for_replies(8)
        own = wait_for(lambda: next(away.rglob("requests-*.csv"), None), "its own rows")
        _ip("link", "set", link, "down")
        before = own.read_text().count("\n")
        wait_for(lambda: own.read_text().count("\n") >= before + 6, "rows that it cannot send")
        it.workers[1].kill()
        run = it.finish()
        fired = server.served(run.directory)
    rows = len(run.rows())
    files = [str(path) for pattern in ("requests-*.csv", "gaps-*.csv") for path in away.rglob(pattern)]
    assert main(["merge", str(out), *files]) == 0
    merged = run.rows()
    assert len({row["reply_id"] for row in merged}) == len(merged) >= rows + 6
    assert 0 <= fired - len(merged) <= 6 + 3  # in flight when it was killed, or finished in its last second
    said = findings(out)
    assert "was lost at" in said["workers"].why
    assert "merged from workers' own disks" in said["merged"].why
    tell(
        "a worker is cut off, goes on, and is killed before it is back; then `probe merge`",
        fired=fired,
        counted=f"{rows}, {len(merged)} after merging; {fired - len(merged)} were in the dead worker's hand",
        reported=f"{said['workers'].why} {said['merged'].why}",
    )


def test_network_lost_for_ten_seconds(namespace: str, tmp_path: Path, tell: Callable[..., None]) -> None:
    """The disconnected worker goes on; after reconnecting, each of its rows arrives once."""
    out, link = tmp_path / "run", f"pm{os.getpid() % 10000}x1"
    with (
        sim(bind=f"{SERVER}.1") as server,
        swarm(server.url, out, *USERS, "-t", "70s", expect=2, bind="0.0.0.0") as it,
    ):
        it.join()
        it.join("ip", "netns", "exec", namespace, host=f"{MASTER}.1")
        it.wait_for_replies(8)
        _ip("link", "set", link, "down")
        wait_for(lambda: any(w["away"] for w in it.manifest()["workers"]), "the master to miss it")
        gone = next(w for w in it.manifest()["workers"] if w["away"])
        kept = it.rows_of(gone)
        it.wait_for_replies(8)
        assert it.rows_of(gone) == kept  # none of it arrives meanwhile
        _ip("link", "set", link, "up")
        wait_for(lambda: all(until for w in it.manifest()["workers"] for _, until in w["away"]), "it to be back")
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    back = next(w for w in run.manifest["workers"] if w["away"])
    since, until = back["away"][0]
    meanwhile = [row for row in run.rows() if row["worker"] == back["id"] and since < float(row["sent"]) < until]
    assert meanwhile  # it had gone on
    said = findings(out)
    assert "was out of contact from" in said["workers"].why
    tell(
        f"the network between a worker and the master cut for {until - since:.0f} s, and back",
        fired=fired,
        counted=f"{len(run.rows())}, {len(meanwhile)} of them sent while it was cut off",
        reported=said["workers"].why,
    )

"""A server that restarts, hangs or is hostile, and full disks."""

import csv
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import replies, wait_for
from tests.e2e.test_endings import check_accounts
from tests.faults.conftest import ELSEWHERE, USERS, findings, sim, swarm

pytestmark = pytest.mark.swarm

Tell = Callable[..., None]


def test_server_restart_in_mid_level(tmp_path: Path, tell: Tell) -> None:
    """It is stopped with replies in flight, and restarted at the same address some seconds later."""
    out = tmp_path / "run"
    levels = ("--levels", "6", "--hold", "15s", "--settle", "1s", "--min-replies", "1")
    with sim() as before, swarm(before.url, out, *levels) as it:
        it.join()
        it.join()
        it.wait_for_replies(8)
        served = before.served(out)
        it.wait_for_replies(3)  # refused requests
        with sim(port=before.url.rpartition(":")[2]) as after:
            run = it.finish()
            served += after.served(run.directory)
    check_accounts(run, nodes=2)
    outcomes = Counter(row["outcome"] for row in run.rows())
    cut, refused = outcomes["cut"] + outcomes["stream_error"], outcomes["connect_failed"] + outcomes["rejected"]
    assert cut > 0
    assert refused >= 3
    assert served + refused <= len(run.rows()) <= served + cut + refused  # refused requests are in no record
    said = findings(out)
    assert "were reset" in said["server_metrics"].why
    tell(
        "the server restarts in mid-level, with replies in flight",
        fired=f"{served} served, {refused} refused",
        counted=f"{len(run.rows())}: {dict(outcomes)}",
        reported=said["server_metrics"].why,
    )


def test_hanging_metrics(tmp_path: Path, tell: Tell) -> None:
    out = tmp_path / "run"
    with socket.create_server(("127.0.0.1", 0)) as silent, sim() as server:
        silent.listen(100)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        with swarm(server.url, out, *USERS, "-t", "12s", "--metrics-url", url) as it:
            it.join()
            it.join()
            run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    said = findings(out)["server_metrics"].why
    assert "no metrics" in said
    assert max(w["loop_lag_max"] for w in run.manifest["workers"]) < 5  # nothing waited for it
    tell("`/metrics` takes the connection and never answers", fired=fired, counted=len(run.rows()), reported=said)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    mount = shutil.which("mount")
    place = tmp_path / "small"
    place.mkdir()
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m", "probe-test", str(place)]
    if os.geteuid() or mount is None or subprocess.run(command, check=False).returncode:
        pytest.skip("NOT CHECKED: a full disk, since this user may not mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=False)


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(1024))
            except OSError:
                return filler


def test_masters_disk_full_for_a_while(small: Path, tmp_path: Path, tell: Tell) -> None:
    """Rows stay in the master's memory, and are written when there is space again."""
    out = small / "run"
    with sim() as server, swarm(server.url, out, *USERS, "-t", "25s") as it:
        it.join()
        it.join()
        it.wait_for_replies(3)
        filler = _fill(small)
        stuck = wait_for(lambda: replies(out), "rows")
        threading.Event().wait(8)
        assert replies(out) <= stuck + 12
        filler.unlink()
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    said = [one["why"] for one in run.manifest["findings"] if one["check"] == "disk"]
    assert any("every line was written later" in why for why in said), said
    assert not [one for one in run.manifest["findings"] if one["invalidates"]]
    told = next(why for why in said if "requests.csv" in why).rpartition("/")[2]
    tell("the master's disk is full for 8 s", fired=fired, counted=len(run.rows()), reported=told)


def test_workers_disk_full(small: Path, tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with a clock and a full disk of its own: the master has every row."""
    monkeypatch.chdir(tmp_path)
    out = Path("run")
    with sim() as server, swarm(server.url, out, *USERS, "-t", "15s") as it:
        it.join()
        it.join(*ELSEWHERE, cwd=small)
        wait_for(lambda: next(small.rglob("requests-*.csv"), None), "its own rows")
        _fill(small)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert len(run.rows()) == fired
    said = findings(out)["worker_disk"].why
    assert "No space left" in said
    assert "incomplete" in said
    tell("a worker's disk is full", fired=fired, counted=len(run.rows()), reported=said.rpartition("/")[2])


class Malice:
    """A server with HTML in its model's name, and a different fault on each connection in turn.

    Before `run` has rows, it answers honestly: a run whose requests all fail beforehand does not begin.
    """

    KINDS = ("endless headers", "a gigabyte event", "invalid JSON", "slow loris", "HTML in names", "no HTTP at all")
    NAME = "<img src=x onerror=alert(1)>"

    def __init__(self, run: Path) -> None:
        self._rows = run / "requests.csv"
        self.begun: Counter[str] = Counter()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            head = peer.recv(65536)
            if head.startswith(b"POST /v1/chat/completions") and not self._rows.exists():
                said = b'data: {"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": "stop"}]}\n\n'
                peer.sendall(self._HEAD + said + b"data: [DONE]\n\n")
            elif head.startswith(b"POST /v1/chat/completions") and b'"stream":true' in head.replace(b" ", b""):
                kind = self.KINDS[sum(self.begun.values()) % len(self.KINDS)]
                self.begun[kind] += 1
                getattr(self, "_" + kind.replace(" ", "_").lower())(peer)
            elif b"/v1/models" in head:
                body = b'{"data": [{"id": "%s"}]}' % self.NAME.encode()
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
            else:
                peer.sendall(b"HTTP/1.1 404 <b>no</b>\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass
        finally:
            peer.close()

    _HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    def _endless_headers(self, peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self._over.is_set():
            peer.sendall(b"X-More: " + b"a" * 8000 + b"\r\n")

    def _a_gigabyte_event(self, peer: socket.socket) -> None:
        peer.sendall(self._HEAD + b"data: ")
        for _ in range(16384):
            if self._over.is_set():
                return
            peer.sendall(b"a" * 65536)

    def _invalid_json(self, peer: socket.socket) -> None:
        peer.sendall(self._HEAD + b'data: {"choices": [{"delta": {"content": \n\n' * 3)

    def _slow_loris(self, peer: socket.socket) -> None:
        for byte in self._HEAD + b"data: " * 1000:
            if self._over.wait(0.5):
                return
            peer.sendall(bytes([byte]))

    def _html_in_names(self, peer: socket.socket) -> None:
        said = b"<script>alert(1)</script>"
        peer.sendall(self._HEAD + b'data: {"error": {"message": "%s\\u001b[31m", "type": "%s"}}\n\n' % (said, said))

    def _no_http_at_all(self, peer: socket.socket) -> None:
        peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 10)

    def close(self) -> None:
        self._over.set()
        self._server.close()


def test_hostile_server(tmp_path: Path, tell: Tell) -> None:
    """Every reply has an outcome, memory stays small, and the server's text is escaped."""
    out = tmp_path / "run"
    malice = Malice(out)
    limits = ("--timeout-first", "6s", "--timeout-gap", "4s", "--timeout-total", "10s", "--model", Malice.NAME)
    try:
        with swarm(malice.url, out, *USERS, "-t", "20s", *limits) as it:
            it.join()
            it.join()
            run = it.finish()
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    finally:
        malice.close()
    check_accounts(run, nodes=2)
    rows = run.rows()
    fired = sum(malice.begun.values())
    assert set(malice.begun) == set(Malice.KINDS)
    assert fired == len(rows)
    assert "complete" not in {row["outcome"] for row in rows}
    assert peak < 600  # MiB, of any process
    findings(out)
    page = (out / "capacity.html").read_text()
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    with (out / "requests.csv").open(newline="") as file:
        assert all(row["message"].isprintable() for row in csv.DictReader(file))
    outcomes = dict(Counter(row["outcome"] for row in rows))
    tell(
        f"a malicious server: {', '.join(Malice.KINDS)}",
        fired=fired,
        counted=f"{len(rows)}: {outcomes}",
        reported=f"all of it escaped on the page; largest process {peak:.0f} MiB",
    )

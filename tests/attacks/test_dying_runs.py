"""Runs whose server, network, terminal or workers die: nothing hangs, and every request is in the tables.

What must not be waited for never ends here, so that a run that ends at all (`finished` is patient, not endless) has not
waited for it. No test asserts a time: the machine may be busy.
"""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import BIN, CAPACITY, channel, end, finished, free_port, replies, start, wait_for
from tests.e2e.test_endings import check_accounts
from tests.faults.conftest import sim, swarm

pytestmark = pytest.mark.attacks

USERS = ("-u", "6", "-r", "6")


def a_run(url: str, out: Path, *more: str) -> list[str]:
    line = [str(BIN / "probe"), "run", str(CAPACITY), "--host", url, "--out", str(out)]
    return [*line, "--no-report", "--warm-up", "off", "--drain", "1s", *more]


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does as it likes with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def drip(sock: socket.socket) -> None:
    """Send headers for ever, a byte at a time."""
    with contextlib.suppress(OSError):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            sock.sendall(b"x")
            time.sleep(0.05)


def test_metrics_that_drip_their_headers_do_not_hold_the_end(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sim() as server, listening(drip) as metrics:
        process = start(a_run(server.url, out, *USERS, "-t", "8s", "--metrics-url", f"{metrics}/metrics"))
        run = finished(process, out)
        fired = server.served(run.directory)
    check_accounts(run, nodes=1)
    assert run.code == 0
    assert len(run.rows()) == fired


def test_models_that_drip_their_headers_do_not_hold_the_start(tmp_path: Path) -> None:
    with listening(drip) as server:
        run = finished(start(a_run(server, tmp_path / "run", *USERS, "-t", "8s", "--timeout-connect", "1s")), tmp_path)
    assert run.code == 2
    assert "timed out" in run.said


def test_a_second_interrupt_ends_everything_within_seconds(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sim("--speed", "0.2") as server, listening(drip) as metrics:
        line = a_run(server.url, out, *USERS, "--drain", "500s", "--metrics-url", f"{metrics}/metrics")
        process = start([*line, "--processes", "2", *channel()])
        wait_for(lambda: replies(out) >= 1, "a reply")
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        run = finished(process, out)
        fired = server.served(run.directory)
    assert run.code == 130
    assert run.manifest["end_reason"] == "interrupted"
    assert "ended_by_us" in {row["outcome"] for row in run.rows()}  # --drain was not waited for
    assert len(run.rows()) == fired


def test_a_target_with_several_addresses_that_dies_before_the_end_loses_no_row(tmp_path: Path) -> None:
    """The server is stopped, so that connections to each of its addresses hang while the run ends."""
    out, hosts = tmp_path / "run", tmp_path / "hosts"
    hosts.write_text("127.0.0.1 several\n127.0.0.2 several\n127.0.0.3 several\n")
    port = str(free_port())
    bind = ["mount", "--bind", str(hosts), "/etc/hosts"]
    if os.geteuid() or subprocess.run(["unshare", "--mount", *bind], check=False, capture_output=True).returncode:
        pytest.skip("NOT CHECKED: names of its own need root")
    with sim(bind="0.0.0.0", port=port) as server:
        script = " ".join(bind) + ' && exec "$@"'
        line = a_run(f"http://several:{port}", out, *USERS, "-t", "9s", "--processes", "2", *channel())
        process = start(["unshare", "--mount", "sh", "-c", script, "sh", *line])
        wait_for(lambda: replies(out) >= 6, "replies")
        server.process.send_signal(signal.SIGSTOP)
        try:
            run = finished(process, out)
        finally:
            server.process.send_signal(signal.SIGCONT)
    check_accounts(run, nodes=2)
    assert {row["outcome"] for row in run.rows()} >= {"complete", "ended_by_us"}


def test_closing_the_terminal_ends_the_run_in_order(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sim() as server:
        pid, terminal = pty.fork()
        if not pid:
            line = a_run(server.url, out, *USERS, "--processes", "2", *channel(), "--drain", "5s")
            os.execv(line[0], line)
        drain = threading.Thread(target=lambda: [None for _ in iter(lambda: _read(terminal), b"")], daemon=True)
        drain.start()
        wait_for(lambda: replies(out) >= 6, "replies")
        os.close(terminal)
        wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "the master's end")
        run = finished(subprocess.Popen(["true"], text=True, stdout=subprocess.PIPE), out)
        before = replies(out)
        fired = server.served(run.directory)
    check_accounts(run, nodes=2)
    assert run.manifest["end_reason"] == "terminated"
    assert len(run.rows()) == fired == before


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def test_force_into_a_live_run_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sim() as server:
        first = start(a_run(server.url, out, *USERS, "-t", "300s"))
        wait_for(lambda: replies(out) >= 3, "replies")
        second = finished(start(a_run(server.url, out, *USERS, "-t", "5s", "--force")), out)
        assert second.code == 2
        assert "a run is still going on in it" in second.said
        first.send_signal(signal.SIGTERM)
        run = finished(first, out)
        fired = server.served(run.directory)
    check_accounts(run, nodes=1)
    assert run.code == 0
    assert len(run.rows()) == fired


def test_a_worker_killed_in_its_first_second_does_not_spoil_the_other(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with sim() as server, swarm(server.url, out, *USERS, "-t", "20s") as it:
        it.join()
        it.join()
        wait_for(lambda: (out / "run.json").exists() and len(it.manifest()["workers"]) == 2, "both workers")
        it.workers[0].kill()
        run = it.finish()
    assert run.code == 0
    rows = run.rows()
    assert len(rows) >= 6
    survivor = next(worker for worker in run.manifest["workers"] if worker["last_word"])
    assert survivor["rows"] == survivor["started"]
    lost = next(worker for worker in run.manifest["workers"] if not worker["last_word"])
    assert lost["lost_at"] is not None


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_worker_with_several_processes_leaves_nobody_behind(tmp_path: Path, number: signal.Signals) -> None:
    with sim() as server, swarm(server.url, tmp_path / "run", *USERS, "-t", "60s", expect=2) as it:
        command = [str(BIN / "probe"), "worker", "--master-host", "127.0.0.1", "--master-port", it.port]
        parent = start([*command, "--processes", "2"])
        it.workers.append(parent)
        it.wait_for_replies(3)
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        parent.send_signal(number)
        assert parent.wait(60) == 0
        for child in children:
            with pytest.raises(ProcessLookupError):
                os.kill(int(child), 0)
        run = it.finish()
        fired = server.served(run.directory)
    check_accounts(run, nodes=2, least=3)
    assert len(run.rows()) == fired
    end(parent)

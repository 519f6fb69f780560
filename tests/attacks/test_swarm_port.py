"""Nothing that a stranger sends to the master's port ends a run, expels a worker or changes a figure."""

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from probe_ext import __version__
from probe_ext.swarm.link import messages
from tests.attacks.stranger import Stranger, pour, raw_peer, say_everything, stranger
from tests.attacks.wrong_messages import refused, wrong
from tests.e2e.conftest import BIN, Run, wait_for
from tests.e2e.test_endings import check_accounts
from tests.faults.conftest import sim, swarm

pytestmark = pytest.mark.attacks

TOKEN = "a token that nobody guesses"
USERS = ("-u", "4", "-r", "4", "-t", "14s")
LONGER = (*USERS[:-1], "40s")


@pytest.mark.parametrize("token", ["", TOKEN])
def test_strangers_change_nothing(tmp_path: Path, token: str) -> None:
    secret = {"PROBE_SWARM_TOKEN": token} if token else {}
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=1, env=secret) as it:
        it.join(env={**os.environ, **secret})
        it.wait_for_replies(4)
        run, worker = it.manifest()["run_id"], it.manifest()["workers"][0]["id"]
        with stranger(it.port) as peer, stranger(it.port, "\x1b[31mred") as rude, stranger(it.port, worker) as twin:
            for _ in range(3):
                for one in (peer, rude, twin):
                    say_everything(one, run, worker)
                time.sleep(1.0)
        it.wait_for_replies(4)  # still listening, to the end of the attack and after
        done = it.finish()
        fired = server.served(done.directory)
    _check_undisturbed(done, fired, nodes=1)
    if not token:  # with one, strangers do not get as far as a message
        (found,) = (one for one in done.manifest["findings"] if one["check"] == "messages")
        assert "is from a stranger" in found["why"]
        assert not found["invalidates"]
    assert "\x1b" not in done.said
    assert "invented" not in (tmp_path / "run" / "locust_exceptions.csv").read_text()
    assert done.said.count("dropped a message") <= 12  # a line for each kind, not for each message


def test_whoever_only_says_that_it_is_ready_gets_no_users(tmp_path: Path) -> None:
    """Neither while the master waits for its workers, nor in mid-run; a `quit` before the run expels nobody."""
    with sim() as server, swarm(server.url, tmp_path / "run", *USERS, expect=2) as it:
        it.join()
        with stranger(it.port) as peer:
            for _ in range(10):
                peer.say("client_ready", "2.47.0")
                peer.say("heartbeat", {"state": "ready", "current_cpu_usage": 1.0})
                time.sleep(0.3)
            assert not (tmp_path / "run" / "requests.csv").exists()  # one worker of two
            it.join()
            it.wait_for_replies(4)
            peer.say("client_ready", "2.47.0")
            it.wait_for_replies(4)
        done = it.finish()
        fired = server.served(done.directory)
    check_accounts(done, nodes=2)
    assert done.code == 0
    assert len(done.rows()) == fired
    assert max(int(row["users"]) for row in done.rows("users.csv")) == 4
    assert done.manifest["end_reason"] == "run_time"


def _check_undisturbed(done: Run, fired: int, nodes: int) -> None:
    """Check that the run ended as planned, with one complete row for each request that the server got."""
    check_accounts(done, nodes=nodes)
    assert (done.code, done.manifest["end_reason"]) == (0, "run_time")
    assert len(done.rows()) == fired
    assert {row["outcome"] for row in done.rows()} == {"complete"}


def _say_all(peer: Stranger, said: Iterable[tuple[str, Any]], most: int, name: str | None = None) -> None:
    """Say a random choice of messages, slowly enough that the master reads them, and stay a live worker meanwhile."""
    chosen = list(said)
    random.Random(3).shuffle(chosen)
    for n, (kind, data) in enumerate(chosen[:most]):
        if n % 100 == 0:
            time.sleep(0.05)
            peer.say("heartbeat", {"state": "running", "current_cpu_usage": 1.0})
        try:
            peer.say(kind, data, name)
        except (OverflowError, ValueError):
            continue  # msgpack cannot say it


def test_no_message_of_a_wrong_type_or_size_reaches_anything(tmp_path: Path) -> None:
    """From strangers, in a worker's name, and from a second connection of one, before the run and during it."""
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=2) as it:
        it.join()
        with stranger(it.port) as peer:
            _say_all(peer, wrong("r", "stranger"), 1500)
        it.join()
        it.wait_for_replies(4)
        run, workers = it.manifest()["run_id"], [worker["id"] for worker in it.manifest()["workers"]]
        with stranger(it.port) as peer, stranger(it.port, workers[0]) as twin:
            for name in ("stranger", *workers):
                _say_all(peer, wrong(run, name), 1500, name)
            _say_all(twin, wrong(run, workers[0]), 200)
        it.wait_for_replies(4)
        done = it.finish()
        fired = server.served(done.directory)
    _check_undisturbed(done, fired, nodes=2)
    assert "could not be handled" not in done.said
    assert "\x1b" not in done.said


def test_an_admitted_worker_speaks_for_nobody_else_and_only_in_shape(tmp_path: Path) -> None:
    """It joins as ours do, then speaks in the others' names, and in its own with every wrong type and size."""
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=1) as it:
        it.join()
        it.wait_for_replies(4)
        run, honest = it.manifest()["run_id"], it.manifest()["workers"][0]["id"]
        with stranger(it.port, "rogue_1") as peer:
            peer.say("client_ready", "2.47.0")
            assert _is_admitted(peer)
            _say_all(peer, wrong(run, honest), 1500, honest)
            _say_all(peer, refused(run, "rogue_1"), 1500)
            peer.say("client_stopped")
            peer.say("quit")
        it.wait_for_replies(4)
        done = it.finish()
        fired = server.served(done.directory)
    assert (done.code, done.manifest["end_reason"]) == (0, "run_time")
    assert len(done.rows()) == fired
    assert {row["worker"] for row in done.rows()} == {honest}
    kept = next(worker for worker in done.manifest["workers"] if worker["id"] == honest)
    assert kept["last_word"]
    assert kept["started"] == kept["rows"] == fired
    (found,) = (one for one in done.manifest["findings"] if one["check"] == "messages")
    assert "is in another worker's name" in found["why"]
    assert "has an invalid content" in found["why"]
    assert "could not be handled" not in done.said


def _is_admitted(peer: Stranger) -> bool:
    """Answer pings as a worker does, until the master announces the run."""
    for _ in range(200):
        frame = peer.hear(0.5)
        if frame is None or not frame.startswith(b"\x93"):
            continue
        kind, data, _ = msgpack.loads(frame, strict_map_key=False)
        if kind == messages.PING:
            now = time.monotonic()  # noqa: TID251
            clock = {"t": data["t"], "mono": now, "clock": "", "host": "h"}
            peer.say(messages.PONG, {**clock, "version": __version__, "key": False})
            peer.say("heartbeat", {"state": "ready", "current_cpu_usage": 1.0})
        if kind == messages.BEGIN:
            return True
    return False


def test_a_stranger_without_the_token_joins_nothing(tmp_path: Path) -> None:
    secret = {"PROBE_SWARM_TOKEN": TOKEN}
    with sim() as server, swarm(server.url, tmp_path / "run", *USERS, expect=1, env=secret) as it:
        with stranger(it.port) as peer:
            peer.say("locustfile", {"version": "2.47.0"})
            peer.say("client_ready", "2.47.0")
            challenge = peer.hear(20)
            assert challenge is not None
            assert b"locust" not in challenge  # no code for strangers
            peer.send(b"\x00probe1a" + bytes(64))
            heard = [peer.hear(0.5) for _ in range(5)]
            assert not any(frame and frame.startswith(b"\x93") for frame in heard)  # neither code nor "ack"
        for wrong, why in (("", "the master requires a token"), ("some other token, longer", "another token or none")):
            env = {**os.environ, "PROBE_SWARM_TOKEN": wrong}
            refused = it.join(env=env)
            said, _ = refused.communicate(timeout=60)
            assert refused.returncode == 2, said
            assert why in said
            assert "Traceback" not in said
        it.join(env={**os.environ, **secret})
        done = it.finish()
        fired = server.served(done.directory)
    check_accounts(done, nodes=1, least=4)
    assert done.code == 0
    assert len(done.rows()) == fired
    assert TOKEN not in "".join(path.read_text() for path in (tmp_path / "run").iterdir())


def test_a_recorded_connection_of_a_worker_says_nothing_again(tmp_path: Path) -> None:
    """Every byte that a worker sent, its proof of the token and sealed frames included, is sent again many times."""
    secret = {"PROBE_SWARM_TOKEN": TOKEN}
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=1, env=secret) as it:
        with recording(it.port) as (port, recorded):
            command = [str(BIN / "probe"), "worker", "--master-host", "127.0.0.1", "--master-port", port]
            it.workers.append(
                subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, **secret})
            )
            it.wait_for_replies(6)
            before = bytes(recorded)
            assert b"\x00probe1a" in before  # the answer with the proof
            assert before.count(b"\x00probe1s") > 5
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", int(it.port))) as thief:
                    thief.sendall(before)
                    time.sleep(0.1)
            it.wait_for_replies(6)
            done = it.finish()
        fired = server.served(done.directory)
    _check_undisturbed(done, fired, nodes=1)
    assert TOKEN.encode() not in before
    assert b"LLM" in before  # it is authenticated, not secret: the recording is of real messages


@contextlib.contextmanager
def recording(port: str) -> Iterator[tuple[str, bytearray]]:
    """A relay to a port: its own port, and what came through it in that direction."""
    recorded, listener = bytearray(), socket.create_server(("127.0.0.1", 0))

    def relay(source: socket.socket, to: socket.socket, record: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if record is not None:
                    record += data
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", int(port)))
                except OSError:  # the master does not listen yet: the worker tries again
                    near.close()
                    continue
                threading.Thread(target=relay, args=(near, far, recorded), daemon=True).start()
                threading.Thread(target=relay, args=(far, near, None), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield str(listener.getsockname()[1]), recorded
    finally:
        listener.close()


def test_a_flood_of_names_costs_no_user_and_little_memory(tmp_path: Path) -> None:
    """Thousands of peers, each with a name and a connection of its own, ask to join, before the run and during it."""
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=1) as it:
        wait_for(lambda: f"127.0.0.1:{it.port} " in _listening(), "the master's port")
        _flood(int(it.port), 1500)
        it.join()
        it.wait_for_replies(4)
        before = _resident_mib(it.process.pid)
        for _ in range(4):
            _flood(int(it.port), 1500)
        it.wait_for_replies(4)
        grown = _resident_mib(it.process.pid) - before
        done = it.finish()
        fired = server.served(done.directory)
    _check_undisturbed(done, fired, nodes=1)
    assert max(int(row["users"]) for row in done.rows("users.csv")) == 4
    assert grown < 100
    assert len(done.said) < 20_000


@pytest.mark.parametrize("token", ["", TOKEN])
def test_no_connection_makes_the_master_keep_what_it_sends(tmp_path: Path, token: str) -> None:
    """Many connections in a worker's name, messages without an end, messages that are not read, half handshakes."""
    secret = {"PROBE_SWARM_TOKEN": token} if token else {}
    with sim() as server, swarm(server.url, tmp_path / "run", *LONGER, expect=1, env=secret) as it:
        it.join(env={**os.environ, **secret})
        it.wait_for_replies(4)
        worker = it.manifest()["workers"][0]["id"]
        before = _resident_mib(it.process.pid)
        peers = []
        for name in (worker, worker, "stranger_1", worker, "stranger_2", worker):
            for whole in (True, False):
                peers.append(raw_peer(it.port, name))
                pour(peers[-1], 100, whole=whole)
        for _ in range(500):
            peers.append(socket.create_connection(("127.0.0.1", int(it.port)), 20))
            peers[-1].sendall(b"\xff" + bytes(8) + b"\x7f")
        grown = _resident_mib(it.process.pid) - before
        it.wait_for_replies(4)
        for peer in peers:
            peer.close()
        done = it.finish()
        fired = server.served(done.directory)
    _check_undisturbed(done, fired, nodes=1)
    assert grown < 60


def _flood(port: int, names: int) -> None:
    """Join in this many names, a hundred at a time."""
    for first in range(0, names, 100):
        peers = [Stranger(str(port), f"flood_{first + n}") for n in range(100)]
        for peer in peers:
            peer.say("locustfile", {"version": "2.47.0"})
            peer.say("client_ready", "2.47.0")
            peer.say(messages.HELLO)
        time.sleep(0.2)
        for peer in peers:
            peer.close()


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_worker_with_a_token_obeys_no_master_without(tmp_path: Path) -> None:
    with sim() as server, swarm(server.url, tmp_path / "run", *USERS, expect=1) as it:
        refused = it.join(env={**os.environ, "PROBE_SWARM_TOKEN": TOKEN})
        said, _ = refused.communicate(timeout=60)
        assert refused.returncode == 2, said
        assert "another token or none" in said
        assert "joined" not in said


def test_the_master_listens_where_it_is_told(tmp_path: Path) -> None:
    with sim() as server, swarm(server.url, tmp_path / "run", *USERS, expect=1) as it:
        wait_for(lambda: f"127.0.0.1:{it.port} " in _listening(), "the master's port")
        assert f"*:{it.port} " not in _listening()
        assert f"0.0.0.0:{it.port} " not in _listening()


def _listening() -> str:
    return subprocess.run([str(BIN / "python"), "-c", _LISTENING], check=True, capture_output=True, text=True).stdout


_LISTENING = """
import pathlib
for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
    fields = line.split()
    address, port = fields[1].split(":")
    if fields[3] == "0A":
        print(".".join(str(b) for b in reversed(bytes.fromhex(address))) + f":{int(port, 16)} ")
"""

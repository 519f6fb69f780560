"""Nothing that a stranger sends to the master's port ends a run, expels a worker or changes a figure."""

import os
import random
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from probe_ext import __version__
from probe_ext.swarm.link import messages
from tests.attacks.stranger import Stranger, say_everything, stranger
from tests.attacks.wrong_messages import refused, wrong
from tests.e2e.conftest import BIN, wait_for
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
    check_accounts(done, nodes=1)
    assert done.code == 0
    assert done.manifest["end_reason"] == "run_time"
    assert len(done.rows()) == fired
    assert {row["outcome"] for row in done.rows()} == {"complete"}
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
    check_accounts(done, nodes=2)
    assert (done.code, done.manifest["end_reason"]) == (0, "run_time")
    assert len(done.rows()) == fired
    assert {row["outcome"] for row in done.rows()} == {"complete"}
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

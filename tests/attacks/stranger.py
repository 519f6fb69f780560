"""A peer on the master's port that is no worker, and all that it may say."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import zmq

from probe_ext import __version__
from probe_ext.measure.table_rows import ReplyRow, columns


class Stranger:
    """A peer on the master's port that says what it likes."""

    def __init__(self, port: str, name: str = "stranger") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self.name = name

    def say(self, kind: Any, data: Any = None, name: str | None = None) -> None:
        """Send a message, if asked in another's name."""
        self.send(msgpack.dumps((kind, data, self.name if name is None else name)))

    def send(self, *parts: bytes) -> None:
        """Send parts as they are."""
        self._socket.send_multipart(parts)

    def hear(self, seconds: float) -> bytes | None:
        """Return the next frame from the master; None if there is none in time."""
        return self._socket.recv() if self._socket.poll(1000 * seconds) else None

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@contextlib.contextmanager
def stranger(port: str, name: str = "stranger") -> Iterator[Stranger]:
    peer = Stranger(port, name)
    try:
        yield peer
    finally:
        peer.close()


def a_row(worker: str, n: int) -> list[object]:
    """An invented reply that nobody would be happy with."""
    row: dict[str, object] = dict.fromkeys(columns(ReplyRow))
    row |= {"reply_id": f"{worker}:{n}", "worker": worker, "user": f"{worker}:{n % 4}", "scenario": "capacity"}
    row |= {"kind": "chat", "streamed": True, "due": 1.0, "late": 0.0, "sent": 1.0, "end": 9.0, "outcome": "stalled"}
    row |= {"events": 0, "events_visible": 0, "choices": 0, "reads": 0, "reads_unresolved": 0}
    return [row[name] for name in columns(ReplyRow)]


def a_batch(run: str, worker: str, number: int = 1, **more: object) -> dict[str, object]:
    batch: dict[str, object] = {"run": run, "worker": worker, "number": number, "started": 2000, "finished": 2000}
    batch |= {"cpu_seconds": 1.0, "loop_lag_max": 0.0, "stamped": True, "disk_error": None}
    return batch | {"rows": [a_row(worker, n) for n in range(2000)], "gaps": [], "windows": []} | more


def say_everything(peer: Stranger, run: str, worker: str) -> None:
    """All that gave way once, and its kind."""
    pong = {"t": time.monotonic(), "mono": 5.0, "clock": "", "host": "h", "version": "0.0.0", "key": True}  # noqa: TID251
    for name in (peer.name, worker):
        peer.say("probe_pong", pong, name)
        peer.say("probe_pong", {**pong, "version": __version__}, name)
        peer.say("probe_hello", None, name)
        peer.say("probe_end", None, name)
        peer.say("probe_drained", {"run": run, "worker": name, "last": 10**9}, name)
        for number in (1, 2, 10**9):
            peer.say("probe_batch", a_batch(run, name, number), name)
        peer.say("probe_batch", a_batch(run, name, 3, windows=[{"metric": "ttft", "start": 0, "count": 1}]), name)
        peer.say("probe_batch", {"run": run}, name)
        for kind in ("quit", "client_stopped", "spawning", "spawning_complete", "stats", "heartbeat", "logs"):
            peer.say(kind, None, name)
            peer.say(kind, {"worker_id": name, "logs": ["x"], "state": "stopped", "current_cpu_usage": 99.0}, name)
        peer.say("exception", {"msg": "invented", "traceback": "invented"}, name)
    peer.say("quit", None, 5)  # type: ignore[arg-type]
    peer.say({"a": 1}, None)
    peer.say(None, None, "\x00")
    peer.send(b"\x91" * 2_000_000)
    peer.send(b"\x91" * 10_000)
    peer.send(b"\xc1")
    peer.send(b"")
    peer.send(b"", b"", b"")
    peer.send(os.urandom(5000))
    peer.send(msgpack.dumps(("stats", {"__datetime__": True, "as_str": "never"}, worker)))
    peer.send(b"\x00probe1a" + bytes(64))
    peer.send(b"\x00probe1s" + bytes(64))


def raw_peer(port: str, name: str) -> socket.socket:
    """A connection after the handshake, on which each byte is its owner's choice."""
    sock = socket.create_connection(("127.0.0.1", int(port)), 20)
    identity = len(name).to_bytes(4, "big") + name.encode()
    ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity" + identity
    sock.sendall(b"\xff" + bytes(8) + b"\x7f\x03\0" + b"NULL".ljust(20, b"\0") + bytes(32))
    sock.sendall(bytes((4, len(ready))) + ready)
    return sock


def pour(sock: socket.socket, megabytes: int, *, whole: bool) -> None:
    """Send messages of a megabyte, or so many parts of one that does not end, for as long as anybody takes them."""
    part = bytes((2 if whole else 3,)) + (10**6).to_bytes(8, "big") + bytes(10**6)
    sock.settimeout(3)
    with contextlib.suppress(OSError):
        for _ in range(megabytes):
            sock.sendall(part)

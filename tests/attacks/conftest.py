"""Attacks on real processes: a stranger on the master's port, hostile servers, networks that die.

`make test-attacks` runs these. What needs no processes of its own is tested beside the code, in `make test`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq


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


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROBE_SWARM_TOKEN", raising=False)

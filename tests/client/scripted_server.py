"""A small server that runs a script and records what it sent when.

One thread per connection, blocking sockets, none of the client's code. Each record has the times before and after the
bytes were written to the socket; the client must not report an earlier arrival than the first.
"""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SCRIPT_TIMEOUT_S = 20.0


def now() -> float:
    """Return monotonic time without the client's code."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class Sent:
    """One write to the socket."""

    before: float
    after: float
    tokens: int
    """tokens in it; 0 unless it is a token event"""


class ClientGoneError(Exception):
    """The client closed the connection, or the test is over."""


@dataclass
class Peer:
    """One connection on the server's side; passed to the script."""

    sock: socket.socket
    over: threading.Event
    requests: list[bytes] = field(default_factory=list)
    requested_at: list[float] = field(default_factory=list)
    """when each request was complete"""
    sent: list[Sent] = field(default_factory=list)
    counted: int = 0
    buffered: list[tuple[bytes, int]] | None = None

    def request(self) -> bytes:
        """Read the next request, head and body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].split(b":")[1]) if lengths else 0
        while len(body) < length:
            body += self._receive()
        self.requested_at.append(now())
        self.requests.append(data)
        return data

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ClientGoneError
        return data

    def send(self, data: bytes, tokens: int = 0) -> None:
        """Send bytes and record when."""
        if self.buffered is not None:
            self.buffered.append((data, tokens))
            return
        before = now()
        self.sock.sendall(data)
        self.sent.append(Sent(before, now(), tokens))

    def together(self, *steps: Callable[["Peer"], object]) -> None:
        """Send the bytes of all these steps in one write."""
        self.buffered = []
        for step in steps:
            step(self)
        parts, self.buffered = self.buffered, None
        before = now()
        self.sock.sendall(b"".join(data for data, _ in parts))
        self.sent += [Sent(before, now(), tokens) for _, tokens in parts]

    def head(self) -> None:
        """Send the head of an event stream."""
        self.send(HEAD)

    def event(self, content: object, tokens: int = 0) -> None:
        """Send one event in one chunk."""
        data = b"data: " + (content if isinstance(content, bytes) else json.dumps(content).encode()) + b"\n\n"
        self.send(b"%x\r\n%s\r\n" % (len(data), data), tokens)

    def token(self, text: str = "t", tokens: int = 1, **choice: Any) -> None:
        """Send a token event with the running count."""
        self.counted += tokens
        usage = {"prompt_tokens": 7, "completion_tokens": self.counted}
        self.event({"choices": [{"index": 0, "delta": {"content": text}, **choice}], "usage": usage}, tokens)

    def finish(self, reason: str = "stop") -> None:
        """Send a finish reason, `[DONE]` and the last chunk."""
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        self.event(b"[DONE]")
        self.send(b"0\r\n\r\n")

    def sleep(self, seconds: float) -> None:
        """Sleep, at most until the end of the test."""
        if self.over.wait(seconds):
            raise ClientGoneError

    def hold(self) -> None:
        """Keep the connection open and silent until the client closes it or the test ends."""
        self.sock.settimeout(0.02)
        while not self.over.is_set():
            try:
                self._receive()
            except TimeoutError:
                continue
        raise ClientGoneError

    def reset(self) -> None:
        """Reset the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    @property
    def token_parts(self) -> list[Sent]:
        """The writes that contained tokens."""
        return [part for part in self.sent if part.tokens]


Script = Callable[[Peer], None]


class ScriptedServer:
    """Runs the next script for each connection; the last one repeatedly."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, family: int = socket.AF_INET) -> None:
        self.peers: list[Peer] = []
        self.failures: list[Exception] = []
        self._scripts: Sequence[Script] = scripts
        self._tls = tls
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(family)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "ScriptedServer":
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for peer in self.peers:
            with suppress(OSError):  # wakes a script that waits for its client
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SCRIPT_TIMEOUT_S)
        self._listener.close()
        if self.failures and error is None:
            raise self.failures[0]

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
            sock.settimeout(SCRIPT_TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self._over)
            self.peers.append(peer)
            self._start(self._serve, script, peer)

    def _serve(self, script: Script, peer: Peer) -> None:
        try:
            with suppress(ClientGoneError, OSError):  # the client closed the connection; tests check where it may
                if self._tls is not None:
                    peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
                script(peer)
        except Exception as failure:
            self.failures.append(failure)
        finally:
            peer.sock.close()

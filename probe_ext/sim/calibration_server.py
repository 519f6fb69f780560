"""A target whose token times are known to the microsecond: what `probe calibrate` holds the ruler against.

    python -m probe_ext.sim.calibration_server [--rate TOKENS_A_SECOND] [--first SECONDS] [--null]

One thread and one epoll, so that it costs little beside the ruler. Each token's text is the CLOCK_MONOTONIC time in
nanoseconds, taken just before the write that hands it to the kernel; the first token's text is preceded by the time at
which the request reached this machine's kernel, and a colon. So it does not matter when this process comes to send: the
truth travels with each token, and what lies between that time and the write is its own error, a few microseconds.
With --null the whole reply is one write, at once. It ends with its parent.
"""

import argparse
import heapq
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

_STAMP = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_MODELS = b'{"object":"list","data":[{"id":"paced","object":"model","max_model_len":131072}]}'
_WHOLE = (
    b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":1}}'
)
_EVENT = (
    b'data: {"id":"chatcmpl-%d","object":"chat.completion.chunk","created":1,"model":"paced","choices":[{"index":0,'
    b'"delta":{%s},"logprobs":null,"finish_reason":%s}],"usage":{"prompt_tokens":%d,"total_tokens":%d,'
    b'"completion_tokens":%d}}\n\n'
)


def now_ns() -> int:
    """CLOCK_MONOTONIC."""
    return time.monotonic_ns()


class Stream:
    """One connection, and the reply that it is getting."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.waiting = b""
        self.number = self.sent = self.tokens = self.prompt = self.arrived = self.due = 0
        self.streaming = False

    def put(self, data: bytes) -> None:
        """Hand bytes to the kernel. OSError when they are not taken whole: nobody reads."""
        if self.socket.send(data) != len(data):
            raise ConnectionError("the reader is too slow")

    def event(self, delta: bytes, finish: bytes = b"null") -> bytes:
        """One event, as a chunk."""
        total = self.prompt + self.sent
        data = _EVENT % (self.number, delta, finish, self.prompt, total, self.sent)
        return b"%x\r\n%s\r\n" % (len(data), data)

    def token(self) -> bytes:
        """The next token with its truth; the last with what ends the reply."""
        self.sent += 1
        truth = b"%d" % now_ns() if self.sent > 1 else b"%d:%d" % (self.arrived, now_ns())
        said = self.event(b'"content":" %s"' % truth)
        if self.sent < self.tokens:
            return said
        self.streaming = False
        return said + self.event(b"", b'"length"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Target:
    """Serves until it is told to stop, or its parent is gone."""

    def __init__(self, rate: float, first: float, null: bool) -> None:
        self._gap, self._first, self._null = int(1e9 / rate), int(first * 1e9), null
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._poll = select.epoll()
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._streams: dict[int, Stream] = {}
        self._due: list[tuple[int, int, Stream]] = []
        self.replies = self.tokens = self.latest = 0
        self.ending = False
        self._parent = os.getppid()

    def serve(self) -> None:
        """Until the end."""
        while not self.ending and os.getppid() == self._parent:
            wait = 0.2 if not self._due else max(0.0, (self._due[0][0] - now_ns()) / 1e9)
            # epoll waits whole milliseconds: the rest is slept, or the next token would be late by up to one
            happened = self._poll.poll(0 if wait < 0.001 else min(0.2, wait - 0.001))
            for descriptor, _ in happened:
                self._readable(descriptor)
            if self._due and not happened and 0 < (rest := (self._due[0][0] - now_ns()) / 1e9) < 0.0011:
                time.sleep(rest)
            self._send_due()

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= now_ns():
            due, _, stream = heapq.heappop(self._due)
            if not stream.streaming or stream.due != due:
                continue
            self.latest = max(self.latest, now_ns() - due)
            try:
                stream.put(stream.token())
            except OSError:
                self._drop(stream)
                continue
            self.tokens += 1
            if stream.streaming:
                self._plan(stream, due + self._gap)

    def _plan(self, stream: Stream, due: int) -> None:
        stream.due = due
        heapq.heappush(self._due, (due, stream.number, stream))

    def _readable(self, descriptor: int) -> None:
        if descriptor == self._listener.fileno():
            with suppress(BlockingIOError):
                while True:
                    self._welcome(self._listener.accept()[0])
        stream = self._streams.get(descriptor)
        if stream is None:
            return
        try:
            data, stream.arrived = _receive(stream.socket)
            stream.waiting += data
            if not data:
                self._drop(stream)
                return
            while not stream.streaming and (request := _whole_request(stream.waiting)):
                stream.waiting = stream.waiting[len(request) :]
                self._answer(stream, request)
        except BlockingIOError:
            return
        except OSError:
            self._drop(stream)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._streams[sock.fileno()] = Stream(sock)
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def _drop(self, stream: Stream) -> None:
        stream.streaming = False
        self._streams.pop(stream.socket.fileno(), None)
        stream.socket.close()

    def _answer(self, stream: Stream, request: bytes) -> None:
        if b"/chat/completions " not in request.partition(b"\r\n")[0]:
            found = request.startswith(b"GET /v1/models ")
            stream.put(_plain(b"200 OK" if found else b"404 Not Found", _MODELS if found else b"{}"))
            return
        self.replies += 1
        asked = re.search(rb'"max_tokens": ?([0-9]+)', request)
        stream.number, stream.sent, stream.tokens = self.replies, 0, max(1, int(asked[1])) if asked else 16
        stream.prompt = len(request.partition(b"\r\n\r\n")[2]) // 5
        if re.search(rb'"stream": ?true', request) is None:
            stream.put(_plain(b"200 OK", _WHOLE % (stream.prompt, stream.prompt + 1)))
            return
        stream.streaming = True
        if self._null:
            stream.put(_HEAD + b"".join(stream.token() for _ in range(stream.tokens)))
            self.tokens += stream.tokens
            return
        stream.put(_HEAD)
        self._plan(stream, stream.arrived + self._first)


def _receive(sock: socket.socket) -> tuple[bytes, int]:
    """What came, and when the kernel had it."""
    data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(_STAMP.size))
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, rest = _STAMP.unpack(value)
            return data, now_ns() - (time.time_ns() - seconds * 10**9 - rest)  # noqa: TID251 - as above
    return data, now_ns()


def _whole_request(text: bytes) -> bytes:
    """The first request, or nothing while it is not whole."""
    head, gap, _ = text.partition(b"\r\n\r\n")
    stated = re.search(rb"\r\ncontent-length: ?([0-9]+)", head, re.IGNORECASE)
    length = len(head) + 4 + (int(stated[1]) if stated else 0)
    return text[:length] if gap and len(text) >= length else b""


def _plain(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return head + body


def main() -> int:
    """Say the port, serve, say what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--first", type=float, default=0.05)
    parser.add_argument("--null", action="store_true")
    asked = parser.parse_args()
    target = Target(asked.rate, asked.first, asked.null)
    signal.signal(signal.SIGTERM, lambda *_: setattr(target, "ending", True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.write(f"{target.port}\n")
    sys.stdout.flush()
    target.serve()
    did = {"replies": target.replies, "tokens": target.tokens, "latest": target.latest / 1e9}
    sys.stdout.write(json.dumps(did) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The server of `probe calibrate`: its token times are known to the microsecond.

    python -m probe_ext.sim.calibration_server [--rate TOKENS_PER_SECOND] [--first SECONDS] [--null]

It uses one thread and one selector, so that it takes little CPU from the load generator. The text of each token is the
CLOCK_MONOTONIC time in nanoseconds at which it was passed to the kernel; the first token's text starts with the time at
which the request reached this machine's kernel, and a colon. Since every token carries its true send time, the server
may be late; the only error is the time between reading the clock and the write, a few microseconds. With --null the
whole reply is a single write. The server exits when its parent does.
"""

import argparse
import heapq
import json
import os
import re
import selectors
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
_FULL_REPLY = (
    b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":1}}'
)
_EVENT = (
    b'data: {"id":"chatcmpl-%d","object":"chat.completion.chunk","created":1,"model":"paced","choices":[{"index":0,'
    b'"delta":{%s},"logprobs":null,"finish_reason":%s}],"usage":{"prompt_tokens":%d,"total_tokens":%d,'
    b'"completion_tokens":%d}}\n\n'
)


def now_ns() -> int:
    """Read CLOCK_MONOTONIC."""
    return time.monotonic_ns()


class Stream:
    """One connection and its current reply."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.received = b""
        self.number = self.sent = self.tokens = self.prompt = self.arrived = self.due = 0
        self.streaming = False

    def send(self, data: bytes) -> None:
        """Write to the socket. Raises OSError if the kernel does not take all bytes."""
        if self.socket.send(data) != len(data):
            raise ConnectionError("the client reads too slowly")

    def event(self, delta: bytes, finish: bytes = b"null") -> bytes:
        """Encode one event as an HTTP chunk."""
        total = self.prompt + self.sent
        data = _EVENT % (self.number, delta, finish, self.prompt, total, self.sent)
        return b"%x\r\n%s\r\n" % (len(data), data)

    def next_token(self) -> bytes:
        """Encode the next token with its send time; after the last one, the end of the reply."""
        self.sent += 1
        timestamp = b"%d" % now_ns() if self.sent > 1 else b"%d:%d" % (self.arrived, now_ns())
        event = self.event(b'"content":" %s"' % timestamp)
        if self.sent < self.tokens:
            return event
        self.streaming = False
        return event + self.event(b"", b'"length"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class CalibrationServer:
    """Serves until it is stopped or its parent exits."""

    def __init__(self, rate: float, first: float, null: bool) -> None:
        self._interval, self._first_delay, self._null = int(1e9 / rate), int(first * 1e9), null
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._poll = selectors.DefaultSelector()
        self._poll.register(self._listener, selectors.EVENT_READ)
        self._streams: dict[int, Stream] = {}
        self._due: list[tuple[int, int, Stream]] = []
        self.replies = self.tokens = self.late = self.max_late_ns = self.open = self.most_open = 0
        self.stopping = False
        self._parent = os.getppid()

    def serve(self) -> None:
        """Run the event loop."""
        while not self.stopping and os.getppid() == self._parent:
            wait = 0.2 if not self._due else max(0.0, (self._due[0][0] - now_ns()) / 1e9)
            # selectors may wait whole milliseconds; sleep the remainder, or the next token could be a millisecond late
            events = self._poll.select(0 if wait < 0.001 else min(0.2, wait - 0.001))
            for key, _ in events:
                self._readable(key.fd)
            if self._due and not events and 0 < (rest := (self._due[0][0] - now_ns()) / 1e9) < 0.0011:
                time.sleep(rest)
            self._send_due()

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= now_ns():
            due, _, stream = heapq.heappop(self._due)
            if not stream.streaming or stream.due != due:
                continue
            late = now_ns() - due
            self.late += late > self._interval  # the token after this one is due: the load is less than asked for
            self.max_late_ns = max(self.max_late_ns, late)
            try:
                stream.send(stream.next_token())
            except OSError:
                self._drop(stream)
                continue
            self.tokens += 1
            if stream.streaming:
                self._schedule(stream, due + self._interval)
            else:
                self.open -= 1

    def _schedule(self, stream: Stream, due: int) -> None:
        stream.due = due
        heapq.heappush(self._due, (due, stream.number, stream))

    def _readable(self, descriptor: int) -> None:
        if descriptor == self._listener.fileno():
            with suppress(BlockingIOError):
                while True:
                    self._accept(self._listener.accept()[0])
        stream = self._streams.get(descriptor)
        if stream is None:
            return
        try:
            data, stream.arrived = _receive(stream.socket)
            stream.received += data
            if not data:
                self._drop(stream)
                return
            while not stream.streaming and (request := _first_request(stream.received)):
                stream.received = stream.received[len(request) :]
                self._answer(stream, request)
        except BlockingIOError:
            return
        except OSError:
            self._drop(stream)

    def _accept(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform.startswith("linux"):  # the number means something else elsewhere
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._streams[sock.fileno()] = Stream(sock)
        self._poll.register(sock, selectors.EVENT_READ)

    def _drop(self, stream: Stream) -> None:
        self.open -= stream.streaming
        stream.streaming = False
        if self._streams.pop(stream.socket.fileno(), None) is not None:
            self._poll.unregister(stream.socket)
        stream.socket.close()

    def _answer(self, stream: Stream, request: bytes) -> None:
        if b"/chat/completions " not in request.partition(b"\r\n")[0]:
            is_models = request.startswith(b"GET /v1/models ")
            stream.send(_response(b"200 OK" if is_models else b"404 Not Found", _MODELS if is_models else b"{}"))
            return
        self.replies += 1
        max_tokens = re.search(rb'"max_tokens": ?([0-9]+)', request)
        stream.number, stream.sent, stream.tokens = self.replies, 0, max(1, int(max_tokens[1])) if max_tokens else 16
        stream.prompt = len(request.partition(b"\r\n\r\n")[2]) // 5
        if re.search(rb'"stream": ?true', request) is None:
            stream.send(_response(b"200 OK", _FULL_REPLY % (stream.prompt, stream.prompt + 1)))
            return
        stream.streaming = True
        if self._null:
            stream.send(_HEAD + b"".join(stream.next_token() for _ in range(stream.tokens)))
            self.tokens += stream.tokens
            return
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        stream.send(_HEAD)
        self._schedule(stream, stream.arrived + self._first_delay)


def _receive(sock: socket.socket) -> tuple[bytes, int]:
    """Read from a socket; return the data and when the kernel received it."""
    data, ancillary, _, _ = sock.recvmsg(65536, socket.CMSG_SPACE(_STAMP.size))
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _STAMP.unpack(value)
            age = time.time_ns() - seconds * 10**9 - nanoseconds  # noqa: TID251 - the kernel stamps in wall-clock time
            return data, now_ns() - age
    return data, now_ns()


def _first_request(text: bytes) -> bytes:
    """Return the first complete HTTP request; empty if there is none yet."""
    head, blank_line, _ = text.partition(b"\r\n\r\n")
    content_length = re.search(rb"\r\ncontent-length: ?([0-9]+)", head, re.IGNORECASE)
    length = len(head) + 4 + (int(content_length[1]) if content_length else 0)
    return text[:length] if blank_line and len(text) >= length else b""


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return head + body


def main() -> int:
    """Print the port, serve, and print the totals as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rate", type=float, default=50.0, help="tokens per second of each stream [50]")
    parser.add_argument("--first", type=float, default=0.05, help="seconds until the first token [0.05]")
    parser.add_argument("--null", action="store_true", help="send each reply in a single write")
    args = parser.parse_args()
    server = CalibrationServer(args.rate, args.first, args.null)
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "stopping", True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve()
    totals: dict[str, float] = {"replies": server.replies, "tokens": server.tokens, "most_open": server.most_open}
    totals |= {"late": server.late, "latest": server.max_late_ns / 1e9}
    sys.stdout.write(json.dumps(totals) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

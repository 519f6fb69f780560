"""One answer of the server: bytes go in, its head and the pieces of its body come out, each with its time of arrival.

llhttp (through httptools) parses. A piece is what one read held of one chunk, so chunks keep their bounds.
"""

import asyncio
from collections import deque

import httptools

from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text

MAX_HEAD_BYTES = 256 * 2**10
_PAUSE_BYTES, _RESUME_BYTES = 256 * 2**10, 64 * 2**10
"""of a body that wait for the client: above the first the server is not read, below the second it is again"""
_SWITCHING = 101
# As servers of the past wrote them. All of these mean the same to any client.
_LENIENCIES = {
    "lenient_chunked_length": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_headers": True,
    "lenient_spaces_after_chunk_size": True,
}

RawHeader = tuple[bytes, bytes]


class CutError(Exception):
    """The server closed the connection before the end of its answer. `unanswered`: before its first byte."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__()
        self.unanswered = unanswered


class BadAnswerError(Exception):
    """The bytes are not HTTP; the message says why."""


class Answer:
    """One answer. TimeoutError, CutError or BadAnswerError come where the bytes end, and never before a whole piece."""

    def __init__(self, transport: asyncio.Transport, silence: float, *, bodyless: bool) -> None:
        """`silence`: longest time in seconds without a byte; `bodyless`: whether it answers HEAD."""
        self.status = 0
        self.reason = b""
        self.headers: list[RawHeader] = []
        self.has_head = self.complete = self.chunked = False
        self.keep_alive = False
        """whether the connection may carry another request"""
        self.expected = True
        """whether it is the server's turn: it is not while the client still sends"""
        self._transport, self._silence, self._bodyless = transport, silence, bodyless
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = self._head_bytes = 0
        self._interim = self._until_close = self._paused = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._at = clock.monotonic()
        self._timer = self._loop.call_later(silence, self._check_silence)
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)

    # --- for whoever passes it on ------------------------------------------------------------------------------------

    async def head(self) -> None:
        """Wait for status and headers."""
        while not self.has_head:
            await self._wait()

    async def piece(self) -> tuple[float, bytes]:
        """Return the next piece of the body, and when it arrived (monotonic seconds); b"" at the end."""
        while not self._pieces:
            if self.complete:
                return self._at, b""
            await self._wait()
        at, data = self._pieces.popleft()
        self._waiting_bytes -= len(data)
        if self._paused and self._waiting_bytes <= _RESUME_BYTES:
            self._paused = False
            self._transport.resume_reading()
        return at, data

    def expect(self) -> None:
        """Count the server's silence from now on."""
        self._at, self.expected = clock.monotonic(), True

    def fail(self, error: BaseException) -> None:
        """End the answer here, with an error for whoever waits for the rest."""
        if self._error is None and not self.complete:
            self._error = error
            self._wake()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._timer.cancel()
        if self._paused:
            self._transport.resume_reading()

    # --- for the connection ------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take bytes of the connection."""
        if self._error is not None:
            return
        self._at = clock.monotonic()
        if not self.has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(BadAnswerError("it switches to another protocol"))
        except httptools.HttpParserError as error:
            self.fail(BadAnswerError(safe_text(str(error))))
        if not self.has_head and self._head_bytes > MAX_HEAD_BYTES:
            self.fail(BadAnswerError(f"its head is longer than {MAX_HEAD_BYTES:,} bytes"))
        if self._waiting_bytes > _PAUSE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def end(self, *, reset: bool) -> None:
        """Take the end of the connection. `reset`: it was not closed in order."""
        if self.has_head and self._until_close and self._error is None and not reset:
            self.complete = True
        self.fail(CutError(unanswered=not self._head_bytes))
        self._wake()

    # --- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Notice an answer behind the end of this one, which nobody has asked for."""
        if self.complete:
            self.keep_alive = False

    def on_status(self, part: bytes) -> None:
        """Take a part of the reason phrase."""
        if not self.complete:
            self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line; those behind the body (trailers) are dropped."""
        if not self.has_head:
            self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the end of a head."""
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200 and status != _SWITCHING
        if self._interim or self.complete or status == _SWITCHING:
            return
        self.status, self.has_head = status, True
        names = {name.lower(): value.lower() for name, value in self.headers}
        coding = names.get(b"transfer-encoding")
        self.chunked = coding is not None and coding.endswith(b"chunked")
        self._until_close = not self.chunked if coding is not None else b"content-length" not in names
        if self._bodyless:
            self.complete, self.keep_alive = True, self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.complete:
            self.keep_alive = False
            return
        self._pieces.append((self._at, data))
        self._waiting_bytes += len(data)

    def on_message_complete(self) -> None:
        """Take the end of an answer, or of an interim one, which is forgotten."""
        if self._interim:
            self._interim, self.reason = False, b""
            self.headers.clear()
        elif self.has_head and not self.complete:
            self.complete, self.keep_alive = True, self._parser.should_keep_alive()

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._at = max(self._at, clock.monotonic())
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_silence(self) -> None:
        """Give the server up, unless it was the client that kept it waiting."""
        waits = self.expected and self._waiter is not None
        silent = clock.monotonic() - self._at if waits else 0.0
        if silent >= self._silence:
            self.fail(TimeoutError())
            return
        self._timer = self._loop.call_later(self._silence - silent, self._check_silence)

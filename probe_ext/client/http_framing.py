"""HTTP/1.1 responses, incrementally: bytes with their receive time in, body pieces with it out.

The work is done by llhttp (through httptools), so chunked, content-length and close-delimited bodies, interim responses
and odd cuts are a well-tried parser's business. It hands body bytes straight to a list: for a token, no Python runs but
`feed`.
"""

from collections.abc import Sequence
from itertools import repeat

import httptools

MAX_BODY = 64 * 2**20
"""bytes of one response: beyond it no model is talking"""
MAX_HEAD = 64 * 2**10
"""bytes of a response's head"""


class BadResponseError(ValueError):
    """What came is no HTTP response, or one beyond all measure; the message says which."""


Piece = tuple[float, int, bytes]
"""body bytes that one read brought: monotonic seconds when they reached this machine, number of the read, the bytes"""


class Response:
    """One response as far as it has come. httptools calls the `on_…` methods.

    What follows behind its end was not asked for: it is dropped, and the connection is not kept.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.headers_at: float | None = None
        self.complete = False
        self.reads = 0
        self.keep_alive = False
        self.between_chunks = False
        """whether all of a chunked body that has come is whole chunks"""
        self._at = 0.0
        self._bytes = 0
        self._bodies: list[bytes] = []
        self._times: list[float] = []
        self._numbers: list[int] = []
        """of each body part: its receive time, and the number of its read"""
        self.on_body = self._bodies.append
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, at: float, data: bytes) -> None:
        """Take what one read brought. BadResponseError when it cannot be part of a response."""
        self._at = at
        self.reads += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise BadResponseError("the server switched to another protocol") from error
        except httptools.HttpParserError as error:
            self._refuse(error)
        finally:
            if not self.complete:
                self._mark()
        if data[-2:] != b"\r\n":
            self.between_chunks = False  # a size of which only the first digits have come is no beginning yet
        self._bytes += len(data)
        if self._bytes > (MAX_BODY if self.headers_at else MAX_HEAD):
            self._refuse_size()

    def _mark(self) -> None:
        """Note when the body parts came that this read brought: mostly one."""
        times = self._times
        times.append(self._at)
        self._numbers.append(self.reads)
        surplus = len(times) - len(self._bodies)
        if surplus > 0:
            del times[-surplus:], self._numbers[-surplus:]
        elif surplus:
            times.extend(repeat(self._at, -surplus))
            self._numbers.extend(repeat(self.reads, -surplus))

    def _refuse(self, error: Exception) -> None:
        if self.complete:
            self.keep_alive = False
            return
        raise BadResponseError(f"not HTTP: {error}") from error

    def _refuse_size(self) -> None:
        if self.headers_at is None:
            raise BadResponseError(f"a response head of more than {MAX_HEAD} bytes")
        if self._bytes > MAX_BODY:
            raise BadResponseError(f"a body of more than {MAX_BODY} bytes")

    def end_of_stream(self) -> bool:
        """Tell that the connection ended. True when that is this body's proper end (close-delimited)."""
        delimited = "content-length" in self.headers or self._chunked
        self.complete = self.complete or (self.headers_at is not None and not delimited)
        self.keep_alive = False
        return self.complete

    def skip(self, reads: int, size: int) -> None:
        """So many reads of so many bytes, all whole chunks that came between others, were taken without `feed`."""
        self.reads += reads
        self._bytes += size
        if self._bytes > MAX_BODY:
            self._refuse_size()

    def take(self) -> Sequence[Piece]:
        """The body parts since the last call."""
        upto = len(self._times)
        taken = list(zip(self._times, self._numbers, self._bodies, strict=False))
        del self._times[:upto], self._numbers[:upto], self._bodies[:upto]
        return taken

    def close(self) -> None:
        """No more will come: part with the parser, which holds this response as this holds it."""
        self._parser = None

    @property
    def _chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def flows(self) -> bool:
        """Whether the body comes piece by piece until it ends, and is none whose length was told."""
        return self.headers_at is not None and "content-length" not in self.headers

    def on_message_begin(self) -> None:
        """A response begins: ours, or one behind it that nobody asked for."""
        if self.complete:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; those of a chunked body's trailer change nothing."""
        if self.headers_at is None:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head has come; an interim (1xx) one is not it."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        self.headers_at = self._at
        self.between_chunks = self._chunked

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self.between_chunks = False

    def on_chunk_complete(self) -> None:
        """A chunk has ended, its line end included."""
        self.between_chunks = not self.complete

    def on_message_complete(self) -> None:
        """The framing says that this response is whole."""
        if self.headers_at is not None and not self.complete:
            self._mark()  # body parts behind this were not asked for: they stay unmarked, and are never taken
            self.complete, self.between_chunks = True, False
            self.keep_alive = self._parser.should_keep_alive()

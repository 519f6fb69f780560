"""Incremental parser for HTTP/1.1 responses: bytes with receive times in, body pieces with receive times out.

llhttp (through httptools) does the parsing: chunked, content-length and close-delimited bodies, interim responses and
reads that end anywhere. It appends body bytes directly to a list, so that no Python code but `feed` runs per token.
"""

from collections.abc import Sequence
from itertools import repeat

import httptools

MAX_BODY_BYTES = 64 * 2**20
MAX_HEAD_BYTES = 64 * 2**10

# Deviations that do no harm to a client. RFC 9112 allows the first two: chunked wins over a content length, and lines
# of a head may end with LF alone.
_LENIENCIES = {
    "lenient_chunked_length": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_headers": True,
    "lenient_spaces_after_chunk_size": True,
}


class BadResponseError(ValueError):
    """The bytes are not an HTTP response, or exceed a limit; the message says which."""


Piece = tuple[float, int, bytes]
"""receive time (monotonic seconds), number of the read, body bytes of that read"""


class Response:
    """One response as far as it has arrived. httptools calls the `on_…` methods.

    Bytes after its end are unexpected: they are dropped, and the connection is not kept.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.headers_at: float | None = None
        self.complete = False
        self.reads = 0
        self.keep_alive = False
        self.between_chunks = False
        """whether the chunked body so far ends with a complete chunk"""
        self._chunked = False
        self._at = 0.0
        self._bytes = 0
        self._bodies: list[bytes] = []
        self._times: list[float] = []
        """receive time of each body part"""
        self._read_numbers: list[int] = []
        """number of each body part's read"""
        self.on_body = self._bodies.append
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)

    def feed(self, at: float, data: bytes, number: int | None = None) -> None:
        """Parse bytes of one read: of the next one, or of that with this number.

        BadResponseError if they cannot be part of a response.
        """
        self._at = at
        self.reads = self.reads + 1 if number is None else number
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise BadResponseError("the server switched to another protocol") from error
        except httptools.HttpParserError as error:
            self._on_parser_error(error)
        finally:
            if not self.complete:
                self._stamp_bodies()
        if data[-1:] != b"\n":
            self.between_chunks = False  # the first digits of a chunk size may have arrived
        self._bytes += len(data)
        if self._bytes > (MAX_BODY_BYTES if self.headers_at else MAX_HEAD_BYTES):
            self._check_size()

    def _stamp_bodies(self) -> None:
        """Assign the current read's time and number to its body parts (usually one)."""
        times = self._times
        times.append(self._at)
        self._read_numbers.append(self.reads)
        surplus = len(times) - len(self._bodies)
        if surplus > 0:
            del times[-surplus:], self._read_numbers[-surplus:]
        elif surplus:
            times.extend(repeat(self._at, -surplus))
            self._read_numbers.extend(repeat(self.reads, -surplus))

    def _on_parser_error(self, error: Exception) -> None:
        if self.complete:
            self.keep_alive = False
            return
        raise BadResponseError(f"not HTTP: {error}") from error

    def _check_size(self) -> None:
        if self.headers_at is None:
            raise BadResponseError(f"response head exceeds {MAX_HEAD_BYTES} bytes")
        if self._bytes > MAX_BODY_BYTES:
            raise BadResponseError(f"response body exceeds {MAX_BODY_BYTES} bytes")

    def end_of_stream(self) -> bool:
        """Note the end of the connection. True if that properly ends this body (close-delimited)."""
        delimited = "content-length" in self.headers or self._chunked
        self.complete = self.complete or (self.headers_at is not None and not delimited)
        self.keep_alive = False
        return self.complete

    @property
    def skippable(self) -> bool:
        """Whether `skip` can take what comes next."""
        return self.between_chunks if self._chunked else self.headers_at is not None and not self.complete

    def skip(self, last_read: int, size: int) -> None:
        """Count what was handled without `feed`, up to the read of this number: whole chunks, or a part of a body."""
        self.reads = last_read
        self._bytes += size
        if not self._chunked:
            try:
                self._parser.feed_data(bytes(size))  # it counts the bytes of a body of known length
            except httptools.HttpParserError as error:
                self._on_parser_error(error)
            del self._bodies[len(self._times) :]
        if self._bytes > MAX_BODY_BYTES:
            self._check_size()

    def take_pieces(self) -> Sequence[Piece]:
        """Return the body parts since the last call."""
        stamped = len(self._times)
        pieces = list(zip(self._times, self._read_numbers, self._bodies, strict=False))
        del self._times[:stamped], self._read_numbers[:stamped], self._bodies[:stamped]
        return pieces

    def close(self) -> None:
        """Drop the parser, which is in a reference cycle with this response."""
        self._parser = None

    @property
    def open_ended(self) -> bool:
        """Whether the body's length is not known in advance."""
        return self.headers_at is not None and (self._chunked or "content-length" not in self.headers)

    def on_message_begin(self) -> None:
        """A response begins: this one, or an unexpected one after it."""
        if self.complete:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a line of a chunked body's trailer, which is ignored."""
        if self.headers_at is None:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """A head is complete; heads of interim (1xx) responses are dropped."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        self.headers_at = self._at
        self._chunked = self.between_chunks = "chunked" in self.headers.get("transfer-encoding", "").lower()

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self.between_chunks = False

    def on_chunk_complete(self) -> None:
        """A chunk has ended, including its line end."""
        self.between_chunks = not self.complete

    def on_message_complete(self) -> None:
        """The response is complete."""
        if self.headers_at is not None and not self.complete:
            self._stamp_bodies()  # later body parts are unexpected: they stay unstamped and are never taken
            self.complete, self.between_chunks = True, False
            self.keep_alive = self._parser.should_keep_alive()

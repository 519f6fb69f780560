"""HTTP/1.1 responses, incrementally: bytes with their receive time in, body pieces with it out.

The work is done by llhttp (through httptools), so chunked, content-length and close-delimited bodies, interim responses
and odd cuts are a well-tried parser's business.
"""

from typing import NamedTuple

import httptools

MAX_BODY = 64 * 2**20
"""bytes of one reply's body: beyond it no model is talking"""
MAX_HEAD = 64 * 2**10
"""bytes of a response's head"""


class BadResponseError(ValueError):
    """What came is no HTTP response, or one beyond all measure; the message says which."""


class Piece(NamedTuple):
    """Body bytes that one read brought."""

    at: float
    """monotonic seconds: when they reached this machine"""
    read: int
    """number of the read: pieces of one read share one receive time"""
    data: bytes


class Response:
    """One response as far as it has come. httptools calls the `on_…` methods.

    What follows behind its end was not asked for: it is dropped, and the connection is not kept.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.headers_at: float | None = None
        self.pieces: list[Piece] = []
        self.complete = False
        self.reads = 0
        self.keep_alive = False
        self.may_be_done = False
        """the body may have brought its `[DONE]`: worth a look; whoever looks puts it back"""
        self._at = 0.0
        self._head_bytes = 0
        self._body_bytes = 0
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
        if self.headers_at is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                raise BadResponseError(f"a response head of more than {MAX_HEAD} bytes")

    def _refuse(self, error: Exception) -> None:
        if self.complete:
            self.keep_alive = False
            return
        cause = error.__context__
        raise cause if isinstance(cause, BadResponseError) else BadResponseError(f"not HTTP: {error}") from error

    def end_of_stream(self) -> bool:
        """Tell that the connection ended. True when that is this body's proper end (close-delimited)."""
        delimited = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.complete = self.complete or (self.headers_at is not None and not delimited)
        self.keep_alive = False
        return self.complete

    def take(self) -> list[Piece]:
        """The pieces since the last call."""
        taken, self.pieces = self.pieces, []
        return taken

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

    def on_body(self, body: bytes) -> None:
        """A part of the body, without its framing."""
        if self.complete:
            return
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY:
            raise BadResponseError(f"a body of more than {MAX_BODY} bytes")
        self.pieces.append(Piece(self._at, self.reads, body))
        # Every other event ends in a brace. So `[DONE]` is noticed wherever reads or chunks cut it.
        if body.rfind(b"]") > body.rfind(b"}"):
            self.may_be_done = True

    def on_message_complete(self) -> None:
        """The framing says that this response is whole."""
        if self.headers_at is not None and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

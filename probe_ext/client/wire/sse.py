"""Incremental parser for server-sent events: bytes in, the `data` of complete events out.

Follows the WHATWG HTML standard, section 9.2 "Server-sent events". Data stays bytes, so a read that ends inside a
character does no harm. Beyond the standard, an `error:` field counts as data (llama.cpp reports failures that way),
`flush` returns an event that the end of the stream left without its empty line, and lines that are no field are kept:
proxies write their last words into a stream as plain text.
"""

import re

MAX_EVENT_BYTES = 8 * 2**20
MAX_EVENT_LINES = 10_000

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_STRAY_BYTES = 4096
_FIELD = re.compile(rb"(?:data|event|id|retry|error)?:|(?:data|event|id|retry)$")
_COMPLAINT = re.compile(rb":.*(?:error|fail|time[d ]*out|closed|abort|terminat|refused|unavailable|disconnect)", re.I)
_ERROR_EVENT = re.compile(
    rb"^(?:event: ?(?!response\.)(?:\w+[._-])?(?:error|exception|fail(?:ure|ed)?|abort(?:ed)?|fatal)\s*$|error:)",
    re.MULTILINE | re.I,
)


class EventTooLargeError(ValueError):
    """An event grew beyond MAX_EVENT_BYTES or MAX_EVENT_LINES."""


class ErrorData(bytes):
    """Data of an event that is named `error` or like it, or of an `error:` field."""


class SseParser:
    """Feed it bytes as they come; it keeps the incomplete event."""

    def __init__(self) -> None:
        self._incomplete = bytearray()  # grown in place: copying an endless event on every read would be quadratic
        self._after_cr = False
        self._begun = False
        self.stray = b""
        """the latest lines that are no field, or a comment that complains"""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of each event that this piece completes, in order. EventTooLargeError beyond a limit."""
        if self._after_cr or b"\r" in piece:
            piece = self._normalize_line_ends(piece)
        incomplete = self._incomplete
        if b"\n\n" not in piece and not (piece[:1] == b"\n" and incomplete[-1:] == b"\n"):
            incomplete += piece
            if len(incomplete) > MAX_EVENT_BYTES:
                raise EventTooLargeError(f"event exceeds {MAX_EVENT_BYTES} bytes")
            return []
        stream = bytes(incomplete) + piece if incomplete else piece
        events = (stream if self._begun else self._begin(stream)).split(b"\n\n")
        self._incomplete = bytearray(events.pop())
        return [data for event in events if (data := self._data(event)) is not None]

    @property
    def between_events(self) -> bool:
        """Whether the next piece begins an event."""
        return self._begun and not self._incomplete and not self._after_cr

    @property
    def at_start(self) -> bool:
        """Whether nothing came so far."""
        return not self._begun and not self._incomplete and not self._after_cr

    def begin(self) -> None:
        """Note that whole events came first, without `feed`: no byte order mark may follow."""
        self._begun = True

    def flush(self) -> list[bytes]:
        """Return the data of an event that the end of the stream left incomplete."""
        rest = bytes(self._incomplete) if self._begun else self._begin(bytes(self._incomplete))
        self._incomplete = bytearray()
        data = self._data(rest)
        return [] if data is None else [data]

    def _begin(self, stream: bytes) -> bytes:
        self._begun = True
        return stream.removeprefix(BYTE_ORDER_MARK)

    def _normalize_line_ends(self, piece: bytes) -> bytes:
        """Turn CRLF and CR into LF, also where a CRLF is split between two pieces."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _data(self, event: bytes) -> bytes | None:
        if event.startswith(b"data: ") and b"\n" not in event:
            return event[6:]
        data: list[bytes] = []
        stray: list[bytes] = []
        lines = event.split(b"\n", MAX_EVENT_LINES)
        if len(lines) > MAX_EVENT_LINES:
            raise EventTooLargeError(f"event exceeds {MAX_EVENT_LINES} lines")
        for line in lines:
            name, _, value = line.partition(b":")
            if name in {b"data", b"error"}:
                data.append(value.removeprefix(b" "))
            elif line.strip() and (not _FIELD.match(line) or _COMPLAINT.match(line)):
                stray.append(line)
        if stray:
            self.stray = b"\n".join(stray)[:_MAX_STRAY_BYTES]
        if not data:
            return None
        content = b"\n".join(data)
        return ErrorData(content) if _ERROR_EVENT.search(event) else content

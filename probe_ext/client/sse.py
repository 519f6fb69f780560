"""Server-sent events, incrementally: bytes in, the `data` of whole events out.

After the WHATWG HTML standard, section 9.2 "Server-sent events": lines end in LF, CRLF or CR; an empty line ends an
event; several `data` lines are joined by LF; a line that starts with a colon is a comment. Bytes stay bytes, so a cut
inside a character does no harm. Beyond the standard, an `error:` field counts as data (llama.cpp sends failures so) and
`flush` hands out an event that the stream's end left without its empty line.
"""

MAX_EVENT = 8 * 2**20
"""bytes: an event that grows beyond this is no token of any model"""


_MARK = b"\xef\xbb\xbf"


class EventTooLargeError(ValueError):
    """An event grew beyond MAX_EVENT."""


class SseParser:
    """Feed it bytes as they come; it keeps what is unfinished."""

    def __init__(self) -> None:
        self._rest = bytearray()
        """of an event that is not over; grown in place, or an endless one would be copied anew with every read"""
        self._after_cr = False
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that this piece completed, in order. EventTooLargeError when one never ends."""
        if self._after_cr or b"\r" in piece:
            piece = self._line_feeds(piece)
        rest = self._rest
        if b"\n\n" not in piece and not (piece[:1] == b"\n" and rest[-1:] == b"\n"):
            rest += piece
            if len(rest) > MAX_EVENT:
                raise EventTooLargeError(f"an event of more than {MAX_EVENT} bytes")
            return []
        whole = bytes(rest) + piece if rest else piece
        events = (whole if self._begun else self._begin(whole)).split(b"\n\n")
        self._rest = bytearray(events.pop())
        return [data for event in events if (data := _data(event)) is not None]

    @property
    def between_events(self) -> bool:
        """Whether nothing unfinished is kept, so that the next piece begins an event."""
        return self._begun and not self._rest and not self._after_cr

    def flush(self) -> list[bytes]:
        """What the stream's end left over, as an event if it holds data."""
        rest = bytes(self._rest) if self._begun else self._begin(bytes(self._rest))
        self._rest = bytearray()
        data = _data(rest)
        return [] if data is None else [data]

    def _begin(self, text: bytes) -> bytes:
        """A stream may begin with a byte order mark, which belongs to no event."""
        self._begun = True
        return text.removeprefix(_MARK)

    def _line_feeds(self, piece: bytes) -> bytes:
        """CRLF and CR become LF, also where a CRLF is split between two pieces."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(event: bytes) -> bytes | None:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [_value(line) for line in event.split(b"\n")]
    data = [line for line in lines if line is not None]
    return b"\n".join(data) if data else None


def _value(line: bytes) -> bytes | None:
    name, _, value = line.partition(b":")
    return value.removeprefix(b" ") if name in {b"data", b"error"} else None

"""What the native path hands over: bytes with their reads, and runs of events of known patterns as their values."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from probe_ext.client.wire.kernel_receive import SLICE_BYTES, Arrivals

_SPAN, _PIECE = struct.Struct("@ii10I"), struct.Struct("@dII")
"""the structures of received.h"""
_MATCHED_BYTES_PER_BYTE = 16
"""taking events that were matched already costs so much less than parsing their bytes"""


class ReadCounts(NamedTuple):
    """The reads in which successive events arrived."""

    first: int
    """number of the first read"""
    last: int
    end: int
    """number of the read in which the last event's chunk ended"""
    in_first: int
    """events with text that ended in the first read"""
    in_last: int
    unresolved: int
    """reads with several of them"""


class EventRun(NamedTuple):
    """Successive events of one pattern, as their values."""

    pattern: int
    """as `add_pattern` numbered it"""
    at: Sequence[float]
    """arrival time of each event"""
    texts: bytes
    """a JSON array of strings, one for each event"""
    counts: list[int] | None
    """the server's running count of completion tokens at each event"""
    prompt_tokens: int | None
    reads: ReadCounts
    event_bytes: int
    wire_bytes: int


def _cost(part: Arrivals | EventRun) -> int:
    """Return how many bytes cost as much to parse."""
    if isinstance(part, EventRun):
        return part.wire_bytes // _MATCHED_BYTES_PER_BYTE
    return sum(map(len, part.data))


class NativeArrivals(NamedTuple):
    """What arrived of one response, in order."""

    parts: Sequence[Arrivals | EventRun]

    def slices(self) -> Iterator["NativeArrivals"]:
        """Split into what may be parsed without a break."""
        if sum(map(_cost, self.parts)) <= SLICE_BYTES:  # as nearly always
            if self.parts:
                yield self
            return
        together: list[Arrivals | EventRun] = []
        size = 0
        for part in self._small_parts():
            more = _cost(part)
            if together and size + more > SLICE_BYTES:
                yield NativeArrivals(together)
                together, size = [], 0
            together.append(part)
            size += more
        if together:
            yield NativeArrivals(together)

    def _small_parts(self) -> Iterator[Arrivals | EventRun]:
        for part in self.parts:
            if isinstance(part, EventRun):
                yield part
            else:
                yield from part.slices()


def arrivals_of(spans: bytes, pieces: bytes, data: bytes, times: bytes, counts: bytes, texts: bytes) -> NativeArrivals:
    """Return what the first columns of `Stream.take` contain."""
    parts: list[Arrivals | EventRun] = []
    at: Sequence[float] = memoryview(times).cast("d").tolist()
    completions: Any = memoryview(counts).cast("i").tolist()
    pieces_left = _PIECE.iter_unpack(pieces)
    byte = event = text = 0
    for pattern, prompt, count, first, last, end, in_first, in_last, *more in _SPAN.iter_unpack(spans):
        if pattern < 0:
            part = _bytes_of(islice(pieces_left, count), data, byte)
            byte += sum(map(len, part.data))
            parts.append(part)
            continue
        unresolved, text_bytes, event_bytes, wire_bytes = more
        until, text_until = event + count, text + text_bytes
        counted = completions[event:until] if completions[event] >= 0 else None
        reads = ReadCounts(first, last, end, in_first, in_last, unresolved)
        array = b"".join((b'["', texts[text : text_until - 2], b"]"))  # `","` follows each text
        tokens = prompt if prompt >= 0 else None
        parts.append(EventRun(pattern, at[event:until], array, counted, tokens, reads, event_bytes, wire_bytes))
        event, text = until, text_until
    return NativeArrivals(parts)


def _bytes_of(pieces: Iterable[tuple[float, int, int]], data: bytes, start: int) -> Arrivals:
    parts, at, numbers = [], [], []
    for moment, number, size in pieces:
        parts.append(data[start : start + size])
        at.append(moment)
        numbers.append(number)
        start += size
    return Arrivals(parts, at, (), (), numbers)

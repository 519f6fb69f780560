"""What the native path hands over: bytes with their reads, and runs of events of known patterns as their values."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from probe_ext.client.wire.kernel_receive import SLICE_BYTES, Arrivals

_MATCHED_BYTES_PER_BYTE = 16
"""taking events that were matched already costs so much less than parsing their bytes"""


class ReadCounts(NamedTuple):
    """The reads in which successive events arrived."""

    first: int
    """number of the first read"""
    last: int
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


class NativeArrivals(NamedTuple):
    """What arrived of one response, in order."""

    parts: Sequence[Arrivals | EventRun]

    def slices(self) -> Iterator["NativeArrivals"]:
        """Split into what may be parsed without a break."""
        together: list[Arrivals | EventRun] = []
        size = 0
        for part in self._small_parts():
            more = (
                part.wire_bytes // _MATCHED_BYTES_PER_BYTE if isinstance(part, EventRun) else sum(map(len, part.data))
            )
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

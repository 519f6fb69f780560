"""Measure one reply while it is passed on: times of token events, token counts, outcome.

The bytes go through the same reader as replies of a load test, so all figures mean the same.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.client.api.server_errors import BUSY_STATUSES
from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.timeline import Marks, gaps
from probe_ext.recording.recorded_request import Gaps

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PLAIN = {"", "identity"}
_REPLY_OUTCOMES = frozenset(Outcome)
_RESPONSE_ID = re.compile(rb'"id"\s*:\s*"(resp[\w-]{1,200})"')
_BEGINNING_BYTES = 4096
_MAX_INFLATED_PIECE = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """What is recorded of a reply; the texts are those in which a client may send it back, and not recorded."""

    outcome: str
    status: int | None = None
    finish: str | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    events: int | None = None
    output_characters: int | None = None
    first: float | None = None
    """monotonic seconds of the first token event"""
    gaps: Gaps | None = None
    texts: tuple[str, ...] = ()
    response: str | None = None
    """id of the response (Responses API), by which a client may continue it; not recorded"""


class ReplyMeter:
    """Takes the pieces of a body with the times at which they arrived (monotonic seconds)."""

    def __init__(self, status: int, headers: dict[str, str], *, streamed: bool, choices: int = 1) -> None:
        """`headers`: of the response, names in lower case; `streamed`: whether a stream was asked for."""
        self._status, self._streamed = status, streamed
        self._reader = ReplyReader(None, choices)
        self._beginning = b""
        encoding = headers.get("content-encoding", "").lower()
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding in {"gzip", "x-gzip", "deflate"} else None
        self._unreadable = self._inflate is None and encoding not in _PLAIN
        kind = headers.get("content-type", "").encode("latin-1", "replace").translate(None, b"\r\n")
        head = b"HTTP/1.1 %d -\r\ncontent-type: %b\r\n\r\n" % (status, kind)
        self._reader.feed(Arrivals([head], [0.0], [], []))

    def feed(self, pieces: Sequence[tuple[float, bytes]]) -> None:
        """Take pieces of the body, each with the time at which it arrived."""
        readable = [(at, text) for at, data in pieces if (text := self._decoded(data))]
        if self._unreadable or not readable:
            return
        for _, text in readable:
            if len(self._beginning) < _BEGINNING_BYTES:
                self._beginning += text[:_BEGINNING_BYTES]
        self._reader.feed(Arrivals([text for _, text in readable], [at for at, _ in readable], [], []))

    def _decoded(self, data: bytes) -> bytes:
        """Return a piece without its content encoding; b"" where that cannot be read."""
        if self._inflate is None or self._unreadable:
            return data
        try:
            return self._inflate.decompress(data, _MAX_INFLATED_PIECE)
        except zlib.error:
            self._unreadable = True
            return b""

    @property
    def _id(self) -> str | None:
        found = _RESPONSE_ID.search(self._beginning)
        return found[1].decode() if found else None

    def finish(self, broken: str | None) -> ReplyFacts:
        """Return what was measured. `broken`: the outcome, if the reply was broken off; None if it is whole.

        Of a body in an encoding that this machine cannot read, only the status is known.
        """
        if self._unreadable:
            return ReplyFacts(broken or of_status(self._status).value, self._status)
        reply = Reply(Marks(due=0.0, sent=0.0), self._streamed, Outcome.CUT, status=self._status)
        known = Outcome(broken) if broken in _REPLY_OUTCOMES else Outcome.HUNG_UP
        self._reader.fill(reply, None if broken is None else Ending(known))
        self._reader.response.close()
        counted = reply.tokens_from == "usage"
        pace = reply.pace
        return ReplyFacts(
            outcome=broken if broken and reply.outcome is known else reply.outcome.value,
            status=self._status,
            finish=reply.finish_reason,
            input_tokens=reply.tokens_in,
            cached_tokens=reply.tokens_cached,
            output_tokens=reply.tokens_out if counted else None,
            reasoning_tokens=reply.tokens_reasoning,
            events=pace.events if pace else None,
            output_characters=sum(len(text) for choice in reply.choices for text in (*choice.text, *choice.reasoning)),
            first=pace.first if pace else None,
            gaps=_gaps(reply),
            texts=(reply.text, reply.reasoning + reply.text),
            response=self._id,
        )


def of_status(status: int) -> Outcome:
    """Return the outcome of a whole reply of which only the status is known."""
    if status in BUSY_STATUSES:
        return Outcome.REJECTED
    return Outcome.HTTP_ERROR if status >= 300 else Outcome.COMPLETE


def _gaps(reply: Reply) -> Gaps | None:
    spread = [gap for events in reply.events for gap in gaps(events.at)]
    if not spread:
        return None
    sketch = LatencySketch()
    sketch.add(max(0.0, gap) for gap in spread)
    p50, p95 = sketch.quantile(0.5) or 0.0, sketch.quantile(0.95) or 0.0
    return Gaps(sketch.count, sketch.total / sketch.count, p50, p95, sketch.maximum)

"""Recorded answers, ways to frame and to cut them, and a way to read one without a network."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from probe_ext.client.kernel_receive import Arrivals
from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "recordings"
STREAMS = sorted(path.name for path in RECORDINGS.glob("sse_*.txt"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
KEY = "sk-very-secret-0123456789"
KEPT = 3
"""events of a shortened stream at either end"""


def recorded(name: str) -> tuple[bytes, bytes]:
    """Head and body of a recorded stream; what `curl` itself said at the end is left out."""
    head, body = (RECORDINGS / name).read_bytes().split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", body.partition(b"curl rc=")[0]


def variants() -> dict[str, bytes]:
    """The parts of the collection of errors and variants by their titles."""
    parts = (RECORDINGS / "errors_and_variants_vllm_0.32.0.txt").read_bytes().split(b"### ")[1:]
    split = [part.split(b"\n", 1) for part in parts]
    return {title.decode(): text for title, text in split}


def recorded_refusals() -> dict[str, bytes]:
    """Whole recorded responses of an HTTP error status, by title."""
    return {t: raw.rstrip(b"\n") for t, raw in variants().items() if raw.startswith(b"HTTP/1.1 4")}


def sse(*events: str) -> bytes:
    """Each as one event's data."""
    return b"".join(b"data: " + event.encode() + b"\n\n" for event in events)


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks if c) + last


def stream_response(body: bytes) -> bytes:
    """A whole event stream, chunked."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)


def sized(body: bytes, head: bytes = JSON_HEAD) -> bytes:
    """A whole response with a content length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def events_of(body: bytes) -> list[bytes]:
    """A recorded body's events, by their empty lines."""
    return [event + b"\n\n" for event in body.split(b"\n\n") if event.strip()]


def shortened(body: bytes) -> bytes:
    """A recorded body's first and last events: cuts in the many that are alike between them would tell nothing more."""
    events = events_of(body)
    return body if len(events) <= 2 * KEPT else b"".join(events[:KEPT] + events[-KEPT:])


def read(
    parts: Iterable[bytes], *, ending: Ending | None = None, streamed: bool = True, secret: str | None = KEY
) -> Reply:
    """Read a response whose n-th part comes in read n at second n; `ending` is how it was broken off, if it was."""
    reader = ReplyReader(secret)
    response = reader.response
    for second, part in enumerate(parts, start=1):
        reader.take(Arrivals([part], [float(second)], [], []))
    if reader.failure:
        raise reader.failure
    if ending is None:
        assert response.end_of_stream(), "the response did not come whole: say how it was broken off"
    reply = Reply(Marks(due=0.0, sent=0.0), streamed, Outcome.ENDED_BY_US)
    reply.status = response.status
    reader.fill(reply, ending)
    return reply


def read_stream(*events: str, ending: Ending | None = None, done: bool = True) -> Reply:
    """Read a stream of which every event comes in a read of its own, from second 2 on."""
    parts: Sequence[bytes] = [sse(event) for event in (*events, "[DONE]")[: None if done else len(events)]]
    head = HEAD + b"Connection: close\r\n\r\n"
    return read([head, *parts], ending=ending)

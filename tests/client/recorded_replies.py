"""Recorded replies, helpers to frame and split them, and to read one without a network."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "recordings"
STREAMS = sorted(path.name for path in RECORDINGS.glob("sse_*.txt"))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
KEY = "sk-very-secret-0123456789"
EVENTS_AT_EACH_END = 3


def recorded(name: str) -> tuple[bytes, bytes]:
    """Return head and body of a recorded stream, without `curl`'s own last line."""
    head, body = (RECORDINGS / name).read_bytes().split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", body.partition(b"curl rc=")[0]


def variants() -> dict[str, bytes]:
    """Return the recorded errors and variants by title."""
    parts = (RECORDINGS / "errors_and_variants_vllm_0.32.0.txt").read_bytes().split(b"### ")[1:]
    split = [part.split(b"\n", 1) for part in parts]
    return {title.decode(): text for title, text in split}


def recorded_http_errors() -> dict[str, bytes]:
    """Return the recorded responses with an HTTP error status, by title."""
    return {t: raw.rstrip(b"\n") for t, raw in variants().items() if raw.startswith(b"HTTP/1.1 4")}


def sse(*events: str) -> bytes:
    """Return one event for each data."""
    return b"".join(b"data: " + event.encode() + b"\n\n" for event in events)


def chunked(*chunks: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """Return a chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks if c) + last


def stream_response(body: bytes) -> bytes:
    """Return a chunked event stream response."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)


def sized(body: bytes, head: bytes = JSON_HEAD) -> bytes:
    """Return a response with a content length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def events_of(body: bytes) -> list[bytes]:
    """Split a recorded body into its events."""
    return [event + b"\n\n" for event in body.split(b"\n\n") if event.strip()]


def shortened(body: bytes) -> bytes:
    """Return a recorded body's first and last events; the ones between are alike."""
    events = events_of(body)
    return (
        body
        if len(events) <= 2 * EVENTS_AT_EACH_END
        else b"".join(events[:EVENTS_AT_EACH_END] + events[-EVENTS_AT_EACH_END:])
    )


def read(
    parts: Iterable[bytes],
    *,
    ending: Ending | None = None,
    streamed: bool = True,
    secret: str | None = KEY,
    choices: int = 1,
    batch: int = 1,
) -> Reply:
    """Parse a response whose n-th part arrives in read n at second n; `ending`: how it was broken off, if it was.

    `batch`: number of reads that are parsed together.
    """
    reader = ReplyReader(secret, choices)
    response = reader.response
    reads = list(parts)
    for start in range(0, len(reads), batch):
        some = reads[start : start + batch]
        reader.feed(Arrivals(some, [float(start + n) for n in range(1, len(some) + 1)], [], []))
    if reader.failure:
        raise reader.failure
    if ending is None:
        assert response.end_of_stream(), "the response is incomplete: pass the ending"
    reply = Reply(Marks(due=0.0, sent=0.0), streamed, Outcome.ENDED_BY_US)
    reply.status = response.status
    reader.fill(reply, ending)
    return reply


def read_stream(*events: str, ending: Ending | None = None, done: bool = True) -> Reply:
    """Parse a stream whose events arrive in one read each, from second 2 on."""
    parts: Sequence[bytes] = [sse(event) for event in (*events, "[DONE]")[: None if done else len(events)]]
    head = HEAD + b"Connection: close\r\n\r\n"
    return read([head, *parts], ending=ending)

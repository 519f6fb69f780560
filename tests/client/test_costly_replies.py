"""Replies made to keep the parser busy: none costs much more, per byte, than an ordinary stream parsed as JSON."""

import json
import random
import time
import tracemalloc
from collections.abc import Callable

import gevent
import pytest
from exchange_helpers import ask
from scripted_server import Peer, ScriptedServer

from probe_ext.client.exchange import Limits
from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.client.wire.kernel_receive import READ_SIZE_BYTES, SLICE_BYTES, Arrivals
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks

HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
SIZE = 2 * 2**20
EVENTS, JSON, HTML = b"text/event-stream", b"application/json", b"text/html"


def padded(start: bytes, filler: bytes, end: bytes) -> bytes:
    return start + filler * (SIZE // len(filler)) + end


COSTLY: dict[str, Callable[[], tuple[int, bytes, bytes]]] = {
    "blanks before a word": lambda: (200, EVENTS, padded(b"data: ", b" ", b"x\n\n")),
    "lines of nothing": lambda: (200, EVENTS, padded(b"", b"data\n", b"\n")),
    "a comment of blanks": lambda: (200, EVENTS, padded(b"data: :", b" ", b"x\ndata: y\n\n")),
    "lines of comments": lambda: (200, EVENTS, padded(b"", b":\n", b"\n")),
    "lines that are no field": lambda: (200, EVENTS, padded(b"", b"a\n", b"\n")),
    "objects without an end": lambda: (200, EVENTS, padded(b"data: ", b'{"a":1}', b"\n\n")),
    "objects in lines": lambda: (200, EVENTS, padded(b"", b"data: {\n", b"\n")),
    "letters": lambda: (200, EVENTS, padded(b"data: ", b"a", b"\n\n")),
    "an event cut off": lambda: (200, EVENTS, padded(b"data: ", b"a", b"")),
    "blanks and nothing else": lambda: (200, EVENTS, padded(b"", b"\n", b"")),
    "a long constant": lambda: (
        200,
        EVENTS,
        padded(b'data: {"choices":[{"text":"ab"}],"x":"', b"y", b'"}\n\n') + b'data: {"choices":[{"text":"c"}]}\n\n',
    ),
    "choices by the thousand": lambda: (200, EVENTS, padded(b'data: {"choices":[', b'{"text":"a"},', b"{}]}\n\n")),
    "texts repeated whole": lambda: (
        200,
        EVENTS,
        b"".join(
            b'data: {"type":"response.output_item.done","item":{"type":"message","content":[{"text":"%d %s"}]}}\n\n'
            % (n, b"z" * 400)
            for n in range(SIZE // 500)
        ),
    ),
    "a document of letters": lambda: (200, JSON, padded(b'{"choices": "', b"a", b"")),
    "a document of documents": lambda: (200, JSON, padded(b"", b"{}\n", b"x")),
    "titles without an end": lambda: (200, HTML, padded(b"<html>", b"<title>", b"")),
    "scripts without an end": lambda: (200, HTML, padded(b"<html><title>", b"<script ", b"</title>")),
    "an error page without an end": lambda: (500, HTML, padded(b"<html>", b"<h1>", b"")),
    "an error of letters": lambda: (500, b"text/plain", padded(b"", b"timed ", b"")),
    "an error that is an event": lambda: (500, EVENTS, padded(b"data: ", b"a", b"")),
    "an error of many lines": lambda: (503, EVENTS, padded(b"", b"data\n", b"\n")),
    "nested arrays": lambda: (200, JSON, padded(b"", b"[", b"")),
    "nested errors": lambda: (400, JSON, padded(b"", b'{"error":', b"")),
}


def read(status: int, kind: bytes, body: bytes) -> tuple[Reply, float]:
    """Return the reply, and how long it took to parse (CPU seconds)."""
    wire = HEAD % (status, kind, len(body)) + body
    reader, reply = ReplyReader("k"), Reply(Marks(due=0.0), streamed=True, outcome=Outcome.ENDED_BY_US)
    began = time.process_time()
    for start in range(0, len(wire), READ_SIZE_BYTES):
        reader.feed(Arrivals([wire[start : start + READ_SIZE_BYTES]], [1.0], (), ()))
    reply.status, reply.reads = reader.response.status, reader.response.reads
    failure = reader.failure and Ending(Outcome.BAD_DATA, str(reader.failure))
    reader.fill(reply, failure)
    return reply, time.process_time() - began


@pytest.fixture(scope="module")
def ordinary() -> float:
    """CPU seconds for an ordinary stream of the same size, whose events have too little in common for a pattern."""
    rng = random.Random(1)
    events = b"".join(
        b"data: %s\n\n" % json.dumps({f"x{rng.random()}": 1, "choices": [{"text": "a" * 80}]}).encode()
        for _ in range(SIZE // 130)
    )
    return read(200, EVENTS, events)[1]


@pytest.mark.untraced
@pytest.mark.parametrize("name", COSTLY)
def test_cost(name: str, ordinary: float) -> None:
    reply, cost = read(*COSTLY[name]())
    assert cost < 20 * ordinary + 0.5
    assert len(reply.message or "") <= 200


@pytest.mark.untraced
def test_a_flood_leaves_turns_to_others() -> None:
    """While one reply is a flood of tiny events, other greenlets run at least once per slice."""
    flood = b": \n\n" * (SIZE // 4)

    def send(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD % (200, EVENTS, len(flood)) + flood)

    turns = [0]

    def others() -> None:
        while True:
            turns[0] += 1
            gevent.sleep(0)

    other = gevent.spawn(others)
    try:
        with ScriptedServer(send) as server:
            reply = ask(server, Limits(first=25.0, gap=25.0, total=25.0))
    finally:
        other.kill()
    assert reply.outcome is Outcome.BAD_DATA
    assert turns[0] >= SIZE / SLICE_BYTES / 2


def test_names_of_fields_are_not_kept() -> None:
    """Each reply names a field of a megabyte, another one each time."""
    tracemalloc.start()
    try:
        for n in range(20):
            delta = {"content": "a", f"{n}" + "x" * 1_000_000: "b"}
            body = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode()
            read(200, b"text/event-stream", b"data: " + body + b"\n\n")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000_000

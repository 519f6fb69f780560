"""Reads taken as a run decode as through the layers: recorded, generated, split and corrupted ones."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import HEAD, STREAMS, chunked, events_of, recorded, sse
from test_event_pattern import CORRUPTIONS, ROLE, chat

from probe_ext.client import decoder
from probe_ext.client.event_pattern import PatternCache
from probe_ext.client.reply import ReplyReader
from probe_ext.client.wire.kernel_receive import Arrivals

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return chunked(content, last=b"")


def decode(reads: list[bytes], batches: list[int], monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> tuple[Any, int]:
    """Return everything decoded from reads that arrive in batches, and how many reads were taken in runs."""
    taken = 0
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "PATTERN_CACHE", PatternCache())
        patch.setattr(decoder, "_MIN_READS_FOR_RUNS", 2 if runs else 10**9)
        reader = ReplyReader(None)
        real = reader._take_run

        def counting(times: Any, *run: Any) -> None:
            nonlocal taken
            taken += len(times)
            real(times, *run)

        patch.setattr(reader, "_take_run", counting)
        times = [float(second) for second in range(1, len(reads) + 1)]
        place = 0
        for size in [*batches, len(reads)]:
            reader.feed(Arrivals(reads[place : place + size], times[place : place + size], [], []))
            place += size
        reader.decoder.finish()
    decoded, response = reader.decoder, reader.response
    result = (
        decoded.choices,
        decoded.tokens_in,
        decoded.tokens_cached,
        decoded.completion_tokens,
        decoded.done,
        decoded.last_at,
    )
    more = (decoded.error, decoded.reads_unresolved, reader.length, response.reads, response.complete, response._bytes)
    return (repr(result), more, str(reader.failure), reader._problem, response.keep_alive), taken


def check_same(reads: list[bytes], batches: list[int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Check that both ways decode the same; return how many reads were taken in runs."""
    layered, none = decode(reads, batches, monkeypatch, runs=False)
    fast, taken = decode(reads, batches, monkeypatch, runs=True)
    assert fast == layered
    assert none == 0
    return taken


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("batches", [[1, 2, 3, 50], [6, 400], [7] * 60])
def test_recordings_decode_the_same_in_runs(name: str, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [CHUNKED, *map(chunk, events_of(recorded(name)[1])), END]
    taken = check_same(reads, batches, monkeypatch)
    if batches == [6, 400] and "keepalive" not in name and "tool" not in name:
        assert taken >= (len(reads) - 13) / 2


def test_a_plain_stream_is_taken_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        sse(json.dumps(chat(["wört", 'w"\n', ""][n % 7 // 3], n + n // 5), ensure_ascii=n % 9 == 5))
        for n in range(1, 60)
    ]
    reads = [CHUNKED + chunk(ROLE), *map(chunk, events), chunk(sse("[DONE]")) + END]
    assert check_same(reads, [2], monkeypatch) == 58
    assert check_same(reads, [2, 30], monkeypatch) == 58


TWO = sse(json.dumps(chat("a", 2))) + sse(json.dumps(chat("b", 3)))
REGULAR_READS = [chunk(sse(json.dumps(chat(f"word{n}", n)))) for n in range(1, 12)]
IRREGULAR = {
    "two chunks in a read": lambda w: [w[0], w[1] + w[2], *w[3:]],
    "a chunk in two reads": lambda w: [w[0], w[1][:40], w[1][40:], *w[2:]],
    "a size split after a digit": lambda w: [w[0], w[1] + w[2][:1], w[2][1:], *w[3:]],
    "a first digit of a size alone": lambda w: [w[0], *w[1:4], b"0", *w[4:]],
    "two events in a chunk": lambda w: [w[0], chunk(TWO), *w[3:]],
    "a wrong size": lambda w: [*w[:4], b"ff" + w[4][2:], *w[5:]],
    "zeros before a size": lambda w: [*w[:4], b"000" + w[4], *w[5:]],
    "a comment": lambda w: [*w[:4], chunk(b": still here\n\n"), *w[4:]],
    "a finish reason": lambda w: [*w[:4], w[4].replace(b"null}]", b'"x" }]'), *w[5:]],
    "a zero byte in a text": lambda w: [*w[:4], w[4].replace(b"word", b"wo\0d"), *w[5:]],
    "zero bytes that join reads": lambda w: [*w[:4], w[4] + b"\0" + w[5], w[6][:9], *w[7:]],
    "no text": lambda w: [chunk(sse(json.dumps(chat("", n)))) for n in range(1, 9)],
    "a decreasing count": lambda w: [*w[:4], w[2], *w[5:]],
    "invalid UTF-8": lambda w: [*w[:4], w[4].replace(b"word", b"w\xff\xfed"), *w[5:]],
    "an event in two chunks": lambda w: [w[0], chunk(sse(json.dumps(chat("a", 2)))[:-1]), chunk(b"\n"), *w[2:]],
    "other line ends": lambda w: [part.replace(b"\n\n\r\n", b"\r\n\r\n") for part in w],
}  # fmt: skip


@pytest.mark.parametrize("case", IRREGULAR)
@pytest.mark.parametrize("batches", [[], [1, 1], [1, 4, 3]])
def test_irregular_reads_decode_the_same(case: str, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    check_same([CHUNKED, chunk(ROLE), *IRREGULAR[case](REGULAR_READS), END], batches, monkeypatch)


@pytest.mark.parametrize("head", [HEAD, HEAD + b"Content-Length: 300\r\n"], ids=["until the end", "known length"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_chunks_in_a_body_without_chunked_coding_are_text(
    head: bytes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken gateway may send them. They are no events, even if other replies had such events in chunks."""
    monkeypatch.setattr(decoder, "PATTERN_CACHE", PatternCache())
    monkeypatch.setattr(decoder, "_MIN_READS_FOR_RUNS", 2)
    fed([CHUNKED, chunk(ROLE), *REGULAR_READS, END], 100)
    broken = fed([head + b"\r\n", *REGULAR_READS], size)
    assert broken.decoder.choices == fed([head + b"\r\n" + b"".join(REGULAR_READS)], 1).decoder.choices


def fed(reads: list[bytes], size: int) -> ReplyReader:
    """Return a reader that got these reads in batches of a size."""
    reader = ReplyReader(None)
    for place in range(0, len(reads), size):
        batch = reads[place : place + size]
        reader.feed(Arrivals(batch, [float(place + n) for n in range(len(batch))], [], []))
    return reader


@given(st.integers(0, 2**32))
def test_corrupted_and_split_reads_decode_the_same(seed: int) -> None:
    rng = random.Random(seed)
    texts = ["".join(rng.choice('ab ü"\\\n€') for _ in range(rng.randrange(4))) for _ in range(rng.randrange(2, 14))]
    counts = [rng.choice([n, n, n + rng.randrange(4)]) for n in range(1, len(texts) + 1)]
    raw = [sse(json.dumps(chat(t, n), ensure_ascii=rng.random() < 0.5)) for t, n in zip(texts, counts, strict=True)]
    reads = [chunk(sse(json.dumps(chat("start", 0)))), *map(chunk, raw), END]
    for _ in range(rng.randrange(3)):
        which = rng.randrange(1, len(reads))
        at = rng.randrange(len(reads[which]))
        if rng.random() < 0.5:
            reads[which] = reads[which][:at] + rng.choice(CORRUPTIONS) + reads[which][at + rng.randrange(3) :]
        elif rng.random() < 0.5:
            reads[which : which + 1] = [part for part in (reads[which][:at], reads[which][at:]) if part]
        else:
            reads[which - 1 : which + 1] = [reads[which - 1] + reads[which]]
    batches = [rng.randrange(1, 6) for _ in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        check_same([CHUNKED, *reads], batches, patch)

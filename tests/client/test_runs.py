"""Reads taken as a run say what they say when each goes through the layers: on recordings, cut and spoiled anyhow."""

import json
import random
from typing import Any

import pytest
from exchanges import HEAD, STREAMS, chunked, events_of, recorded, sse
from hypothesis import given
from hypothesis import strategies as st
from test_pattern import ROLE, SPOILS, chat

from probe_ext.client import decoder
from probe_ext.client.event_pattern import Patterns
from probe_ext.client.kernel_receive import Arrivals
from probe_ext.client.reply import ReplyReader

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return chunked(content, last=b"")


def found(reads: list[bytes], batches: list[int], monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> tuple[Any, int]:
    """All that is known of a response whose n-th read came at second n, taken in batches; and reads taken in runs."""
    taken = 0
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "PATTERNS", Patterns())
        patch.setattr(decoder, "_WORTH_IT", 2 if runs else 10**9)
        reader = ReplyReader(None)
        real = reader._take_run

        def counting(times: Any, run: Any) -> None:
            nonlocal taken
            taken += len(times)
            real(times, run)

        patch.setattr(reader, "_take_run", counting)
        times = [float(second) for second in range(1, len(reads) + 1)]
        place = 0
        for size in [*batches, len(reads)]:
            reader.take(Arrivals(reads[place : place + size], times[place : place + size], [], []))
            place += size
        reader.decoder.finish()
    decoded, response = reader.decoder, reader.response
    told = (
        decoded.choices,
        decoded.tokens_in,
        decoded.tokens_cached,
        decoded.completion,
        decoded.done,
        decoded.last_at,
    )
    more = (decoded.error, decoded.reads_unresolved, reader.length, response.reads, response.complete, response._bytes)
    return (repr(told), more, str(reader.failure), reader._problem, response.keep_alive), taken


def same(reads: list[bytes], batches: list[int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Both ways; how many reads were taken in runs."""
    slowly, none = found(reads, batches, monkeypatch, runs=False)
    fast, taken = found(reads, batches, monkeypatch, runs=True)
    assert fast == slowly
    assert none == 0
    return taken


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("batches", [[1, 2, 3, 50], [4, 400], [7] * 60])
def test_every_recording_says_the_same_in_runs(name: str, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [CHUNKED, *map(chunk, events_of(recorded(name)[1])), END]
    taken = same(reads, batches, monkeypatch)
    if batches == [4, 400]:
        assert taken >= (len(reads) - 10) / 2


def test_a_stream_that_flows_is_taken_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        sse(json.dumps(chat(["wört", 'w"\n', ""][n % 7 // 3], n + n // 5), ensure_ascii=n % 9 == 5))
        for n in range(1, 60)
    ]
    reads = [CHUNKED + chunk(ROLE), *map(chunk, events), chunk(sse("[DONE]")) + END]
    assert same(reads, [2], monkeypatch) == 58
    assert same(reads, [2, 30], monkeypatch) == 58


TWO = sse(json.dumps(chat("a", 2))) + sse(json.dumps(chat("b", 3)))
WHOLE = [chunk(sse(json.dumps(chat(f"word{n}", n)))) for n in range(1, 12)]
ODD = {
    "two chunks in a read": lambda w: [w[0], w[1] + w[2], *w[3:]],
    "a chunk in two reads": lambda w: [w[0], w[1][:40], w[1][40:], *w[2:]],
    "a size cut after a digit": lambda w: [w[0], w[1] + w[2][:1], w[2][1:], *w[3:]],
    "the first digit of a size held back": lambda w: [w[0], *w[1:4], b"0", *w[4:]],
    "two events in a chunk": lambda w: [w[0], chunk(TWO), *w[3:]],
    "a size that lies": lambda w: [*w[:4], b"ff" + w[4][2:], *w[5:]],
    "zeros before a size": lambda w: [*w[:4], b"000" + w[4], *w[5:]],
    "a comment between": lambda w: [*w[:4], chunk(b": still here\n\n"), *w[4:]],
    "a finish reason between": lambda w: [*w[:4], w[4].replace(b"null}]", b'"x" }]'), *w[5:]],
    "a zero byte in a text": lambda w: [*w[:4], w[4].replace(b"word", b"wo\0d"), *w[5:]],
    "zero bytes that mend one another": lambda w: [*w[:4], w[4] + b"\0" + w[5], w[6][:9], *w[7:]],
    "no text at all": lambda w: [chunk(sse(json.dumps(chat("", n)))) for n in range(1, 9)],
    "a count that falls": lambda w: [*w[:4], w[2], *w[5:]],
    "bytes that are no text": lambda w: [*w[:4], w[4].replace(b"word", b"w\xff\xfed"), *w[5:]],
    "the end of an event alone": lambda w: [w[0], chunk(sse(json.dumps(chat("a", 2)))[:-1]), chunk(b"\n"), *w[2:]],
    "line ends of another kind": lambda w: [part.replace(b"\n\n\r\n", b"\r\n\r\n") for part in w],
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("batches", [[], [1, 1], [1, 4, 3]])
def test_what_is_no_whole_event_a_read_goes_through_the_layers(
    odd: str, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    same([CHUNKED, chunk(ROLE), *ODD[odd](WHOLE), END], batches, monkeypatch)


@given(st.integers(0, 2**32))
def test_reads_spoiled_and_cut_anyhow_say_what_the_layers_say(seed: int) -> None:
    rng = random.Random(seed)
    texts = ["".join(rng.choice('ab ü"\\\n€') for _ in range(rng.randrange(4))) for _ in range(rng.randrange(2, 14))]
    counts = [rng.choice([n, n, n + rng.randrange(4)]) for n in range(1, len(texts) + 1)]
    raw = [sse(json.dumps(chat(t, n), ensure_ascii=rng.random() < 0.5)) for t, n in zip(texts, counts, strict=True)]
    reads = [chunk(sse(json.dumps(chat("start", 0)))), *map(chunk, raw), END]
    for _ in range(rng.randrange(3)):
        which = rng.randrange(1, len(reads))
        at = rng.randrange(len(reads[which]))
        if rng.random() < 0.5:
            reads[which] = reads[which][:at] + rng.choice(SPOILS) + reads[which][at + rng.randrange(3) :]
        elif rng.random() < 0.5:
            reads[which : which + 1] = [part for part in (reads[which][:at], reads[which][at:]) if part]
        else:
            reads[which - 1 : which + 1] = [reads[which - 1] + reads[which]]
    batches = [rng.randrange(1, 6) for _ in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        same([CHUNKED, *reads], batches, patch)

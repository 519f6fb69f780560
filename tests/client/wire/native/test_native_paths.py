"""The native path and the Python path make the same reply of the same bytes, however these are cut into reads."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_replies import (
    HEAD,
    KEY,
    RECORDINGS,
    STREAMS,
    chunked,
    events_of,
    recorded,
    shortened,
    sized,
    sse,
    variants,
)
from reply_catalogue import entries
from test_event_pattern import CORRUPTIONS, ROLE, chat
from test_matched_runs import CHUNKED, END, IRREGULAR, REGULAR_READS, chunk

from probe_ext.client import decoder, native_patterns
from probe_ext.client.event_pattern import PatternCache
from probe_ext.client.reply import Ending, Reply, ReplyReader
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.client.wire.native import native_extension
from probe_ext.client.wire.native.native_arrivals import EventRun, NativeArrivals, arrivals_of
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks

native = native_extension.reader_module()
pytestmark = pytest.mark.skipif(native is None, reason=f"NOT CHECKED: {native_extension.reading_path()})")
TAKE_ALWAYS, TAKE_WHEN_WOKEN, TAKE_AT_END = "always", "when woken", "at the end"


@pytest.fixture(autouse=True)
def _no_patterns() -> None:
    """Every test learns its own: a process has room for some of them only."""
    native.forget_patterns()
    for known in (native_patterns._numbers, native_patterns._known, native_patterns._constants):
        known.clear()  # type: ignore[attr-defined]


def native_arrivals(reads: Sequence[bytes], taken: Sequence[bool] | str) -> list[NativeArrivals]:
    """Return what the native path hands over; `taken`: after which reads Python asks, beside at the end."""
    stream = native.Reader().open(-1, 0.0, True)
    results = []
    for number, data in enumerate(reads):
        woken = stream.feed(data, number + 1.0)
        if isinstance(taken, str):
            ask = taken == TAKE_ALWAYS or (taken == TAKE_WHEN_WOKEN and woken)
        else:
            ask = taken[number % len(taken)] if taken else False
        if ask:
            results.append(arrivals_of(*stream.take()[:6]))
    return [*results, arrivals_of(*stream.take()[:6])]


def reply_of(parts: Sequence[Arrivals | NativeArrivals]) -> tuple[Any, ...]:
    """Parse what arrived; return everything known about the reply."""
    reader = ReplyReader(KEY)
    for part in parts:
        reader.feed(part)
    response = reader.response
    complete = response.complete or response.end_of_stream()
    reply = Reply(Marks(due=0.0, sent=0.0, headers=response.headers_at), True, Outcome.ENDED_BY_US)
    reply.status, reply.reads = response.status, response.reads
    problem = str(reader.failure)
    last_at, done = reader.decoder.last_at, reader.decoder.done
    reader.fill(reply, None if complete else Ending(Outcome.CUT, "cut"))
    size = None if reader.failure else response._bytes  # a read that fails in its middle counts, or not
    return repr(reply), problem, size, response.complete, response.keep_alive, last_at, done, reader._problem


def compare(reads: Sequence[bytes], taken: Sequence[bool] | str) -> int:
    """Check that both paths lead to the same reply; return how many events the native path matched."""
    reads = [data for data in reads if data]
    times = [number + 1.0 for number in range(len(reads))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "PATTERN_CACHE", PatternCache())
        patch.setattr(decoder, "_MIN_READS_FOR_RUNS", 10**9)  # the layers are the reference
        expected = reply_of([Arrivals(reads, times, (), ())])
        arrived = native_arrivals(reads, taken)
        parts = [part for each in arrived for part in each.slices()]
        assert reply_of(parts) == expected
        patch.setattr(decoder, "_MIN_READS_FOR_RUNS", 4)
        assert reply_of(parts) == expected
    return sum(len(run.at) for part in parts for run in part.parts if isinstance(run, EventRun))


def cut(rng: random.Random, stream: bytes) -> list[bytes]:
    """Cut a stream into reads of any size."""
    mean = rng.choice([1, 3, 30, 300, 3000])
    reads = []
    while stream:
        size = rng.randrange(1, 2 * mean + 1)
        reads.append(stream[:size])
        stream = stream[size:]
    return reads


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("taken", [TAKE_AT_END, TAKE_WHEN_WOKEN, TAKE_ALWAYS])
def test_recordings_lead_to_the_same_reply(name: str, taken: str) -> None:
    reads = [CHUNKED, *map(chunk, events_of(recorded(name)[1])), END]
    compare(reads, taken)  # the first time, its pattern may be unknown
    matched = compare(reads, taken)
    if "keepalive" not in name and "tool" not in name:
        assert matched >= (len(reads) - 13) / 2


@given(st.sampled_from(STREAMS), st.integers(0, 2**32))
def test_recordings_lead_to_the_same_reply_under_any_cuts(name: str, seed: int) -> None:
    rng = random.Random(seed)
    body = shortened(recorded(name)[1])
    framed = b"".join(map(chunk, events_of(body))) + END if rng.random() < 0.7 else chunked(body)
    taken = [rng.random() < rng.choice([0.0, 0.05, 0.5]) for _ in range(50)]
    stream = CHUNKED + framed
    if rng.random() < 0.2:  # the connection is lost in its middle
        stream = stream[: rng.randrange(len(stream))]
    compare(cut(rng, stream), taken)


def recorded_responses() -> dict[str, bytes]:
    """Return every recorded response, with its own head if it was recorded."""
    found = {name: recorded(name)[0] + b"".join(map(chunk, events_of(recorded(name)[1]))) + END for name in STREAMS}
    raw = {path.name: path.read_bytes() for kind in ("nonstream_*", "error_*") for path in RECORDINGS.glob(kind)}
    for name, data in (raw | variants()).items():
        if data.startswith(b"HTTP/"):
            found[name] = data.rstrip(b"\n")
        elif data.startswith(b"data:"):
            found[name] = CHUNKED + b"".join(map(chunk, events_of(data))) + END
        else:
            found[name] = sized(data.rstrip(b"\n"))
    return found


RESPONSES = recorded_responses()


def test_no_recorded_response_is_left_out() -> None:
    kinds = ("sse_", "nonstream_", "error_", "errors_and_variants_")
    files = [path.name for path in RECORDINGS.iterdir() if path.name.startswith(kinds)]
    assert len(RESPONSES) == len(files) - 1 + len(variants()) >= 30


@pytest.mark.parametrize("name", RESPONSES)
def test_whole_recorded_responses_lead_to_the_same_reply(name: str) -> None:
    """Whatever their status and content type."""
    response = RESPONSES[name]
    for taken in (TAKE_AT_END, TAKE_WHEN_WOKEN):
        compare([response], taken)
    for seed in range(6):
        rng = random.Random(seed)
        compare(cut(rng, response), [rng.random() < 0.2 for _ in range(20)])


HEADS_WITHOUT_CHUNKS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 12345678901234567\r\nContent-Type: text/event-stream\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n",
]


@given(st.sampled_from(STREAMS), st.sampled_from(HEADS_WITHOUT_CHUNKS), st.integers(0, 2**32))
def test_streams_without_chunks_lead_to_the_same_reply_under_any_cuts(name: str, head: bytes, seed: int) -> None:
    rng = random.Random(seed)
    body = shortened(recorded(name)[1])
    if rng.random() < 0.2:
        at = rng.randrange(len(body))
        body = body[:at] + rng.choice(CORRUPTIONS) + body[at + rng.randrange(3) :]
    length = max(0, len(body) + rng.choice([0, 0, 0, -3, 5, -len(body), -len(body) // 2]))
    taken = [rng.random() < rng.choice([0.0, 0.05, 0.5]) for _ in range(50)]
    stream = (head % length if b"%d" in head else head) + body
    compare(cut(rng, stream), taken)
    compare(cut(rng, stream), taken)


FIELDS = [
    *("Content-Type: text/event-stream", "content-type:text/event-stream; charset=utf-8", "Transfer-Encoding: chunked"),
    *("Content-Type: application/json", "Content-Type:  text/event-stream", "Transfer-Encoding: gzip, chunked"),
    *("Transfer-Encoding : chunked", "Transfer-Encoding: chunked ", "transfer-encoding: CHUNKED", " Folded: value"),
    *("Connection: upgrade", "Upgrade: h2c", "Connection: close, te", "Connection: keep-alive", "Connection:"),
    *("Content-Length: 5", "Content-Length: 5x", "Content-Encoding: gzip", "Content-Encoding: identity"),
    *("X-Id: \x07", "X-Id: ü", "X-Id:\tone", "X~Id: one", ": nameless", "no colon", "X-Id: one\rtwo", "X-Id: one\ntwo"),
]


@given(st.lists(st.sampled_from(FIELDS), max_size=5), st.booleans(), st.integers(0, 2**32))
def test_heads_lead_to_the_same_reply_under_any_cuts(fields: list[str], usual: bool, seed: int) -> None:
    rng = random.Random(seed)
    status = rng.choice(
        ["HTTP/1.1 200 OK"] * 4 + ["HTTP/1.1 200", "HTTP/1.1 2000", "HTTP/1.0 200 OK", "HTTP/1.1 500 Oh"]
    )
    lines = [status, *(FIELDS[:1] + FIELDS[2:3] if usual else []), *fields]
    stream = "\r\n".join([*lines, "", ""]).encode() + chunk(ROLE) + b"".join(REGULAR_READS) + END
    compare(cut(rng, stream), [rng.random() < 0.1 for _ in range(20)])


def test_a_reply_that_is_cut_at_a_chunks_line_end_has_all_its_reads() -> None:
    reads = [CHUNKED, chunk(ROLE), *REGULAR_READS]
    compare([*reads, END], TAKE_AT_END)
    assert compare([*reads[:-1], reads[-1][:-2], b"\r\n"], TAKE_AT_END) >= len(REGULAR_READS) - 3


@pytest.mark.parametrize("case", IRREGULAR)
@pytest.mark.parametrize("taken", [TAKE_AT_END, TAKE_WHEN_WOKEN])
def test_irregular_reads_lead_to_the_same_reply(case: str, taken: str) -> None:
    compare([CHUNKED, chunk(ROLE), *IRREGULAR[case](REGULAR_READS), END], taken)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_the_catalogue_leads_to_the_same_reply(entry: Any) -> None:
    body = b"".join(entry.body) if isinstance(entry.body, list | tuple) else entry.body
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for parts in (events_of(body), [body]):
        compare([head, *map(chunk, parts), END], TAKE_WHEN_WOKEN)
        compare([head + b"".join(map(chunk, parts)) + END], TAKE_AT_END)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_corrupted_streams_lead_to_the_same_reply_under_any_cuts(seed: int) -> None:
    rng = random.Random(seed)
    texts = ["".join(rng.choice('ab ü"\\\n€😀') for _ in range(rng.randrange(4))) for _ in range(rng.randrange(2, 14))]
    counts = [rng.choice([n, n, n + rng.randrange(4)]) for n in range(1, len(texts) + 1)]
    raw = [sse(json.dumps(chat(t, n), ensure_ascii=rng.random() < 0.5)) for t, n in zip(texts, counts, strict=True)]
    chunks = [chunk(sse(json.dumps(chat("start", 0))))]
    while raw:
        together = rng.choice([1, 1, 1, 2, 5])
        chunks.append(chunk(b"".join(raw[:together])))
        raw = raw[together:]
    stream = bytearray(CHUNKED + b"".join(chunks) + END)
    for _ in range(rng.choice([0, 0, 1, 3])):
        at = rng.randrange(len(stream))
        stream[at : at + rng.randrange(3)] = rng.choice(CORRUPTIONS)
    compare(cut(rng, bytes(stream)), [rng.random() < rng.choice([0.0, 0.1]) for _ in range(20)])


LINE_ENDS = ["\n", "\n\n", "\n\n\n", "\n\n\n\n", "\r\n", "\r\n\r\n", "\r\n\n", "\r\n\n\n", "\n\r\n\r\n", "\r\r", "\n\r"]


@pytest.mark.parametrize("before", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("after", ["", *LINE_ENDS], ids=repr)
def test_line_ends_after_an_unknown_event_lead_to_the_same_reply(before: str, after: str) -> None:
    strange = [chunk(part.encode()) for part in ("data: unreadable" + before, after) if part]
    reads = [CHUNKED, chunk(ROLE), *REGULAR_READS[:5], *strange, *REGULAR_READS[5:], END]
    compare(reads, TAKE_AT_END)
    assert compare(reads, TAKE_AT_END) >= 5
    compare([reads[0], b"".join(reads[1:])], TAKE_AT_END)


def test_events_of_one_read_count_as_unresolved_as_on_the_python_path() -> None:
    words = [chunk(sse(json.dumps(chat(f"word{n}", n)))) for n in range(1, 8)]
    finish = chunk(sse(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})))
    reads = [CHUNKED + words[0] + words[1], words[2] + words[3] + words[4][:50], words[4][50:] + words[5] + finish]
    compare([CHUNKED, chunk(ROLE), *words, END], TAKE_AT_END)  # learns the pattern
    assert compare([*reads, words[6] + chunk(sse("[DONE]")) + END], TAKE_AT_END) == 8


def test_a_usual_stream_is_matched_but_for_its_head_and_end() -> None:
    """Role, finish reason and usage, too, once one of each was seen; whatever ids and counts the next one has."""

    def stream(reply_id: str, words: int) -> list[bytes]:
        def event(**fields: Any) -> bytes:
            return chunk(sse(json.dumps({"id": reply_id, "created": 1000 + words, **fields})))

        def choice(delta: dict[str, str], finish: str | None = None) -> bytes:
            return event(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

        usage = {"prompt_tokens": words, "total_tokens": 2 * words, "completion_tokens": words}
        tokens = [choice({"content": f" w{n}"}) for n in range(words)]
        last = [choice({}, "length"), event(choices=[], usage=usage)]
        return [CHUNKED, choice({"role": "assistant", "content": ""}), *tokens, *last, chunk(sse("[DONE]")) + END]

    compare(stream("a", 20), TAKE_AT_END)
    assert compare(stream("another-1", 31), TAKE_AT_END) == 34
    assert compare([b"".join(stream("another-2", 5))], TAKE_AT_END) == 8
    for seed in range(30):
        compare(cut(random.Random(seed), b"".join(stream("x", 9))), TAKE_WHEN_WOKEN)


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]},
        {"choices": [{"index": 0, "delta": {"refusal": "no"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": ""}, "token_ids": [1, 2], "finish_reason": None}]},
        {"error": {"message": "out of memory", "code": 500}},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "delta": {}}]},
        {"choices": [], "id": "x", "usage": {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}},
        {"type": "response.completed", "response": {"id": "r", "output": []}},
    ],
)
def test_events_without_text_mean_the_same_when_they_come_again(event: dict[str, Any]) -> None:
    again = [chunk(sse(json.dumps(event)))] * 2
    for reads in ([*again, *REGULAR_READS], [*REGULAR_READS[:3], *again, *REGULAR_READS[3:]]):
        for _ in range(2):
            compare([CHUNKED, *reads, chunk(sse("[DONE]")) + END], TAKE_AT_END)


def test_an_event_whose_shape_was_refused_is_not_examined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[bytes] = []

    def refused(raw: bytes, _: Any) -> None:
        examined.append(raw)

    monkeypatch.setattr(native_patterns, "constant_shape", refused)
    role = chunk(sse(json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})))
    for _ in range(2):
        native_arrivals_of_reply = native_arrivals([CHUNKED, role, *REGULAR_READS], TAKE_ALWAYS)
        reply_of(native_arrivals_of_reply)
    assert len(examined) == len(set(examined)) > 0

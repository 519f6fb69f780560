"""Events matched by a pattern decode as with the JSON parser: recorded, generated and corrupted ones."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import STREAMS, events_of, recorded, sse

from probe_ext.client import decoder as decoding
from probe_ext.client.api.api_event import BadEventError
from probe_ext.client.api.openai_api import parse_event
from probe_ext.client.decoder import Decoder
from probe_ext.client.event_pattern import PatternCache, make_pattern


class NoPatterns(PatternCache):
    """A cache that never learns."""

    def learn(self, *_: object) -> None:
        return None


def decoded(pieces: list[bytes], patterns: PatternCache) -> Any:
    """Return everything a decoder makes of pieces that arrive in one read each."""
    before, decoding.PATTERN_CACHE = decoding.PATTERN_CACHE, patterns
    try:
        decoder = Decoder()
        problem = None
        try:
            decoder.feed([(float(n), n, piece) for n, piece in enumerate(pieces, start=1)])
        except BadEventError as error:
            problem = str(error)
        decoder.finish()
    finally:
        decoding.PATTERN_CACHE = before
    result = (decoder.choices, decoder.tokens_in, decoder.tokens_cached, decoder.completion_tokens, decoder.done)
    return problem, repr(result), decoder.reads_unresolved, decoder.last_at, decoder.error


def chat(text: str, count: int, **more: Any) -> dict[str, Any]:
    """Return a token event in vLLM's format."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion_tokens.chunk", "created": 17, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
        "usage": {"prompt_tokens": 14, "total_tokens": 14 + count, "completion_tokens": count}, **more,
    }  # fmt: skip


ROLE = sse(json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))


def count_matched(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many of the pieces matched a pattern."""
    read = 0

    def counting(data: bytes) -> Any:
        nonlocal read
        read += 1
        return parse_event(data)

    monkeypatch.setattr(decoding, "parse_event", counting)
    decoded(pieces, PatternCache())
    return len(pieces) - read


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("seen", ["nothing", "itself", "all others"])
def test_recordings_decode_the_same_with_and_without_patterns(name: str, seen: str) -> None:
    patterns = PatternCache()
    for other in {"nothing": [], "itself": [name], "all others": STREAMS}[seen]:
        decoded(events_of(recorded(other)[1]), patterns)
    pieces = events_of(recorded(name)[1])
    assert decoded(pieces, patterns) == decoded(pieces, NoPatterns())


def test_patterns_replace_the_json_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [ROLE, *(sse(json.dumps(chat(f"word{n}", n))) for n in range(1, 40))]
    assert count_matched(pieces, monkeypatch) == 38


def test_a_pattern_fits_the_next_reply_with_another_id_time_and_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = PatternCache()
    decoded([ROLE, sse(json.dumps(chat("a", 1)))], patterns)
    later = chat("b", 1, id="chatcmpl-77", created=99)
    later["usage"]["prompt_tokens"] = 3
    monkeypatch.setattr(decoding, "parse_event", lambda data: parse_event(data) if b"role" in data else None)
    decoder = decoded([ROLE, sse(json.dumps(later))], patterns)
    assert "tokens=[1]" in decoder[1]
    assert ", 3, None, 1, " in decoder[1]


def test_an_event_beside_lines_that_are_no_field_is_no_pattern() -> None:
    patterns, stray = PatternCache(), b"not a field\n\n"
    events = [sse(json.dumps(chat(f"word{n}", n))) for n in range(4)]
    decoded([events[0], *(stray + event for event in events[1:])], patterns)
    assert not any(pattern.expression.fullmatch(stray + events[1]) for pattern in patterns.patterns)


CORRUPTIONS = [
    b'"',
    b"\\",
    b"\n",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"}",
    b"0",
    b"007",
    b"-1",
    b"1.5",
    b"1e3",
    b"\r",
    b"null",
]


@given(st.lists(st.text(max_size=6), min_size=2, max_size=8), st.integers(0, 2**32), st.integers(0, 6))
def test_corrupted_events_decode_as_with_the_json_parser(texts: list[str], seed: int, corruptions: int) -> None:
    rng = random.Random(seed)
    counts = [rng.choice([n, n, n + rng.randrange(4)]) for n in range(1, len(texts) + 1)]
    raw = [sse(json.dumps(chat(t, n), ensure_ascii=rng.random() < 0.5)) for t, n in zip(texts, counts, strict=True)]
    first = sse(json.dumps(chat("start", 0)))
    for _ in range(corruptions):
        which = rng.randrange(len(raw))
        at = rng.randrange(len(raw[which]))
        raw[which] = raw[which][:at] + rng.choice(CORRUPTIONS) + raw[which][at + rng.randrange(3) :]
    pieces = [first, *raw]
    assert decoded(pieces, PatternCache()) == decoded(pieces, NoPatterns())
    joined = [b"".join(pieces)]  # several events in one piece, and split events
    cut = rng.randrange(len(joined[0]))
    for parts in (joined, [joined[0][:cut], joined[0][cut:]]):
        assert decoded([first, *parts], PatternCache()) == decoded([first, *parts], NoPatterns())


@given(
    st.recursive(
        st.none() | st.integers(0, 99) | st.sampled_from(["a", "id", "7", '"', "word"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["id", "created", "content", "text", "index", "usage", "prompt_tokens", "completion_tokens",
                             "total_tokens", "delta", "cached_tokens", "prompt_tokens_details", "refusal"]),
            inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from(["word", "id", "7", "prompt_tokens"]),
)  # fmt: skip
def test_events_with_any_extra_fields_decode_as_with_the_json_parser(extra: Any, text: str) -> None:
    def event(content: str, count: int) -> bytes:
        fields = chat(content, count, system=extra)
        fields["choices"][0]["delta"]["more"] = extra
        fields["usage"]["extra"] = extra
        return sse(json.dumps(fields))

    pieces = [event(text, 1), event("other", 2), event("", 3), event("x", 7)]
    assert decoded(pieces, PatternCache()) == decoded(pieces, NoPatterns())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}, id="an end"),
        pytest.param({"choices": [{"index": 0, "delta": {"content": ""}}]}, id="no text"),
        pytest.param({"choices": [{"delta": {"content": "a"}, "token_ids": [1]}]}, id="token ids"),
        pytest.param({"choices": [{"delta": {"content": "a", "refusal": "b"}}]}, id="a refusal"),
        pytest.param({"choices": [{"delta": {"content": "a", "reasoning": "b"}}]}, id="two texts"),
        pytest.param({"choices": [{"delta": {"content": "a"}}] * 2}, id="two choices"),
        pytest.param({"choices": [], "usage": {"completion_tokens": 2}}, id="usage alone"),
        pytest.param({"error": {"message": "a"}}, id="an error"),
    ],
)
def test_learns_only_from_plain_token_events(content: dict[str, Any]) -> None:
    patterns = PatternCache()
    decoded([ROLE, sse(json.dumps(content))], patterns)
    assert patterns.patterns == []


def test_stops_learning_from_events_that_never_repeat() -> None:
    patterns = PatternCache()
    pieces = [sse(json.dumps(chat("a", n, nonce=f"n{n}"))) for n in range(1, 300)]
    assert decoded(pieces, patterns) == decoded(pieces, NoPatterns())
    assert len(patterns.patterns) <= 8
    assert patterns.learn(pieces[0], parse_event(pieces[0][6:])) is None
    assert make_pattern(pieces[0], parse_event(pieces[0][6:])) is not None

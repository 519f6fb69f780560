"""Events known by their pattern say what the JSON reader says: on all recordings, and on whatever can be made up."""

import json
import random
from typing import Any

import pytest
from exchanges import STREAMS, events_of, recorded, sse
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.client import decoder as decoding
from probe_ext.client.decoder import Decoder
from probe_ext.client.event_pattern import Patterns, learn
from probe_ext.client.openai_api import BadEventError, read_event


class Never(Patterns):
    """Knows no pattern, and learns none."""

    def learn(self, *_: object) -> None:
        return None


def decoded(pieces: list[bytes], patterns: Patterns) -> Any:
    """All that a decoder finds, whose n-th piece comes in read n."""
    kept, decoding.PATTERNS = decoding.PATTERNS, patterns
    try:
        decoder = Decoder()
        problem = None
        try:
            decoder.feed([(float(n), n, piece) for n, piece in enumerate(pieces, start=1)])
        except BadEventError as error:
            problem = str(error)
        decoder.finish()
    finally:
        decoding.PATTERNS = kept
    found = (decoder.choices, decoder.tokens_in, decoder.tokens_cached, decoder.completion, decoder.done)
    return problem, repr(found), decoder.reads_unresolved, decoder.last_at, decoder.error


def chat(text: str, count: int, **more: Any) -> dict[str, Any]:
    """A token event as vLLM sends it."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}],
        "usage": {"prompt_tokens": 14, "total_tokens": 14 + count, "completion_tokens": count}, **more,
    }  # fmt: skip


ROLE = sse(json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))


def taken_without_json(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of the pieces were known by a pattern."""
    read = 0

    def counting(data: bytes) -> Any:
        nonlocal read
        read += 1
        return read_event(data)

    monkeypatch.setattr(decoding, "read_event", counting)
    decoded(pieces, Patterns())
    return len(pieces) - read


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("seen", ["nothing", "itself", "all others"])
def test_every_recording_says_the_same_with_and_without_patterns(name: str, seen: str) -> None:
    patterns = Patterns()
    for other in {"nothing": [], "itself": [name], "all others": STREAMS}[seen]:
        decoded(events_of(recorded(other)[1]), patterns)
    pieces = events_of(recorded(name)[1])
    assert decoded(pieces, patterns) == decoded(pieces, Never())


def test_patterns_are_really_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [ROLE, *(sse(json.dumps(chat(f"word{n}", n))) for n in range(1, 40))]
    assert taken_without_json(pieces, monkeypatch) == 38


def test_the_next_reply_needs_no_learning_though_its_id_time_and_prompt_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = Patterns()
    decoded([ROLE, sse(json.dumps(chat("a", 1)))], patterns)
    later = chat("b", 1, id="chatcmpl-77", created=99)
    later["usage"]["prompt_tokens"] = 3
    monkeypatch.setattr(decoding, "read_event", lambda data: read_event(data) if b"role" in data else None)
    decoder = decoded([ROLE, sse(json.dumps(later))], patterns)
    assert "tokens=[1]" in decoder[1]
    assert ", 3, None, 1, " in decoder[1]


SPOILS = [
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
def test_events_spoiled_at_any_byte_are_judged_as_json_judges_them(texts: list[str], seed: int, spoils: int) -> None:
    rng = random.Random(seed)
    counts = [rng.choice([n, n, n + rng.randrange(4)]) for n in range(1, len(texts) + 1)]
    raw = [sse(json.dumps(chat(t, n), ensure_ascii=rng.random() < 0.5)) for t, n in zip(texts, counts, strict=True)]
    first = sse(json.dumps(chat("start", 0)))
    for _ in range(spoils):
        which = rng.randrange(len(raw))
        at = rng.randrange(len(raw[which]))
        raw[which] = raw[which][:at] + rng.choice(SPOILS) + raw[which][at + rng.randrange(3) :]
    pieces = [first, *raw]
    assert decoded(pieces, Patterns()) == decoded(pieces, Never())
    joined = [b"".join(pieces)]  # several events in one piece, and events cut anywhere
    cut = rng.randrange(len(joined[0]))
    for parts in (joined, [joined[0][:cut], joined[0][cut:]]):
        assert decoded([first, *parts], Patterns()) == decoded([first, *parts], Never())


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
def test_whatever_else_an_event_holds_its_pattern_says_what_json_says(extra: Any, text: str) -> None:
    def event(said: str, count: int) -> bytes:
        made = chat(said, count, system=extra)
        made["choices"][0]["delta"]["more"] = extra
        made["usage"]["extra"] = extra
        return sse(json.dumps(made))

    pieces = [event(text, 1), event("other", 2), event("", 3), event("x", 7)]
    assert decoded(pieces, Patterns()) == decoded(pieces, Never())


@pytest.mark.parametrize(
    "said",
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
def test_nothing_is_learnt_from_an_event_that_is_more_or_less_than_a_token(said: dict[str, Any]) -> None:
    patterns = Patterns()
    decoded([ROLE, sse(json.dumps(said))], patterns)
    assert patterns.known == []


def test_a_server_whose_events_are_never_alike_is_not_learnt_from_for_ever() -> None:
    patterns = Patterns()
    pieces = [sse(json.dumps(chat("a", n, nonce=f"n{n}"))) for n in range(1, 300)]
    assert decoded(pieces, patterns) == decoded(pieces, Never())
    assert len(patterns.known) <= 8
    assert patterns.learn(pieces[0], read_event(pieces[0][6:])) is None
    assert learn(pieces[0], read_event(pieces[0][6:])) is not None

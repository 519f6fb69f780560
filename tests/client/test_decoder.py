"""Decoding of events into tokens: counts and times."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import STREAMS, events_of, read_stream, recorded, shortened, sse

from probe_ext.client.decoder import Decoder


def decode(*reads: bytes, finish: bool = True, choices: int = 1) -> Decoder:
    """Decode reads of which the n-th arrives at second n."""
    decoder = Decoder(choices)
    for n, data in enumerate(reads, start=1):
        decoder.feed([(float(n), n, data)])
    if finish:
        decoder.finish()
    return decoder


def event(delta: str | None, counted: int | None = None, index: int = 0, **choice: Any) -> str:
    """Return a chat event; `counted`: the server's running count of completion tokens."""
    content: dict[str, Any] = {"choices": [{"index": index, "delta": {"content": delta}, **choice}]}
    if counted is not None:
        content["usage"] = {"prompt_tokens": 14, "completion_tokens": counted}
    return json.dumps(content)


def total(counted: int) -> str:
    return json.dumps({"choices": [], "usage": {"prompt_tokens": 14, "completion_tokens": counted}})


ROLE = json.dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})


def tokens(decoder: Decoder, index: int = 0) -> list[int]:
    return decoder.choices[index].events.tokens


def test_token_events_have_the_time_of_their_read() -> None:
    decoder = decode(sse(ROLE), sse(event("a")), sse(event("b")), sse("[DONE]"))
    assert decoder.choices[0].events.at == [2.0, 3.0]
    assert decoder.last_at == 3.0
    assert decoder.done


@pytest.mark.parametrize(
    "tokenless",
    [
        pytest.param(sse(ROLE), id="a role"),
        pytest.param(b": ping\n\n", id="a comment"),
        pytest.param(sse(total(0)), id="usage only"),
        pytest.param(sse(event("")), id="empty text"),
        pytest.param(sse(event(None)), id="null"),
        pytest.param(sse(event(None, finish_reason="stop")), id="a finish reason"),
        pytest.param(sse(""), id="empty data"),
    ],
)
def test_events_without_text_are_not_token_events(tokenless: bytes) -> None:
    assert decode(tokenless, finish=False).last_at is None
    decoder = decode(tokenless, sse(event("a")), tokenless, sse(event("b")), tokenless)
    assert decoder.choices[0].events.at == [2.0, 4.0]
    assert decoder.last_at == 4.0


def test_an_event_split_over_reads_has_the_time_of_the_last_read() -> None:
    data = sse(event("a"))
    decoder = decode(data[:20], data[20:-1], data[-1:])
    assert decoder.choices[0].events.at == [3.0]


def test_tokens_per_event_are_the_growth_of_the_running_count() -> None:
    decoder = decode(sse(event("", 0)), sse(event("ab", 2)), sse(event("c", 3)), sse(event("defg", 7)), sse(total(7)))
    assert tokens(decoder) == [2, 1, 4]
    assert decoder.completion_tokens == 7


def test_held_tokens_count_with_the_next_text() -> None:
    decoder = decode(sse(event("a", 1)), sse(event("", 2)), sse(event("", 3)), sse(event("é", 4)), sse(event("b", 5)))
    assert decoder.choices[0].events.at == [1.0, 4.0, 5.0]
    assert tokens(decoder) == [1, 3, 1]


def test_no_token_is_lost_with_three_percent_empty_events() -> None:
    decoder = decode(*[sse(event("" if n % 33 == 0 else f"t{n}", n)) for n in range(1, 401)])
    assert sum(tokens(decoder)) == 400
    assert len(tokens(decoder)) == 400 - 12
    assert tokens(decoder).count(2) == 12


def test_tokens_held_at_the_end_are_in_the_total_only() -> None:
    decoder = decode(sse(event("a", 1)), sse(event("", 2, finish_reason="stop")))
    assert tokens(decoder) == [1]
    assert decoder.choices[0].held_tokens == 1
    assert decoder.completion_tokens == 2


def test_counts_token_ids_without_usage() -> None:
    decoder = decode(sse(event("ab", token_ids=[1, 2])), sse(event("", token_ids=[3])), sse(event("c", token_ids=[4])))
    assert tokens(decoder) == [2, 2]
    assert decoder.has_token_ids
    assert decoder.completion_tokens is None


def test_an_event_is_one_token_without_counts() -> None:
    decoder = decode(sse(event("ab")), sse(event("")), sse(event("cdef")), sse(total(9)))
    assert tokens(decoder) == [1, 1]
    assert decoder.completion_tokens == 9


def test_usage_with_the_last_text_only_is_the_total() -> None:
    decoder = decode(sse(event("a")), sse(event("b")), sse(event("c", 3, finish_reason="length")))
    assert tokens(decoder) == [1, 1, 1]
    assert decoder.completion_tokens == 3


def test_a_single_event_with_usage_has_all_tokens() -> None:
    decoder = decode(sse(event("abc", 3, finish_reason="stop")))
    assert tokens(decoder) == [3]
    assert decoder.completion_tokens == 3


def test_a_role_event_without_usage_does_not_hide_the_running_count() -> None:
    decoder = decode(sse(ROLE), sse(event("ab", 2)), sse(event("cde", 5)))
    assert tokens(decoder) == [2, 3]


def test_text_with_an_unchanged_count_is_one_token() -> None:
    assert tokens(decode(sse(event("a", 1)), sse(event("b", 1)), sse(event("c", 2)))) == [1, 1, 1]


def test_a_decreasing_count_makes_no_negative_tokens() -> None:
    assert tokens(decode(sse(event("a", 5)), sse(event("b", 2)), sse(event("c", 6)))) == [5, 1, 1]


def test_choices_are_counted_separately() -> None:
    reads = [event("a", 1, 0), event("x", 1, 1), event("bc", 3, 0), event("y", 2, 1)]
    decoder = decode(*[sse(e) for e in reads], choices=2)
    assert (tokens(decoder, 0), tokens(decoder, 1)) == ([1, 2], [1, 1])
    assert decoder.choices[1].events.at == [2.0, 4.0]


def test_running_counts_of_choices_are_summed_until_a_total_comes() -> None:
    reads = [event("a", 1, 0), event("x", 1, 1), event("bc", 3, 0), event("y", 2, 1)]
    assert decode(*[sse(e) for e in reads], choices=2).completion_tokens == 5
    assert decode(*[sse(e) for e in [*reads, total(6)]], choices=2).completion_tokens == 6


def test_missing_counts_are_none() -> None:
    decoder = decode(sse(event("a")))
    assert (decoder.completion_tokens, decoder.tokens_in, decoder.tokens_cached) == (None, None, None)


def test_counts_reads_with_several_token_events() -> None:
    three = sse(event("a"), event("b"), event("c"))
    decoder = decode(three, sse(event("d")), sse(event("e"), event("")), three)
    assert decoder.reads_unresolved == 2
    assert decoder.choices[0].events.at == [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0]


def test_chunks_of_one_read_count_as_one_read() -> None:
    decoder = Decoder()
    decoder.feed([(1.0, 1, sse(event("a"))), (1.0, 1, sse(event("b"))), (2.0, 2, sse(event("c")))])
    assert decoder.reads_unresolved == 1


def test_a_last_event_without_an_empty_line_has_the_time_of_its_bytes() -> None:
    decoder = decode(sse(event("a")), sse(event("b")).rstrip())
    assert decoder.choices[0].events.at == [1.0, 2.0]


def test_drops_half_an_event_at_the_end() -> None:
    decoder = decode(sse(event("a")), sse(event("b"))[:30])
    assert decoder.choices[0].events.at == [1.0]


def test_an_unreadable_event_costs_itself_only() -> None:
    decoder = decode(sse(event("a")), sse("oops"), sse("{oops"), sse(event("b")))
    assert tokens(decoder) == [1, 1]
    assert (decoder.unreadable, decoder.first_unreadable) == (2, "not JSON: oops")


def test_an_error_event_keeps_earlier_events_and_the_first_error() -> None:
    decoder = decode(
        sse(event("a")), sse('{"error":{"message":"one","code":500}}'), sse('{"error":"two"}'), sse("[DONE]")
    )
    assert decoder.error is not None
    assert (decoder.error.code, decoder.error.message) == (500, "one")
    assert tokens(decoder) == [1]


def test_parses_the_error_field_of_llama_cpp() -> None:
    decoder = decode(b'error: {"code":500,"message":"Context size has been exceeded.","type":"server_error"}\n\n')
    assert decoder.error is not None
    assert decoder.error.message == "Context size has been exceeded."


def test_reasoning_is_not_visible() -> None:
    thought = json.dumps({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]})
    decoder = decode(sse(thought), sse(event("so")))
    assert decoder.choices[0].events.visible == [False, True]
    assert (decoder.choices[0].reasoning, decoder.choices[0].text) == (["hm", ""], ["", "so"])


EXPECTED = {
    # name: token events, completion tokens by the server, prompt tokens, finish reason
    "sse_llama_server_chat_usage.txt": (4, 4, 14, "length"),
    "sse_llama_server_completions_usage.txt": (4, 4, 9, "length"),
    "sse_vllm_0.32.0_chat_cont.txt": (12, 12, 14, "length"),
    "sse_vllm_0.32.0_chat_plain.txt": (12, None, None, "length"),
    "sse_vllm_0.32.0_chat_usage.txt": (12, 12, 14, "length"),
    "sse_vllm_0.32.0_completions_cont.txt": (12, 12, 9, "length"),
    "sse_vllm_0.32.0_completions_plain.txt": (12, None, None, "length"),
    "sse_vllm_0.32.0_completions_usage.txt": (12, 12, 9, "length"),
    "sse_vllm_0.11.0.post2_chat_cont.txt": (6, 6, 14, "length"),
    "sse_vllm_0.11.0.post2_chat_plain.txt": (6, None, None, "length"),
    "sse_vllm_0.11.0.post2_completions_plain.txt": (6, None, None, "length"),
    "sse_vllm_0.32.0_chat_keepalive.txt": (4, None, None, "length"),
    "sse_vllm_0.32.0_chat_request_metrics.txt": (11, 12, 21, "length"),
    "sse_vllm_0.32.0_chat_tool_named.txt": (2, 50, 18, "stop"),
    "sse_vllm_0.32.0_messages.txt": (24, 24, 27, "max_tokens"),
    "sse_vllm_0.32.0_responses.txt": (23, 24, 27, "max_output_tokens"),
    "sse_vllm_0.32.0_sigterm_midstream.txt": (38, None, None, None),
}


def test_every_recorded_stream_has_a_known_result() -> None:
    assert set(EXPECTED) == set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
def test_decodes_recorded_streams(name: str) -> None:
    decoder = decode(*events_of(recorded(name)[1]))
    events, completion, prompt, finish = EXPECTED[name]
    choice = decoder.choices[0]
    assert (len(choice.events.at), decoder.completion_tokens, decoder.tokens_in, choice.finish) == (
        events,
        completion,
        prompt,
        finish,
    )
    assert decoder.done
    assert (decoder.error is not None) == ("sigterm" in name)
    if completion is not None and not any(final in name for final in ("responses", "request_metrics")):
        assert sum(choice.events.tokens) + choice.held_tokens == completion


def test_the_servers_own_times_of_a_reply() -> None:
    times = decode(*events_of(recorded("sse_vllm_0.32.0_chat_request_metrics.txt")[1])).server_times
    assert times is not None
    assert times == pytest.approx((0.0497024, 0.0000263, 0.0282145), rel=1e-3)
    assert decode(*events_of(recorded("sse_vllm_0.32.0_chat_plain.txt")[1])).server_times is None


@pytest.mark.untraced
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams_decode_the_same_wherever_they_are_split(name: str, step: int) -> None:
    body = shortened(recorded(name)[1])

    def result(decoder: Decoder) -> object:
        choice = decoder.choices[0]
        rest = (decoder.completion_tokens, decoder.tokens_in, decoder.tokens_cached, decoder.done, decoder.error)
        return (choice.text, choice.events.tokens, choice.events.visible, choice.finish, choice.held_tokens, rest)

    expected = result(decode(body))
    for cut in range(0, len(body) + 1, step):
        assert result(decode(body[:cut], body[cut:])) == expected, cut


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(1, 4))
def test_no_token_is_lost_however_events_and_reads_group_them(steps: list[tuple[int, bool]], per_read: int) -> None:
    """Events stand for 0 to 5 tokens, some of them held; an event with text stands for at least one."""
    counted, events, texts = 0, [], 0
    for grown, shown in steps:
        counted += max(grown, 1) if shown else grown
        texts += shown
        events.append(event("t" if shown else "", counted))
    reads = [sse(*events[k : k + per_read]) for k in range(0, len(events), per_read)]
    decoder = decode(*reads)
    choice = decoder.choices[0]
    assert sum(choice.events.tokens) + choice.held_tokens == counted == decoder.completion_tokens
    assert len(choice.events.at) == texts
    assert choice.events.at == sorted(choice.events.at)


def test_the_visible_pace_gets_its_share_of_the_servers_count() -> None:
    plain = read_stream(event("abcd"), event("efgh"), event("ijkl", finish_reason="stop"), total(12))
    assert plain.pace is not None
    assert plain.visible_pace == plain.pace
    assert plain.pace.tpot == pytest.approx(2.0 / 8)  # four tokens an event, the first four at the start
    thought = json.dumps({"choices": [{"index": 0, "delta": {"reasoning": "hm"}}]})
    mixed = read_stream(thought, thought, event("ab"), event("cd", finish_reason="stop"), total(12))
    assert mixed.visible_pace is not None
    assert mixed.visible_pace.tokens == 6

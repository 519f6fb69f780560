"""Parsing of events in all the shapes that servers send."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import KEY, recorded_http_errors

from probe_ext.client.api.api_event import BadEventError, ChoicePart, ServerError, Usage
from probe_ext.client.api.openai_api import parse_event
from probe_ext.client.api.server_errors import parse_error
from probe_ext.measure.safe_text import safe_text


def part(choice: dict[str, Any]) -> ChoicePart:
    (parsed,) = parse_event(orjson.dumps({"choices": [choice]})).parts
    return parsed


def texts(delta: dict[str, Any]) -> tuple[str, str]:
    parsed = part({"index": 0, "delta": delta})
    return parsed.text, parsed.reasoning


@pytest.mark.parametrize(
    ("metrics", "times"),
    [
        ({"time_to_first_token_ms": 250, "queue_time_ms": 0.0, "mean_itl_ms": 12.5}, (0.25, 0.0, 0.0125)),
        ({"time_to_first_token_ms": 250.0, "queue_time_ms": None}, (0.25, None, None)),
        ({"time_to_first_token_ms": -1, "queue_time_ms": 1e99, "mean_itl_ms": "7"}, None),
        ({"time_to_first_token_ms": True}, None),
        ({}, None),
        ([250], None),
        (None, None),
    ],
)
def test_the_times_of_a_request_by_the_server(metrics: object, times: tuple[float | None, ...] | None) -> None:
    event = parse_event(orjson.dumps({"choices": [], "usage": {"prompt_tokens": 3}, "metrics": metrics}))
    assert event.server_times == times
    assert event.usage == Usage(3, None, None)


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        pytest.param({"content": "hi"}, "hi", "", id="content"),
        pytest.param({"role": "assistant", "content": ""}, "", "", id="a role only"),
        pytest.param({"role": "assistant", "content": None}, "", "", id="a role and null"),
        pytest.param({"role": "assistant"}, "", "", id="a role without content"),
        pytest.param({}, "", "", id="empty"),
        pytest.param({"content": 7}, "", "", id="content of another type"),
        pytest.param({"reasoning_content": "hm"}, "", "hm", id="reasoning_content"),
        pytest.param({"reasoning": "hm"}, "", "hm", id="reasoning"),
        pytest.param({"reasoning_content": "hm", "reasoning": "hm"}, "", "hm", id="both names of the same"),
        pytest.param({"reasoning_content": None, "reasoning": "hm", "content": None}, "", "hm", id="other fields null"),
        pytest.param({"reasoning_content": "hm", "content": "so"}, "so", "hm", id="reasoning and content"),
        pytest.param({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "x", None]}, "ax", "", id="parts"),
        pytest.param({"content": [{"text": [{"text": "deep"}]}]}, "deep", "", id="parts of parts"),
        pytest.param({"refusal": "no"}, "no", "", id="a refusal"),
        pytest.param(
            {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "find", "arguments": ""}}]},
            "find",
            "",
            id="a tool call's name",
        ),
        pytest.param({"tool_calls": [{"index": 0, "function": {"arguments": '{"q":'}}]}, '{"q":', "", id="arguments"),
        pytest.param(
            {"tool_calls": [{"function": {"arguments": "a"}}, {"function": {"arguments": "b"}}]}, "ab", "", id="two"
        ),
        pytest.param({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, "", "", id="an empty tool call"),
        pytest.param({"tool_calls": [None, 3, {}, {"function": "x"}]}, "", "", id="invalid tool calls"),
        pytest.param({"tool_calls": []}, "", "", id="no tool calls"),
        pytest.param({"function_call": {"name": "find", "arguments": "{}"}}, "find{}", "", id="a function call"),
        pytest.param({"content": None, "function_call": None, "tool_calls": None}, "", "", id="all null"),
    ],
)
def test_parses_text_and_reasoning(delta: dict[str, Any], text: str, reasoning: str) -> None:
    assert texts(delta) == (text, reasoning)


def test_a_refusal_is_marked_and_visible() -> None:
    assert part({"delta": {"refusal": "I cannot"}}).refused
    assert not part({"delta": {"content": "I can", "refusal": None}}).refused


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param({"index": 1, "text": " a"}, (1, " a", None, None), id="a completion"),
        pytest.param({"text": "", "finish_reason": "stop"}, (0, "", "stop", None), id="its end"),
        pytest.param({"index": 2, "text": "ab", "token_ids": [5, 6]}, (2, "ab", None, 2), id="token ids"),
        pytest.param({"text": "", "token_ids": []}, (0, "", None, 0), id="no token ids"),
        pytest.param({"text": "a", "token_ids": None}, (0, "a", None, None), id="null for token ids"),
        pytest.param({"index": 0, "delta": {}, "finish_reason": "length"}, (0, "", "length", None), id="empty delta"),
        pytest.param({"index": 0, "message": {"content": "all"}, "finish_reason": "stop"}, (0, "all", "stop", None)),
        pytest.param({"index": "x", "text": "a", "finish_reason": 4}, (0, "a", None, None), id="nonsense"),
        pytest.param({"index": None, "delta": None, "text": None}, (0, "", None, None), id="nulls"),
    ],
)
def test_parses_a_choice(choice: dict[str, Any], expected: tuple[Any, ...]) -> None:
    parsed = part(choice)
    assert (parsed.choice, parsed.text, parsed.finish, parsed.token_ids) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(9, 4, None)),
        ({"prompt_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 8}}, Usage(9, 0, 8)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(9, None, None)),
        ({"prompt_tokens": None, "completion_tokens": "4"}, Usage(None, 4, None)),
        ({"prompt_tokens": 9.0, "completion_tokens": "x"}, Usage(9, None, None)),
        ({"prompt_tokens": 9, "total_tokens": 11}, Usage(9, 2, None)),
        ({"prompt_tokens": True, "completion_tokens": -1}, Usage(None, None, None)),
        ({"prompt_tokens": 1.5, "prompt_tokens_details": [1]}, Usage(None, None, None)),
        ({}, Usage(None, None, None)),
        (None, None),
        ([], None),
    ],
)
def test_parses_usage(usage: object, expected: Usage | None) -> None:
    assert parse_event(orjson.dumps({"choices": [], "usage": usage})).usage == expected


@pytest.mark.parametrize("choices", [[], None, {}, "x", [None, 3, "x"]])
def test_an_event_without_choices_has_no_parts(choices: object) -> None:
    assert list(parse_event(orjson.dumps({"choices": choices})).parts) == []


@pytest.mark.parametrize("data", [b"{", b"", b"hello", b'{"a":1', b"\xff\xfe"])
def test_rejects_invalid_json(data: bytes) -> None:
    with pytest.raises(BadEventError, match="not JSON: "):
        parse_event(data)


@pytest.mark.parametrize("data", [b"[]", b"3", b'"text"', b"null", b"true", b"NaN"])
def test_rejects_json_that_is_not_an_object(data: bytes) -> None:
    with pytest.raises(BadEventError, match="not a JSON object: "):
        parse_event(data)


def test_a_key_in_bad_data_is_redacted() -> None:
    for before in range(3900, 4100):
        with pytest.raises(BadEventError) as caught:
            parse_event(b" " * before + KEY.encode() + b" was refused")
        assert KEY[:6] not in safe_text(str(caught.value), KEY)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"error": {"message": "m", "type": "t", "code": 500}}, ServerError(500, "m")),
        ({"error": {"message": "m", "code": "rate_limited"}}, ServerError(None, "m", busy=True)),
        ({"error": {"message": "m", "code": True}}, ServerError(None, "m")),
        ({"error": {"type": "t"}}, ServerError(None, '{"type":"t"}')),
        ({"error": {"message": ["a", 1]}}, ServerError(None, '["a",1]')),
        ({"error": "model not found"}, ServerError(None, "model not found")),
        ({"error": "m", "error_type": "overloaded"}, ServerError(None, "m", busy=True)),
        ({"error": ["a"]}, ServerError(None, '["a"]')),
        ({"object": "error", "message": "m", "code": 400}, ServerError(400, "m")),
        ({"code": 503, "message": "Loading", "type": "unavailable_error"}, ServerError(503, "Loading", busy=True)),
        ({"message": "Unauthorized"}, ServerError(None, "Unauthorized")),
        ({"detail": "Not Found"}, ServerError(None, "Not Found")),
        ({"detail": [{"loc": ["body"], "msg": "bad"}]}, ServerError(None, '[{"loc":["body"],"msg":"bad"}]')),
        ({"choices": [], "message": "no error"}, None),
        ({"choices": [], "detail": "no error"}, None),
        ({"error": None, "choices": []}, None),
        ({"error": {}}, None),
        ({"error": ""}, None),
        ({"id": "x"}, None),
        ([], None),
        ("error", None),
    ],
)
def test_parses_errors_of_every_shape(content: object, expected: ServerError | None) -> None:
    assert parse_error(content) == expected


@pytest.mark.parametrize("title", recorded_http_errors())
def test_recorded_http_errors_have_a_message(title: str) -> None:
    error = parse_error(orjson.loads(recorded_http_errors()[title].split(b"\r\n\r\n", 1)[1]))
    assert error is not None
    assert len(error.message) > 5


@pytest.mark.parametrize("depth", [200, 400, 1000])
def test_deep_nesting_is_parsed_or_rejected(depth: int) -> None:
    shapes = ['{"error":' * depth + "1" + "}" * depth]
    shapes.append('{"choices":[{"delta":{"content":' + '[{"text":' * depth + '"a"' + "}]" * depth + "}}]}")
    shapes.append('{"error":{"message":' + "[" * depth + "]" * depth + "}}")
    outcomes = []
    for shape in shapes:
        try:
            outcomes.append(parse_event(shape.encode()).error)
        except BadEventError as error:
            outcomes.append(ServerError(None, safe_text(str(error))))
    assert len(outcomes) == len(shapes)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("choices", "usage", "error", "object", "detail", "message", "index", "delta", "text", "content", "refusal")
MORE = ("finish_reason", "token_ids", "tool_calls", "function", "function_call", "name", "arguments", "reasoning")
LAST = ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "cached_tokens", "code", "reasoning_content")
shaped = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS + MORE + LAST), inner, max_size=6),
    max_leaves=30,
)


@given(st.dictionaries(st.sampled_from(KEYS + MORE + LAST), shaped, max_size=8))
def test_any_json_object_is_an_event(content: dict[str, Any]) -> None:
    event = parse_event(json.dumps(content, ensure_ascii=True).encode())
    assert all(isinstance(p.text, str) and isinstance(p.choice, int) for p in event.parts)


def test_arguments_nested_beyond_any_writer_are_text_all_the_same() -> None:
    deep: Any = {"a": 1}
    for _ in range(600):
        deep = {"a": deep}
    body = json.dumps({"choices": [{"message": {"tool_calls": [{"function": {"arguments": deep}}]}}]}).encode()
    assert parse_event(body).parts[0].text

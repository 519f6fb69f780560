"""OpenAI's chat and completions APIs as servers really implement them: builds request bodies, parses events.

Handles these differences: `content` may be null, empty or absent; reasoning comes as `reasoning_content` or
`reasoning`; usage may come with every event (`continuous_usage_stats`), with a last event without choices, or with the
last event that has choices (llama.cpp's completions); errors may come inside a stream that began with status 200.

Objects made for every token are named tuples: creating a frozen dataclass takes three times as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

CHAT_PATH = "/v1/chat/completions"
COMPLETION_PATH = "/v1/completions"
DONE = b"[DONE]"


class BadEventError(ValueError):
    """An event's data is not a JSON object; the message contains all of it, not yet made safe."""


class Usage(NamedTuple):
    """Tokens as the server counts them; None if it does not."""

    prompt: int | None
    completion: int | None
    cached: int | None


class ChoicePart(NamedTuple):
    """What an event, or the body of a reply that is not streamed, contains for one choice."""

    choice: int
    """index of the choice"""
    text: str
    """visible text: content, refusal or tool call"""
    reasoning: str
    finish: str | None
    token_ids: int | None
    """number of token ids"""
    refused: bool


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error object in a body or in a stream."""

    code: int | None
    message: str


class Event(NamedTuple):
    """One event of a stream, or the body of a reply that is not streamed."""

    parts: Sequence[ChoicePart]
    usage: Usage | None
    error: ServerError | None


MAX_TOKENS = 100_000_000
"""of one reply; the longest contexts hold a tenth of that"""


def body(
    prompt: str | Sequence[Mapping[str, Any]], model: str, *, stream: bool, usage: str, extra: Mapping[str, Any]
) -> bytes:
    """Return a request's JSON: messages make a chat request, text makes a completions request.

    `usage`: token usage with every event (`continuous`), at the end (`final`) or `none`. `extra` (max_tokens,
    temperature, …) is added without its None values.
    """
    content: dict[str, Any] = {"model": model, "stream": stream}
    content["prompt" if isinstance(prompt, str) else "messages"] = prompt
    if stream and usage != "none":
        content["stream_options"] = {"include_usage": True}
        if usage == "continuous":
            content["stream_options"]["continuous_usage_stats"] = True
    content.update({key: value for key, value in extra.items() if value is not None})
    return orjson.dumps(content)


def parse_event(data: bytes) -> Event:
    """Parse an event's data. BadEventError unless it is a JSON object."""
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadEventError(f"not JSON: {_decoded(data)}") from error
    if not isinstance(content, dict):
        raise BadEventError(f"not a JSON object: {_decoded(data)}")
    choices = content.get("choices")
    parts = [_part(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return Event(parts, _usage(content.get("usage")), parse_error(content))


def _decoded(data: bytes) -> str:
    # Not shortened here: that could leave half an API key, which safe_text would not recognize.
    return data.decode("utf-8", "replace")


def _part(choice: dict[str, Any]) -> ChoicePart:
    index, finish, ids = choice.get("index"), choice.get("finish_reason"), choice.get("token_ids")
    message = choice.get("delta") or choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    refusal = _text(message.get("refusal"))
    visible = _text(message.get("content")) + refusal
    if "tool_calls" in message or "function_call" in message:
        visible += _tool_text(message)
    return ChoicePart(
        choice=_count(index) or 0,
        text=visible,
        reasoning=_text(message.get("reasoning_content")) or _text(message.get("reasoning")),
        finish=finish if isinstance(finish, str) else None,
        token_ids=len(ids) if isinstance(ids, list) else None,
        refused=bool(refusal),
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # content parts, sent by some gateways
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _tool_text(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(message.get("function_call"))
    return "".join(_text(f.get("name")) + _text(f.get("arguments")) for f in functions if isinstance(f, dict))


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(_count(value.get("prompt_tokens")), _count(value.get("completion_tokens")), _count(cached))


def _count(value: object) -> int | None:
    """Return a count that can be one: more tokens than any context holds are not believed."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else None


def parse_error(content: object) -> ServerError | None:
    """Return the error in a body or event, None without one.

    Known shapes: `{"error": {…}}`, `{"error": "…"}`, FastAPI's `{"detail": …}`, and the flat `{"message": "…",
    "code": …}` of gateways, older vLLM and llama.cpp's `error:` field.
    """
    if not isinstance(content, dict):
        return None
    error = content.get("error")
    if error is None and (content.get("object") == "error" or ("choices" not in content and "message" in content)):
        error = content
    if error is None and "choices" not in content:
        error = content.get("detail")
    if not error:
        return None
    if isinstance(error, dict):
        return ServerError(_count(error.get("code")), _error_text(error.get("message") or error))
    return ServerError(None, _error_text(error))


def _error_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested too deeply
        return "unprintable error"

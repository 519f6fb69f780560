"""OpenAI's two text APIs, as servers really speak them: request bodies out, what an event means in.

Differences that are met here: `content` may be null, empty or absent; reasoning comes as `reasoning_content` or
`reasoning`; usage may come with every event (`continuous_usage_stats`), with a last event without choices, or with the
last event that has choices (llama.cpp's completions); an error may come inside a stream that began with 200.

What is made once a token is a named tuple: a frozen dataclass takes three times as long to make.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

CHAT_PATH = "/v1/chat/completions"
COMPLETION_PATH = "/v1/completions"
DONE = b"[DONE]"


class BadEventError(ValueError):
    """An event's data is no JSON object of this API; the message shows it, unshortened and not yet made safe."""


class Usage(NamedTuple):
    """Tokens as the server counts them; None where it does not say."""

    prompt: int | None
    completion: int | None
    cached: int | None


class ChoicePart(NamedTuple):
    """What an event (or a whole reply) says of one choice."""

    choice: int
    """number of the choice"""
    text: str
    """visible: content, refusal or tool-call text"""
    reasoning: str
    finish: str | None
    token_ids: int | None
    """how many token ids it lists"""
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


def body(
    prompt: str | Sequence[Mapping[str, Any]], model: str, *, stream: bool, usage: str, extra: Mapping[str, Any]
) -> bytes:
    """The request's JSON: messages make a chat, text makes a completion.

    `usage` is `continuous`, `final` or `none`: how often the server is asked to count tokens. `extra` (max_tokens,
    temperature, …) is added as it is, None values left out.
    """
    content: dict[str, Any] = {"model": model, "stream": stream}
    content["prompt" if isinstance(prompt, str) else "messages"] = prompt
    if stream and usage != "none":
        content["stream_options"] = {"include_usage": True}
        if usage == "continuous":
            content["stream_options"]["continuous_usage_stats"] = True
    content.update({key: value for key, value in extra.items() if value is not None})
    return orjson.dumps(content)


def read_event(data: bytes) -> Event:
    """What an event's data says. BadEventError when it is no JSON object."""
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadEventError(f"no JSON: {_shown(data)}") from error
    if not isinstance(content, dict):
        raise BadEventError(f"no JSON object: {_shown(data)}")
    choices = content.get("choices")
    parts = [_part(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    return Event(parts, _usage(content.get("usage")), read_error(content))


def _shown(data: bytes) -> str:
    # Whole: a cut could leave half an API key, which safe_text would not know again. It does the shortening.
    return data.decode("utf-8", "replace")


def _part(choice: dict[str, Any]) -> ChoicePart:
    index, finish, ids = choice.get("index"), choice.get("finish_reason"), choice.get("token_ids")
    said = choice.get("delta") or choice.get("message")
    if not isinstance(said, dict):
        said = {"content": choice.get("text")}
    refusal = _text(said.get("refusal"))
    visible = _text(said.get("content")) + refusal
    if "tool_calls" in said or "function_call" in said:
        visible += _tool_text(said)
    return ChoicePart(
        choice=index if isinstance(index, int) else 0,
        text=visible,
        reasoning=_text(said.get("reasoning_content")) or _text(said.get("reasoning")),
        finish=finish if isinstance(finish, str) else None,
        token_ids=len(ids) if isinstance(ids, list) else None,
        refused=bool(refusal),
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # content parts, as some gateways send them
        said = [part.get("text") for part in value if isinstance(part, dict)]
        return "".join(text for text in said if isinstance(text, str))
    return ""


def _tool_text(said: dict[str, Any]) -> str:
    calls = said.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(said.get("function_call"))
    return "".join(_text(f.get("name")) + _text(f.get("arguments")) for f in functions if isinstance(f, dict))


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(_count(value.get("prompt_tokens")), _count(value.get("completion_tokens")), _count(cached))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_error(content: object) -> ServerError | None:
    """The error that a body or event reports.

    `{"error": {…}}` or `{"error": "…"}`; FastAPI's `{"detail": …}`; and flat, as vLLM once sent it, as llama.cpp's
    `error:` field carries it and as gateways do: `{"message": "…", "code": …}`.
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
        return ServerError(_count(error.get("code")), _said(error.get("message") or error))
    return ServerError(None, _said(error))


def _said(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than is ever written
        return "an error that cannot be shown"

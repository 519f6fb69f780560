"""Events and bodies of OpenAI's chat and completions APIs as servers really send them, and of all APIs by their shape.

Handles these differences: `content` may be null, empty, absent or a list of parts; reasoning comes under many names,
sometimes twice; usage may come with every event (`continuous_usage_stats`), with a last event without choices, with the
last event that has choices (llama.cpp's completions), or inside a choice; errors may come inside a stream that began
with status 200.
"""

import re
from functools import lru_cache
from typing import Any

from probe_ext.client.api import messages_api, responses_api
from probe_ext.client.api.api_event import ChoicePart, Event
from probe_ext.client.api.finish_reasons import finish_reason
from probe_ext.client.api.json_text import dumped, load_object
from probe_ext.client.api.request_metrics import parse_server_times
from probe_ext.client.api.server_errors import choice_error, parse_error
from probe_ext.client.api.usage_counts import parse_usage, usage_elsewhere

CHAT_PATH = "/v1/chat/completions"
COMPLETION_PATH = "/v1/completions"
RESPONSES_PATH = "/v1/responses"
MESSAGES_PATH = "/v1/messages"
PATHS = {"chat": CHAT_PATH, "completion": COMPLETION_PATH, "responses": RESPONSES_PATH, "messages": MESSAGES_PATH}
"""request path by the value of `--api`"""

_REASONING_FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thought", "thoughts"),
    *("reasoning_details", "thinking_blocks", "reasoning_summary", "cot"),
)
_MAX_FIELD_NAME = 64  # longer ones name no reasoning; and what is asked once is kept
_REASONING_NAME = re.compile(
    r"(?:(?:internal|deep|extended|hidden|model)_?)?"
    r"(?:reasoning|thinking|think|thoughts?|analysis|cot|chain_of_thought|rationale|reason(?=_))"
    r"(?:_?(?:content|texts?|deltas?|details|blocks?|summary|steps?|traces?|process|output|parts?|chunks?))?",
    re.IGNORECASE,
)
"""names of fields, and of kinds of content part, for reasoning; not those of signatures, ids, efforts and counts"""
_REASONING_KINDS = frozenset(
    {
        *(
            "thinking",
            "reasoning",
            "thought",
            "redacted_thinking",
            "summary_text",
            "reasoning_text",
            "analysis",
            "think",
        ),
        *("commentary", "thoughts", "reasoning_content", "thinking_delta", "reasoning_delta"),
    }
)
_KIND_FIELDS = ("type", "role", "channel", "phase", "content_type", "message_type", "stage")
_FLAGS = ("thought", "is_thought", "thinking", "is_thinking", "reasoning", "is_reasoning")
_EXTENSIONS = ("provider_specific_fields", "additional_kwargs", "model_extra", "extra")
"""fields in which gateways pass on what they don't know"""
_TEXT_KEYS = ("text", "content", "value")
_REASONING_TEXT_KEYS = (
    *("text", "thinking", "reasoning", "summary", "content", "reasoning_content", "thought", "value"),
    *("reasoningContent", "reasoningText"),
)
_MAX_NESTING = 6
_MAX_CHOICES = 1000
"""of one event"""


def chat_path(api: str) -> str:
    """Return the path of the API that takes messages: `--api` itself, or chat completions beside plain completions."""
    return CHAT_PATH if api == "completion" else PATHS[api]


def parse_event(data: bytes) -> Event:
    """Parse an event's data, or a body that is not streamed, by its shape. BadEventError unless it is an object."""
    content = load_object(data)
    if "choices" not in content:
        kind = content.get("type")
        if isinstance(kind, str):
            if kind.startswith("response."):
                return responses_api.parse_stream_event(kind, content)
            if kind in messages_api.EVENT_KINDS:
                return messages_api.parse_stream_event(kind, content)
            if kind == "message" and not content.get("error"):
                return messages_api.parse_message(content)
        if content.get("object") == "response":
            return responses_api.parse_response(content)
    return _parse_completion(content)


def _parse_completion(content: dict[str, Any]) -> Event:
    """Parse an event or a body of chat or completions."""
    choices = content.get("choices")
    if isinstance(choices, dict):  # by their index
        choices = list(choices.values())
    some = choices[:_MAX_CHOICES] if isinstance(choices, list) else []
    found = [choice for choice in some if isinstance(choice, dict)]
    error = parse_error(content)
    usage = parse_usage(content.get("usage"))
    for choice in found:
        if error is None:
            error = choice_error(choice)
        if usage is None and "usage" in choice:
            usage = parse_usage(choice["usage"])
    if usage is None:
        usage = usage_elsewhere(content)
    times = parse_server_times(content) if "metrics" in content else None
    return Event([_part(choice) for choice in found], usage, error, server_times=times)


def _part(choice: dict[str, Any]) -> ChoicePart:
    index, ids = choice.get("index"), choice.get("token_ids")
    message = choice.get("delta") or choice.get("message")
    if not isinstance(message, dict):
        message = {"content": message if isinstance(message, str) else choice.get("text")}
    visible, reasoning = _content(message.get("content"))
    if visible and _is_thought(message):
        visible, reasoning = "", reasoning + visible
    if "tool_calls" in message or "function_call" in message or "tool_call" in message:
        visible += _tool_text(message)
    if isinstance(audio := message.get("audio"), dict):
        visible += _argument_text(audio.get("transcript"))
    refusal = message.get("refusal")
    refused = isinstance(refusal, str) and bool(refusal)
    return ChoicePart(
        choice=index if isinstance(index, int) else 0,
        text=f"{visible}{refusal}" if refused else visible,
        reasoning=_reasoning(message, reasoning) if len(message) > 1 or "content" not in message else reasoning,
        finish=finish_reason(_finish(choice, message)),
        token_ids=len(ids) if isinstance(ids, list) else None,
        refused=refused,
    )


def _finish(choice: dict[str, Any], message: dict[str, Any]) -> object:
    """Return why the choice ended: some gateways write it into the delta, or use the name of another API."""
    found = choice.get("finish_reason") or choice.get("finishReason") or message.get("finish_reason")
    return choice.get("stop_reason") if found is None and "finish_reason" not in choice else found


def _content(value: object) -> tuple[str, str]:
    """Return the visible text and the reasoning of a message's `content`: a string, or parts as some gateways send."""
    if isinstance(value, str) or value is None:
        return value or "", ""
    visible, reasoning = "", ""
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if isinstance(part, str):
            visible += part
        elif isinstance(part, dict) and (_is_thought(part) or any(map(_names_reasoning, part))):
            reasoning += _nested_text(part)
        elif isinstance(part, dict):
            visible += next((text for key in _TEXT_KEYS if (text := _nested_text(part.get(key)))), "")
    return visible, reasoning


def _is_thought(part: dict[str, Any]) -> bool:
    """Return whether a delta, message or content part is marked as reasoning: by its kind, a flag, or Gemini's way."""
    if any(isinstance(kind := part.get(field), str) and kind.lower() in _REASONING_KINDS for field in _KIND_FIELDS):
        return True
    extra = part.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return any(part.get(flag) is True for flag in _FLAGS) or (
        isinstance(google, dict) and google.get("thought") is True
    )


def _reasoning(message: dict[str, Any], found: str) -> str:
    """Return reasoning from all fields that hold any, once where several hold the same."""
    names = [field for field in message if len(field) <= _MAX_FIELD_NAME and field not in _REASONING_FIELDS]
    fields = [field for field in names if _names_reasoning(field)]
    for field in (*_REASONING_FIELDS, *fields):
        if value := message.get(field):
            text = value if isinstance(value, str) else _nested_text(value)
            if text not in found:
                found += text
    for field in _EXTENSIONS:
        if isinstance(extension := message.get(field), dict):
            found = _reasoning({key: value for key, value in extension.items() if key not in _EXTENSIONS}, found)
    return found


@lru_cache(maxsize=256)
def _names_reasoning(field: str) -> bool:
    return _REASONING_NAME.fullmatch(field) is not None


def _nested_text(value: object, depth: int = 0) -> str:
    """Return the text of details, blocks or parts; of an object, what its first key with text holds."""
    if isinstance(value, str):
        return value
    if depth < _MAX_NESTING and isinstance(value, list):
        return "".join(_nested_text(item, depth + 1) for item in value)
    if depth < _MAX_NESTING and isinstance(value, dict):
        return next((text for key in _REASONING_TEXT_KEYS if (text := _nested_text(value.get(key), depth + 1))), "")
    return ""


def _tool_text(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls") or message.get("tool_call")
    calls = calls if isinstance(calls, list) else [calls]
    functions = [call.get("function") or call.get("custom") or call for call in calls if isinstance(call, dict)]
    functions.append(message.get("function_call"))
    return "".join(
        _argument_text(function.get("name"))
        + _argument_text(function.get("arguments") or function.get("input") or function.get("parameters"))
        for function in functions
        if isinstance(function, dict)
    )


def _argument_text(value: object) -> str:
    if isinstance(value, dict) and value:
        return dumped(value)
    return value if isinstance(value, str) else ""

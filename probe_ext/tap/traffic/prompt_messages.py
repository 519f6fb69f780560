"""The prompt of a request as messages, whichever API it was written for.

Clients send anything: values of a wrong type are taken as empty.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_SYSTEM_ROLES = frozenset({"system", "developer"})
_MEDIA = frozenset(
    {
        *("image", "image_url", "input_image", "audio", "audio_url", "input_audio", "video", "video_url"),
        *("file", "input_file", "document"),
    }
)
_RESULT_TYPES = ("tool_result", "function_call_output", "custom_tool_call_output")
ASSISTANT, TOOL, USER, SYSTEM = "assistant", "tool", "user", "system"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Text of an assistant's tool calls is the names and arguments, as in its reply."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a model gets to read."""

    messages: tuple[Message, ...]
    tools: str = ""
    """definitions of tools, as JSON"""
    media: bool = False
    calls_tools: bool = False
    """whether messages have tool calls or results"""
    previous: str | None = None
    """id of the response that this one continues (Responses API)"""
    token_ids: bool = False
    """whether the text is a list of token ids"""

    @property
    def system(self) -> str:
        """Tool definitions and leading system messages."""
        leading = []
        for message in self.messages:
            if message.role != SYSTEM:
                break
            leading.append(_rendered(message))
        return self._tools_text + "".join(leading)

    @property
    def parts(self) -> list[str]:
        """All of the prompt, message by message, with tool definitions first, as in most models' templates."""
        return [self._tools_text, *map(_rendered, self.messages)]

    @property
    def _tools_text(self) -> str:
        return f"tools\n{self.tools}\n" if self.tools else ""

    @property
    def tool_results(self) -> int:
        """Results of tools since the last reply."""
        count = 0
        for message in reversed(self.messages):
            if message.role == ASSISTANT:
                break
            count += message.role == TOOL
        return count


def _rendered(message: Message) -> str:
    return f"{message.role}\n{message.text}\n"


def prompt_of(endpoint: str, body: dict[str, Any]) -> Prompt:
    """Return the prompt of a request's body. `endpoint`: `chat`, `completion`, `responses` or `messages`."""
    if endpoint == "completion":
        return _completion(body)
    items = [*_before(endpoint, body), *_listed(body.get("input" if endpoint == "responses" else "messages"))]
    messages = list(_messages(items))
    tools = body.get("tools") or body.get("functions")
    previous = body.get("previous_response_id")
    return Prompt(
        messages=tuple(_merged(messages)),
        tools=_dumped(tools) if tools else "",
        media=any(_has_media(item.get("content")) or item.get("type") in _MEDIA for item in items),
        calls_tools=any(message.role == TOOL for message in messages) or any(map(_calls, items)),
        previous=previous if isinstance(previous, str) else None,
    )


def _completion(body: dict[str, Any]) -> Prompt:
    prompt = body.get("prompt")
    parts = prompt if isinstance(prompt, list) else [prompt]
    ids = any(isinstance(part, int | list) for part in parts)
    text = _dumped(prompt) if ids else "\n".join(part for part in parts if isinstance(part, str))
    return Prompt((Message(USER, text),), token_ids=ids)


def _before(endpoint: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the system prompt of the APIs that keep it outside the messages."""
    key = {"responses": "instructions", "messages": "system"}.get(endpoint)
    content = body.get(key) if key else None
    return [{"role": SYSTEM, "content": content}] if content else []


def _listed(value: object) -> list[dict[str, Any]]:
    if isinstance(value, str):
        return [{"role": USER, "content": value}]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _messages(items: Iterable[dict[str, Any]]) -> Iterator[Message]:
    for item in items:
        kind, content = item.get("type"), item.get("content")
        if kind in _RESULT_TYPES:
            yield Message(TOOL, _text(item.get("output")))
        elif isinstance(kind, str) and kind.endswith("_call"):
            yield Message(ASSISTANT, _call_text(item))
        elif kind == "reasoning":
            continue
        else:
            role = item.get("role")
            role = role.lower()[:40] if isinstance(role, str) else USER
            role = SYSTEM if role in _SYSTEM_ROLES else TOOL if role == "function" else role
            results = [part for part in _listed_parts(content) if part.get("type") in _RESULT_TYPES]
            yield from (Message(TOOL, _text(part.get("content"))) for part in results)
            text = _text(content)
            if text or not results:
                yield Message(role, text + "".join(map(_call_text, _tool_calls(item))))


def _merged(messages: Iterable[Message]) -> Iterator[Message]:
    """Join an assistant's successive messages, such as text and tool calls: they are one reply."""
    last: Message | None = None
    for message in messages:
        if last is not None and last.role == message.role == ASSISTANT:
            last = Message(ASSISTANT, last.text + message.text)
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last


def _listed_parts(content: object) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _text(content: object) -> str:
    """Return the text of a message's content: a string, or parts. Thinking is left out, as most templates do."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _dumped(content)
    if not isinstance(content, list):
        return ""
    return "".join(part if isinstance(part, str) else _part_text(part) for part in content)


def _part_text(part: object) -> str:
    if not isinstance(part, dict) or part.get("type") in _RESULT_TYPES:
        return ""
    if part.get("type") == "tool_use":
        return _call_text(part)
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _tool_calls(item: dict[str, Any]) -> list[dict[str, Any]]:
    calls = item.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    old = item.get("function_call")
    return [*found, old] if isinstance(old, dict) else found


def _calls(item: dict[str, Any]) -> bool:
    kinds = [item.get("type"), *(part.get("type") for part in _listed_parts(item.get("content")))]
    return bool(_tool_calls(item)) or any(kind == "tool_use" or str(kind).endswith("_call") for kind in kinds)


def _call_text(call: dict[str, Any]) -> str:
    function = call.get("function") if isinstance(call.get("function"), dict) else call
    name = function.get("name") if isinstance(function, dict) else None
    arguments = function.get("arguments", function.get("input")) if isinstance(function, dict) else None
    given = arguments if isinstance(arguments, str) else _dumped(arguments) if arguments else ""
    return (name if isinstance(name, str) else "") + given


def _has_media(content: object) -> bool:
    return any(part.get("type") in _MEDIA for part in _listed_parts(content))


def _dumped(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested too deeply
        return ""

"""The forms that a prompt has in a file: a text, a list of messages, a recorded conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from probe_ext.measure.safe_text import safe_text
from probe_ext.prompts.files.source import RecordError, decode
from probe_ext.prompts.prompt import Message

PASSED_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
"""keys beside the prompt that become fields of the request"""
_PROMPT_KEYS = ("messages", "prompt", "conversations", "conversation")
_CONVERSATIONS = frozenset({"conversations", "conversation"})
_USERS = frozenset({"human", "user"})
_MAX_SHOWN_KEYS = 12


@dataclass(frozen=True, slots=True)
class FilePrompt:
    """One prompt of a file."""

    messages: tuple[Message, ...]
    """what the first request sends"""
    later: tuple[Message, ...] = ()
    """the user's later turns in a recorded conversation"""
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """further fields of the request, such as `tools`"""

    @property
    def text(self) -> str | None:
        """The prompt for `/v1/completions`; None if it is more than one plain text of a user."""
        content = self.messages[0].get("content")
        plain = len(self.messages) == 1 and self.messages[0]["role"] == "user" and not self.fields
        return content if plain and isinstance(content, str) else None

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text in `messages` and of the tools."""
        return text_bytes(self.messages) + sum(len(orjson.dumps(value)) for value in self.fields.values())


def text_bytes(messages: Sequence[Message]) -> int:
    """Return the UTF-8 bytes of the text in messages."""
    return sum(len(text.encode()) for message in messages for text in _texts(message))


def only_text(messages: Sequence[Message]) -> bool:
    """Whether all content is text, without images or other parts."""
    return all(
        isinstance(part, str) or part.get("type") == "text"
        for message in messages
        for part in _parts(message.get("content"))
    )


def from_text(text: str) -> FilePrompt | None:
    """Return the prompt that a text is; None if it is blank."""
    return FilePrompt(({"role": "user", "content": text},)) if text.strip() else None


def from_json(data: bytes, key: str | None) -> FilePrompt | None:
    """Return the prompt of a JSON object or text; None without a word of a user. RecordError if it is damaged.

    `key`: the object's key that holds the prompt; None: the first of the usual ones.
    """
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        decode(data)
        raise RecordError(f"is not valid JSON: {error.msg} at character {error.pos + 1}") from error
    if isinstance(content, str):
        return from_text(content)
    if not isinstance(content, dict):
        raise RecordError('must be an object or a text (e.g. {"prompt": "…"})')
    name = _prompt_key(content, key)
    made = _prompt(content[name], name)
    passed = {passed: content[passed] for passed in PASSED_FIELDS if content.get(passed) is not None}
    if made is None or not passed:
        return made
    if not _is_list_of_objects(passed.get("tools", [])):
        raise RecordError("`tools` must be a list of objects")
    _check_depth(passed)
    return FilePrompt(made.messages, made.later, MappingProxyType(passed))


def _prompt_key(content: Mapping[str, Any], key: str | None) -> str:
    present = [name for name in ((key,) if key else _PROMPT_KEYS) if name in content]
    if present:
        return next((name for name in present if content[name] is not None), present[0])
    keys = ", ".join(safe_text(name, length=40) for name in list(content)[:_MAX_SHOWN_KEYS]) or "none"
    more = ", …" if len(content) > _MAX_SHOWN_KEYS else ""
    if key:
        raise RecordError(f"has no {safe_text(key)!r}; its keys are {keys}{more}")
    raise RecordError(
        f"has neither `prompt` nor `messages` nor `conversations`; its keys are {keys}{more}; "
        "name the key of prompts with `field`"
    )


def _prompt(value: object, name: str) -> FilePrompt | None:
    if value is None or isinstance(value, str):
        return from_text(value or "")
    if not isinstance(value, list):
        raise RecordError(f"`{safe_text(name)}` must be a text or a list of messages")
    if not _is_list_of_objects(value):
        raise RecordError(f"`{safe_text(name)}` must be a text or a list of objects")
    if any("from" in turn for turn in value):
        return _conversation([_sharegpt_message(turn, number) for number, turn in enumerate(value, 1)])
    messages = [_checked(message, number) for number, message in enumerate(value, 1)]
    return _conversation(messages) if name in _CONVERSATIONS else _history(messages)


def _history(messages: Sequence[Message]) -> FilePrompt | None:
    """Return messages that are sent as they are, up to the last that waits for an answer."""
    end = len(messages)
    while end and messages[end - 1]["role"] == "assistant":
        end -= 1
    kept = tuple(messages[:end])
    return FilePrompt(kept) if any(_has_content(message) for message in kept) else None


def _conversation(messages: Sequence[Message]) -> FilePrompt | None:
    """Return a conversation's user turns. Its recorded answers are left out: the server gives its own."""
    turns = [message for message in messages if message["role"] == "user" and _has_content(message)]
    if not turns:
        return None
    first = next(number for number, message in enumerate(messages) if message is turns[0])
    system = [message for message in messages[:first] if message["role"] == "system" and _has_content(message)]
    return FilePrompt((*system, turns[0]), tuple(turns[1:]))


def _sharegpt_message(turn: Mapping[str, Any], number: int) -> Message:
    speaker, value = turn.get("from"), turn.get("value")
    if not isinstance(speaker, str) or not isinstance(value, str):
        raise RecordError(f"turn {number} must have `from` and `value`, both text")
    if speaker in _USERS:
        return {"role": "user", "content": value}
    return {"role": "system" if speaker == "system" else "assistant", "content": value}


def _checked(message: Mapping[str, Any], number: int) -> Message:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not role:
        raise RecordError(f"message {number} has no `role`")
    if not (content is None or isinstance(content, str) or _is_list_of_objects(content)):
        raise RecordError(f"message {number}: `content` must be a text or a list of parts")
    if content is None and role in {"user", "system"}:
        raise RecordError(f"message {number} has no `content`")
    if len(message) > 2 or not isinstance(content, str):
        _check_depth(message)
    return message


def _check_depth(value: object) -> None:
    try:
        orjson.dumps(value)
    except (TypeError, RecursionError) as error:  # deeper than can be sent
        raise RecordError("is nested too deeply") from error


def _has_content(message: Message) -> bool:
    return any(not isinstance(part, str) or part.strip() for part in _parts(message.get("content")))


def _parts(content: object) -> Sequence[Any]:
    if content is None:
        return ()
    return (content,) if isinstance(content, str) else content if isinstance(content, list) else ()


def _texts(message: Message) -> list[str]:
    parts = _parts(message.get("content"))
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    return [text for text in texts if isinstance(text, str)]


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)

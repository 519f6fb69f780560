"""Conversations whose questions come from a file."""

from collections.abc import Callable
from typing import Any

from probe_ext.prompts.files.prompt_forms import FilePrompt, text_bytes
from probe_ext.prompts.prompt import Message, Prompt


class FileChat:
    """One conversation: ask, record the answer, ask again.

    A recorded conversation is asked turn by turn, with the server's answers in place of the recorded ones. Once it has
    no more turns, the questions of the file's next prompts follow.
    """

    def __init__(self, take: Callable[[], FilePrompt], *, system: str = "", shared_prefix: str = "") -> None:
        """`system`: text of a system message, unless the file's prompt has its own; `shared_prefix` begins the first
        message that is not the system's.
        """
        self._take = take
        self._system, self._shared_prefix = system, shared_prefix
        self._messages: list[Message] = []
        self._fields: dict[str, Any] = {}
        self._later: list[Message] = []
        self.taken: FilePrompt | None = None
        """what the last question took from the file; None if it is a later turn of a recorded conversation"""
        self.turns = self.new_bytes = 0
        """questions so far; UTF-8 bytes of the text that the last one added"""

    def ask(self) -> Prompt:
        """Return the chat so far with one more question. PromptFileError if the file has changed."""
        before = len(self._messages)
        if self._later:
            self.taken = None
            self._messages.append(self._later.pop(0))
        else:
            self.taken = self._take()
            self._begin(self.taken)
        self.turns += 1
        self.new_bytes = text_bytes(self._messages[before:])
        only = self._messages[0].get("content") if len(self._messages) == 1 else None
        text = only if isinstance(only, str) and not self._fields else None
        return Prompt(text, tuple(self._messages), None, dict(self._fields))

    def _begin(self, prompt: FilePrompt) -> None:
        messages = list(prompt.messages)
        if self._messages:
            messages = [message for message in messages if message["role"] != "system"]
        else:
            messages = opened(messages, self._system, self._shared_prefix)
        self._messages += messages
        self._later = list(prompt.later)
        self._fields |= prompt.fields

    def answered(self, text: str) -> None:
        """Add the answer to the chat."""
        self._messages.append({"role": "assistant", "content": text})


def opened(messages: list[Message], system: str, shared_prefix: str) -> list[Message]:
    """Return messages with a system message, unless they have one, and a text before the first other message."""
    first = next((n for n, message in enumerate(messages) if message["role"] != "system"), None)
    if shared_prefix and first is not None:
        messages = [*messages[:first], _prefixed(messages[first], shared_prefix), *messages[first + 1 :]]
    if system and first != 0:
        return messages
    return [{"role": "system", "content": system}, *messages] if system else messages


def _prefixed(message: Message, prefix: str) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [{"type": "text", "text": prefix}, *content]}
    return {**message, "content": f"{prefix} {content}" if content else prefix}

"""What is sent."""

from collections.abc import Mapping
from dataclasses import dataclass

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request's input."""

    text: str | None
    """for `/v1/completions`; None where only a chat makes sense"""
    messages: tuple[Message, ...]
    """for `/v1/chat/completions`"""
    asked_tokens: int
    """the length it was made for; the server's own count stands in its usage"""


def single(text: str, asked_tokens: int) -> Prompt:
    """A prompt that can be sent either way."""
    return Prompt(text, ({"role": "user", "content": text},), asked_tokens)

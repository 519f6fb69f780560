"""What is sent, and whether it fits."""

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


def does_not_fit(asked_tokens: int, max_tokens: int | None, max_model_len: int | None) -> str | None:
    """Why a prompt of this length cannot be answered, in one line; None when it can, or the limit is not known."""
    if max_model_len is None or asked_tokens + (max_tokens or 1) <= max_model_len:
        return None
    return (
        f"input_tokens: {asked_tokens} and max_tokens: {max_tokens if max_tokens is not None else 'not set'} "
        f"exceed the model's context of {max_model_len} tokens"
    )

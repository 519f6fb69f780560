"""The input of one request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Message = Mapping[str, Any]
"""role and content; the content is a text, or a list of parts such as images"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of one request."""

    text: str | None
    """for `/v1/completions`; None if it is a chat"""
    messages: tuple[Message, ...]
    """for `/v1/chat/completions`"""
    asked_tokens: int | None
    """intended length, None if none was; the server's usage has the actual one"""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """further fields of the request's body, such as `tools`"""
    shared_tokens: int | None = None
    """of a replayed trace: tokens at its start that earlier requests began with, too"""


def single(text: str, asked_tokens: int) -> Prompt:
    """Return a prompt that works with both APIs."""
    return Prompt(text, ({"role": "user", "content": text},), asked_tokens)

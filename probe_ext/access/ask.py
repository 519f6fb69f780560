"""One request of a simulated user, and what its conversation keeps of the reply."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.prompts.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a user."""

    prompt: Prompt
    parameters: Mapping[str, Any]
    """fields of the body"""
    streamed: bool | None
    """None: as the options say"""


class Answer(Protocol):
    """What a conversation keeps of a reply."""

    @property
    def text(self) -> str:
        """The visible text."""

    @property
    def tokens_in(self) -> int | None:
        """Tokens of the prompt, as the server counted them."""

    @property
    def tokens_out(self) -> int | None:
        """Tokens of the reply."""


class Conversation(Protocol):
    """A conversation of any kind: ask, answer, ask again, until `ask` returns None."""

    @property
    def ends_at_failure(self) -> bool:
        """Whether nothing more is asked once a reply has failed."""

    def ask(self) -> Ask | None:
        """Return the next request; None if all was asked, or the context has no room for more."""

    def answered(self, reply: Answer) -> None:
        """Add a reply."""

    def pause(self) -> float | None:
        """Return the seconds before the request that was asked for last; None: the user's think time."""

    def helpers(self) -> "list[Conversation]":
        """Return conversations that others hold at the same time, and whose end the next request waits for."""

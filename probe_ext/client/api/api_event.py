"""What one stream event contains, whichever API it came from.

Objects made for every token are named tuples: creating a frozen dataclass takes three times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class BadEventError(ValueError):
    """An event's data is not a JSON object; the message contains all of it, not yet made safe."""


class Usage(NamedTuple):
    """Tokens as the server counts them; None if it does not."""

    prompt: int | None
    completion: int | None
    """including reasoning"""
    cached: int | None
    reasoning: int | None = None


class ServerTimes(NamedTuple):
    """What the server itself measured of one request, in seconds; None if it does not say."""

    ttft: float | None
    """from arrival at the server to the first token"""
    queue: float | None
    itl: float | None
    """mean between tokens"""


class ChoicePart(NamedTuple):
    """What an event, or the body of a reply that is not streamed, contains for one choice."""

    choice: int
    """index of the choice as the server numbers it"""
    text: str = ""
    """visible text: content, refusal or tool call"""
    reasoning: str = ""
    finish: str | None = None
    token_ids: int | None = None
    """number of token ids"""
    refused: bool = False
    whole: bool = False
    """whether the texts may repeat what earlier events carried"""


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error object in a body or in a stream."""

    code: int | None
    message: str
    busy: bool = False
    """whether it says that the server is too busy"""


class Event(NamedTuple):
    """One event of a stream, or the body of a reply that is not streamed."""

    parts: Sequence[ChoicePart]
    usage: Usage | None
    error: ServerError | None
    last: bool = False
    """whether the API ends its streams with this event"""
    server_times: ServerTimes | None = None

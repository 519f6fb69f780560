"""What goes into the engine and what comes out of a step. Counts are tokens, times seconds of the engine's clock."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the answer that will be given to it; ``ends`` is "stop" or "length"."""

    id: int
    arrival: float
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    ends: str = "length"

    def __post_init__(self) -> None:
        if not self.prompt or not self.reply:
            raise ValueError(f"request {self.id}: prompt and reply need at least one token each")


class Output(NamedTuple):
    """One token of one request; ``position`` counts from 0, ``finish`` is set with the last."""

    request_id: int
    position: int
    finish: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A request's own figures, known when it ends."""

    request_id: int
    finish: str
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int
    preemptions: int
    arrival: float
    queued: float
    scheduled: float
    first: float
    last: float


@dataclass(slots=True)
class Tally:
    """What a step adds to the server's counters."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    reply_tokens: int = 0
    queries: int = 0
    hits: int = 0
    preemptions: int = 0
    first_waits: list[float] = field(default_factory=list)
    gaps: dict[float, int] = field(default_factory=dict)
    """Time of the previous token: how many requests had theirs then."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The gauges after a step."""

    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its time, the tokens due at its end, who was preempted at its start, and what it adds up to."""

    start: float
    end: float
    outputs: tuple[Output, ...]
    finished: tuple[Finished, ...]
    preempted: tuple[int, ...]
    tally: Tally
    snapshot: Snapshot

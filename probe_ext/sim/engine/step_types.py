"""The engine's input and the output of a step. Counts are tokens, times are seconds on the engine's clock."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the predetermined reply, as token ids; ``finish_reason`` is "stop" or "length"."""

    id: int
    arrival: float
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    finish_reason: str = "length"

    def __post_init__(self) -> None:
        if not self.prompt or not self.reply:
            raise ValueError(f"request {self.id}: prompt and reply need at least one token each")


class Output(NamedTuple):
    """One generated token; ``position`` counts from 0, ``finish_reason`` is set on the last."""

    request_id: int
    position: int
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """Figures of a finished request: when it was queued and first scheduled, and its first and last token."""

    request_id: int
    finish_reason: str
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
    """What a step adds to the server's counters and histograms."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    reply_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    ttfts: list[float] = field(default_factory=list)
    previous_tokens: dict[float, int] = field(default_factory=dict)
    """Number of this step's tokens by the time of their request's previous token, for inter-token latencies."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The gauges at one moment. ``kv_usage`` is a fraction."""

    running: int
    waiting: int
    kv_usage: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its tokens are due at ``end``; ``preempted`` are request ids, preempted at ``start``."""

    start: float
    end: float
    outputs: tuple[Output, ...]
    finished: tuple[Finished, ...]
    preempted: tuple[int, ...]
    tally: Tally
    snapshot: Snapshot

"""A trace: requests with their times, lengths and sessions, and which blocks of their prompts are the same text."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

Form = Literal["mooncake", "burstgpt", "tap"]


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One recorded request."""

    at: float
    """seconds since the first request of the trace"""
    session: int
    """number of its session, by the time of its first request"""
    tokens_in: int
    tokens_out: int
    blocks: tuple[int, ...] = ()
    """of the prompt's text from its start; equal numbers mean equal text. What they do not cover is shared with none"""


@dataclass(frozen=True)
class Trace:
    """The requests of a trace in order of time; those of a session are in the order of its turns."""

    form: Form
    digest: str
    """SHA-256 of the file"""
    block_tokens: float
    """length of each block; the last one of a prompt ends with the prompt"""
    requests: tuple[TraceRequest, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """requests that cannot be replayed, by the reason"""

    @property
    def seconds(self) -> float:
        """Duration: to the last request, and as long again as between two requests on average."""
        n = len(self.requests)
        return self.requests[-1].at * n / (n - 1) if n > 1 else 0.0

    @cached_property
    def sessions(self) -> tuple[tuple[int, ...], ...]:
        """Places in `requests` of each session's turns, sessions by their first request."""
        turns: dict[int, list[int]] = {}
        for place, request in enumerate(self.requests):
            turns.setdefault(request.session, []).append(place)
        return tuple(tuple(places) for places in turns.values())

    def between(self, start: float, end: float | None) -> "Trace":
        """Return the requests of a part of the trace; times count from the start of the part."""
        kept = [one for one in self.requests if one.at >= start and (end is None or one.at < end)]
        first = kept[0].at if kept else 0.0
        return replace(self, requests=tuple(replace(one, at=one.at - first) for one in kept))

    def fitting(self, context: int | None) -> "Trace":
        """Return the trace without requests whose prompt and reply are longer than the model's context in tokens."""
        if context is None:
            return self
        kept = tuple(one for one in self.requests if one.tokens_in + one.tokens_out <= context)
        dropped = len(self.requests) - len(kept)
        reason = {f"longer than the context of {context:,} tokens": dropped} if dropped else {}
        return replace(self, requests=kept, left_out={**self.left_out, **reason})

"""The marks of one reply, and the figures that follow from them.

All marks are monotonic seconds. A token event is a stream event with text that the model made (content,
reasoning or tool-call text); role-only deltas, comments and usage-only events are none. Tokens of an event with
empty text (held back, e.g. half a character) count with the next event that has text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub


@dataclass(slots=True)
class TokenEvents:
    """The token events of one choice, in order of arrival; four columns of equal length."""

    at: list[float] = field(default_factory=list)
    """seconds: when the event's bytes reached this machine"""
    tokens: list[int] = field(default_factory=list)
    """tokens that the event stands for; 1 where the server does not say"""
    visible: list[bool] = field(default_factory=list)
    """False for reasoning"""

    def add(self, at: float, tokens: int, visible: bool) -> None:
        """Append one event."""
        self.at.append(at)
        self.tokens.append(tokens)
        self.visible.append(visible)

    def only_visible(self) -> "TokenEvents":
        """The events that show text outside reasoning. Tokens of reasoning in between belong to no event."""
        kept = [i for i, shown in enumerate(self.visible) if shown]
        return TokenEvents([self.at[i] for i in kept], [self.tokens[i] for i in kept], [True] * len(kept))


@dataclass(slots=True)
class Marks:
    """When things happened to one request; None where it did not come to that."""

    due: float
    """when the user wanted to send"""
    sent: float | None = None
    """when the request's bytes were handed to a ready connection"""
    headers: float | None = None
    """when the response's head had arrived"""
    end: float | None = None
    """when the reply was over, however it ended"""
    connect: float | None = None
    """seconds that name resolution and TCP took; None on a connection used before"""
    tls: float | None = None
    """seconds that the TLS handshake took; None without TLS or on a connection used before"""
    late: float = 0.0
    """seconds that we were late to act, once it was due and the user's last reply had ended: our fault"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the token events of one choice were spread in time."""

    first: float
    last: float
    events: int
    tokens: int
    tokens_first: int
    longest_gap: float | None
    """seconds; None with one event"""
    gap_start: float | None
    tpot: float | None
    """seconds a token"""


def gaps(at: Sequence[float]) -> list[float]:
    """Seconds between successive token events: the inter-chunk latency of AIPerf, the `itls` of vLLM's benchmark."""
    return list(map(sub, at[1:], at))


def tpot(first: float, last: float, tokens: int, tokens_first: int) -> float | None:
    """Time per output token in seconds: (last − first) / (tokens − tokens in the first event).

    None where there is nothing to divide (one event, or all tokens in the first): undefined is not zero. With one
    token an event this is (last − first) / (n − 1), as vLLM's benchmark and its server metric
    `request_time_per_output_token_seconds` compute it.
    """
    rest = tokens - tokens_first
    return (last - first) / rest if rest > 0 and last > first else None


def pace(events: TokenEvents, tokens: int | None = None) -> Pace | None:
    """Sum up one choice's events; `tokens` is the server's own count where it gives one. None without events."""
    if not events.at:
        return None
    total = sum(events.tokens) if tokens is None else tokens
    spread = gaps(events.at)
    longest = spread.index(max(spread)) if spread else None
    return Pace(
        first=events.at[0],
        last=events.at[-1],
        events=len(events.at),
        tokens=total,
        tokens_first=events.tokens[0],
        longest_gap=None if longest is None else spread[longest],
        gap_start=None if longest is None else events.at[longest],
        tpot=tpot(events.at[0], events.at[-1], total, events.tokens[0]),
    )


def worst(paces: Sequence[Pace]) -> Pace | None:
    """The pace that a user with several choices is judged by: latest first token, longest gap, slowest typing.

    `last`, `events`, `tokens` and `tokens_first` span or add up all choices. None without paces.
    """
    if not paces:
        return None
    with_gap = [p for p in paces if p.longest_gap is not None]
    silent = max(with_gap, key=lambda p: p.longest_gap or 0.0) if with_gap else None
    speeds = [p.tpot for p in paces if p.tpot is not None]
    return Pace(
        first=max(p.first for p in paces),
        last=max(p.last for p in paces),
        events=sum(p.events for p in paces),
        tokens=sum(p.tokens for p in paces),
        tokens_first=sum(p.tokens_first for p in paces),
        longest_gap=silent.longest_gap if silent else None,
        gap_start=silent.gap_start if silent else None,
        tpot=max(speeds) if speeds else None,
    )

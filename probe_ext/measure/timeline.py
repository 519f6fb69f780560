"""The times of one reply, and what is computed from them: gaps, TPOT, pace.

Times are monotonic seconds. A token event is a stream event with text from the model (content, reasoning or tool-call
text), as opposed to role-only deltas, comments and usage-only events. Tokens of an event without text (held back, e.g.
half a character) count with the next event that has text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import sub


@dataclass(slots=True)
class TokenEvents:
    """The token events of one choice in order of arrival: columns of equal length."""

    at: list[float] = field(default_factory=list)
    """arrival of the event's bytes at this machine"""
    tokens: list[int] = field(default_factory=list)
    """tokens of the event; 1 if the server does not say"""
    visible: list[bool] = field(default_factory=list)
    """False for reasoning"""

    def add(self, at: float, tokens: int, visible: bool) -> None:
        """Append one event."""
        self.at.append(at)
        self.tokens.append(tokens)
        self.visible.append(visible)

    def only_visible(self) -> "TokenEvents":
        """Return the events outside reasoning."""
        indexes = [i for i, visible in enumerate(self.visible) if visible]
        return TokenEvents([self.at[i] for i in indexes], [self.tokens[i] for i in indexes], [True] * len(indexes))


@dataclass(slots=True)
class Marks:
    """Times of one request; None if it did not get that far."""

    due: float
    """when the user wanted to send"""
    sent: float | None = None
    """when the request was written to a ready connection"""
    headers: float | None = None
    """when the response's head was complete"""
    end: float | None = None
    """when the reply ended, for whatever reason"""
    connect: float | None = None
    """duration of name resolution and TCP connection; None for a reused connection"""
    resolve: float | None = None
    """the part of `connect` before the first address was dialled"""
    tls: float | None = None
    """duration of the TLS handshake; None without TLS or for a reused connection"""
    late: float = 0.0
    """delay caused by the load generator, once the request was due and the user's previous reply had ended"""


@dataclass(frozen=True, slots=True)
class Pace:
    """Summary of the token events of one choice."""

    first: float
    last: float
    events: int
    tokens: int
    tokens_first: int
    """tokens that arrived in the same read as the first"""
    longest_gap: float | None
    """None with a single event"""
    gap_start: float | None
    tpot: float | None
    """seconds per token"""
    gap_tokens: int | None = None
    """tokens of the event that ended the longest gap"""


def gaps(at: Sequence[float]) -> list[float]:
    """Return the seconds between successive token events (AIPerf's inter-chunk latency, `itls` in vLLM's benchmark)."""
    return list(map(sub, at[1:], at))


def tpot(first: float, last: float, tokens: int, tokens_first: int) -> float | None:
    """Return the time per output token in seconds: (last − first) / (tokens − tokens in the first read).

    None if undefined: all events, or all tokens, in the first read. With one token per event and read this is
    (last − first) / (n − 1), like TPOT in vLLM's benchmark and its server metric
    `request_time_per_output_token_seconds`.
    """
    rest = tokens - tokens_first
    return (last - first) / rest if rest > 0 and last > first else None


def pace(events: TokenEvents, tokens: int | None = None) -> Pace | None:
    """Summarize one choice's events; `tokens`: the server's count, if known. None without events."""
    if not events.at:
        return None
    total = sum(events.tokens) if tokens is None else tokens
    spread = gaps(events.at)
    longest = spread.index(max(spread)) if spread else None
    together = next((n for n, gap in enumerate(spread, 1) if gap > 0), len(events.at))
    tokens_first = sum(events.tokens[:together])
    return Pace(
        first=events.at[0],
        last=events.at[-1],
        events=len(events.at),
        tokens=total,
        tokens_first=tokens_first,
        longest_gap=None if longest is None else spread[longest],
        gap_start=None if longest is None else events.at[longest],
        tpot=tpot(events.at[0], events.at[-1], total, tokens_first),
        gap_tokens=None if longest is None else events.tokens[longest + 1],
    )


def worst(paces: Sequence[Pace]) -> Pace | None:
    """Return the pace by which several choices are judged: latest first token, longest gap, slowest typing.

    `last` is the latest, `events`, `tokens` and `tokens_first` are sums over all choices. None without paces.
    """
    if not paces:
        return None
    with_gap = [p for p in paces if p.longest_gap is not None]
    longest = max(with_gap, key=lambda p: p.longest_gap or 0.0) if with_gap else None
    speeds = [p.tpot for p in paces if p.tpot is not None]
    return Pace(
        first=max(p.first for p in paces),
        last=max(p.last for p in paces),
        events=sum(p.events for p in paces),
        tokens=sum(p.tokens for p in paces),
        tokens_first=sum(p.tokens_first for p in paces),
        longest_gap=longest.longest_gap if longest else None,
        gap_start=longest.gap_start if longest else None,
        tpot=max(speeds) if speeds else None,
        gap_tokens=longest.gap_tokens if longest else None,
    )

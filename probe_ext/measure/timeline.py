"""The times of one reply, and what is computed from them: gaps, TPOT, pace.

Times are monotonic seconds. A token event is a stream event with text from the model (content, reasoning or tool-call
text), as opposed to role-only deltas, comments and usage-only events. Tokens of an event without text (held back, e.g.
half a character) count with the next event that has text.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import sub

BURST_S = 0.0002
"""tokens of one reply that follow one another this closely arrived together: no model writes 5,000 a second"""
MIN_BURST_TOKENS = 4
"""a decode step with speculative decoding may write as many at once"""


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


@dataclass(slots=True)  # a frozen one takes ten times as long to make
class Pace:
    """Summary of the token events of one choice."""

    first: float
    last: float
    events: int
    tokens: int
    tokens_first: int
    """tokens that arrived together with the first"""
    longest_gap: float | None
    """None with a single event"""
    gap_start: float | None
    tpot: float | None
    """seconds per token"""
    gap_tokens: int | None = None
    """tokens that arrived together at the end of the longest gap"""
    held_max: float | None = None
    """longest gap that ended in several events at once, of which the first may have been held back for as long; None
    without one"""
    tokens_held: int = 0
    """tokens that arrived in bursts of MIN_BURST_TOKENS or more"""


def gaps(at: Sequence[float]) -> list[float]:
    """Return the seconds between successive token events (AIPerf's inter-chunk latency, `itls` in vLLM's benchmark)."""
    return list(map(sub, at[1:], at))


def tpot(first: float, last: float, tokens: int, tokens_first: int) -> float | None:
    """Return the time per output token in seconds: (last − first) / (tokens − tokens in the first burst).

    None if undefined: all events, or all tokens, in the first burst. With one token per event and read this is
    (last − first) / (n − 1), like TPOT in vLLM's benchmark and its server metric
    `request_time_per_output_token_seconds`.
    """
    rest = tokens - tokens_first
    return (last - first) / rest if rest > 0 and last > first else None


def bursts(events: TokenEvents) -> Iterator[tuple[int, int]]:
    """Yield the index of the first event, and the one after the last, of all that arrived together (see BURST_S)."""
    yield from pairwise([*_burst_starts(gaps(events.at)), len(events.at)])


def _burst_starts(spread: Sequence[float]) -> list[int]:
    """Return the index of the first event of all that arrived together, by the gaps between events."""
    return [0, *[n for n, gap in enumerate(spread, 1) if gap > BURST_S]]


def pace(events: TokenEvents, tokens: int | None = None) -> Pace | None:
    """Summarize one choice's events; `tokens`: the server's count, if known. None without events."""
    if not events.at:
        return None
    total = sum(events.tokens) if tokens is None else tokens
    spread = gaps(events.at)
    longest = spread.index(max(spread)) if spread else None
    together = next((n for n, gap in enumerate(spread, 1) if gap > BURST_S), len(events.at))
    tokens_first = sum(events.tokens[:together])
    held_max, tokens_held, gap_tokens = _bundling(events, spread, longest)
    return Pace(
        first=events.at[0],
        last=events.at[-1],
        events=len(events.at),
        tokens=total,
        tokens_first=tokens_first,
        longest_gap=None if longest is None else spread[longest],
        gap_start=None if longest is None else events.at[longest],
        tpot=tpot(events.at[0], events.at[-1], total, tokens_first),
        gap_tokens=gap_tokens,
        held_max=held_max,
        tokens_held=tokens_held,
    )


def _bundling(
    events: TokenEvents, spread: Sequence[float], longest: int | None
) -> tuple[float | None, int, int | None]:
    """Return `held_max`, `tokens_held` and `gap_tokens` of a Pace."""
    if (not spread or min(spread) > BURST_S) and max(events.tokens) < MIN_BURST_TOKENS:  # as nearly always
        return None, 0, None if longest is None else events.tokens[longest + 1]
    held_max, tokens_held, gap_tokens = 0.0, 0, None
    counts, starts = events.tokens, _burst_starts(spread)
    for start, stop in pairwise([*starts, len(counts)]):
        if stop == start + 1 and counts[start] < MIN_BURST_TOKENS:
            continue
        tokens = sum(counts[start:stop])
        if tokens >= MIN_BURST_TOKENS:
            tokens_held += tokens
        if start and stop > start + 1:
            held_max = max(held_max, spread[start - 1])
    if longest is not None:
        place = bisect_left(starts, longest + 1)
        alone = spread[longest] > BURST_S and place + 1 < len(starts)  # else the last ones, or all, arrived together
        gap_tokens = sum(counts[longest + 1 : starts[place + 1] if alone else None])
    return held_max or None, tokens_held, gap_tokens


def worst(paces: Sequence[Pace]) -> Pace | None:
    """Return the pace by which several choices are judged: latest first token, longest gap, slowest typing.

    `last` is the latest, `events`, `tokens` and `tokens_first` are sums over all choices. None without paces.
    """
    if len(paces) < 2:
        return paces[0] if paces else None
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
        held_max=max((p.held_max for p in paces if p.held_max is not None), default=None),
        tokens_held=sum(p.tokens_held for p in paces),
    )

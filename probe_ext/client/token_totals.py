"""How many tokens a reply and its events have, and whether the server's count can be believed."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from probe_ext.client.decoder import Choice, Decoder

_MAX_TOKENS_PER_BYTE, _ALLOWED_SURPLUS_TOKENS = 2, 16
"""a token has a byte of text or more, except a few special ones"""
_MAX_BYTES_PER_TOKEN, _MAX_EVENTS_PER_TOKEN = 32, 4
"""means over a reply; some gateways cut tokens into several events, but not into this many"""


_MIN_TOKENS_PER_EVENT = 1.5
"""a mean from which on events surely hold several tokens; some events have no text, so that it is rarely 1"""


class TokenTotal(NamedTuple):
    """Completion tokens of a reply."""

    tokens: int | None
    source: str | None
    """`usage`, `token_ids` or `events`"""
    unseen: int
    """of `tokens`, reasoning that no event carried"""
    doubt: str | None
    """why the server's count is not used"""
    claimed: int | None = None
    """the server's count, if it is not used"""


def total_tokens(decoder: Decoder, choices: Sequence[Choice], *, streamed: bool) -> TokenTotal:
    """Return the server's count; if it has none, or it contradicts what arrived, count token ids or events."""
    counted = decoder.completion_tokens
    unseen = _unseen_reasoning(decoder, choices) if counted and streamed else 0
    doubt = None if counted is None else _contradiction(counted - unseen, choices)
    if counted is not None and doubt is None:
        return TokenTotal(counted, "usage", unseen, None)
    if not choices or not streamed:
        return TokenTotal(None, None, 0, doubt, counted)
    if decoder.has_token_ids:
        tokens = sum([sum(choice.events.tokens) + choice.held_tokens for choice in choices])
        return TokenTotal(tokens, "token_ids", 0, doubt, counted)
    for choice in choices:
        _count_long_events(choice)
    return TokenTotal(sum([sum(choice.events.tokens) for choice in choices]), "events", 0, doubt, counted)


def text_bytes(choices: Sequence[Choice]) -> int:
    """Return the UTF-8 bytes of all text and reasoning."""
    return sum(_size("".join(texts)) for choice in choices for texts in (choice.text, choice.reasoning))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def apportion(choice: Choice, tokens: int) -> None:
    """Distribute tokens over the events of a choice by the length of their texts, where only their sum is known."""
    sizes = _sizes(choice)
    if tokens > _MIN_TOKENS_PER_EVENT * len(sizes) and any(sizes):
        ends = [0, *(round(tokens * size / sum(sizes)) for size in accumulate(sizes))]
        choice.events.tokens = [max(1, end - start) for start, end in pairwise(ends)]


def _count_long_events(choice: Choice) -> None:
    """Count an event as one token; if its text is too long for one, as many as it has at least."""
    longest = max(map(len, [*choice.text, *choice.reasoning]), default=0)
    if longest < _MAX_BYTES_PER_TOKEN:
        choice.events.tokens = [1] * len(choice.events.at)
    else:
        choice.events.tokens = [max(1, size // _MAX_BYTES_PER_TOKEN) for size in _sizes(choice)]


def _sizes(choice: Choice) -> list[int]:
    """Return the bytes of text of each event."""
    return [len((text + reasoning).encode()) for text, reasoning in zip(choice.text, choice.reasoning, strict=True)]


def _unseen_reasoning(decoder: Decoder, choices: Sequence[Choice]) -> int:
    """Return the reasoning tokens that the server counted but sent no text of."""
    reasoning, counted = decoder.tokens_reasoning, decoder.completion_tokens
    if not reasoning or not counted or any(any(choice.reasoning) for choice in choices):
        return 0
    known = sum(sum(choice.events.tokens) for choice in choices)
    return max(0, min(reasoning, counted - known))


def _contradiction(tokens: int, choices: Sequence[Choice]) -> str | None:
    """Say how a count of tokens contradicts the text that arrived; None if it may be right.

    A running count is believed to exceed the text: a parser may hold tokens back.
    """
    events = sum(len(choice.events.at) for choice in choices)
    if 0 < events <= tokens * _MAX_EVENTS_PER_TOKEN and tokens <= 2 * events:
        return None  # as nearly always; every event has a byte or more
    size = text_bytes(choices)
    if not size:
        return None
    running = any(choice.has_running_count and len(choice.events.at) > 1 for choice in choices)
    too_many = tokens > _MAX_TOKENS_PER_BYTE * size + _ALLOWED_SURPLUS_TOKENS and not running
    too_few = tokens * _MAX_BYTES_PER_TOKEN < size and tokens * _MAX_EVENTS_PER_TOKEN < events
    if tokens and not (too_many or too_few):
        return None
    return f"the usage of {tokens} tokens contradicts {size} bytes of text"

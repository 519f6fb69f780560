"""How many tokens a reply has, and whether the server's count can be believed."""

from collections.abc import Sequence
from typing import NamedTuple

from probe_ext.client.decoder import Choice, Decoder

_MAX_TOKENS_PER_BYTE, _ALLOWED_SURPLUS_TOKENS = 2, 16
"""a token has a byte of text or more, except a few special ones"""
_MAX_BYTES_PER_TOKEN, _MAX_EVENTS_PER_TOKEN = 32, 4
"""means over a reply; some gateways cut tokens into several events, but not into this many"""


class TokenTotal(NamedTuple):
    """Completion tokens of a reply."""

    tokens: int | None
    source: str | None
    """`usage`, `token_ids` or `events`"""
    unseen: int
    """of `tokens`, reasoning that no event carried"""
    doubt: str | None
    """why the server's count is not used"""


def total_tokens(decoder: Decoder, choices: Sequence[Choice], *, streamed: bool) -> TokenTotal:
    """Return the server's count; if it has none, or it contradicts what arrived, count token ids or events."""
    counted = decoder.completion_tokens
    unseen = _unseen_reasoning(decoder, choices) if counted and streamed else 0
    doubt = None if counted is None else _contradiction(counted - unseen, choices)
    if counted is not None and doubt is None:
        return TokenTotal(counted, "usage", unseen, None)
    if not choices or not streamed:
        return TokenTotal(None, None, 0, doubt)
    if decoder.has_token_ids:
        return TokenTotal(sum(sum(c.events.tokens) + c.held_tokens for c in choices), "token_ids", 0, doubt)
    return TokenTotal(sum(len(c.events.at) for c in choices), "events", 0, doubt)


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
    size = sum(len("".join(choice.text + choice.reasoning).encode()) for choice in choices)
    if not size:
        return None
    running = any(choice.has_running_count and len(choice.events.at) > 1 for choice in choices)
    too_many = tokens > _MAX_TOKENS_PER_BYTE * size + _ALLOWED_SURPLUS_TOKENS and not running
    too_few = tokens * _MAX_BYTES_PER_TOKEN < size and tokens * _MAX_EVENTS_PER_TOKEN < events
    if tokens and not (too_many or too_few):
        return None
    return f"the usage of {tokens} tokens contradicts {size} bytes of text"

"""Are a server's token counts true? Servers are ranked by them, and a count is easily made up.

The engine's own counter decides: where it grew by as many tokens as the usage says, or more (hidden thinking, other
load), the usage holds. Without a counter, the server's tokenizer counts the text that arrived; without one, the text
has at most as many tokens as bytes. Pure: counts in, a factor with its evidence out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from probe_ext.inspection.scout.samples import Pair
from probe_ext.verdict.phrasing import formats

_MIN_PAIRS = 3
_TRUE_SHARE = 0.85
"""of the tokens that usage says, from which a count agrees"""
_TOLERANCE_TOKENS = 4
"""special tokens, and texts that are tokenized differently from how they were generated"""
_MIN_TOKENS = 16
"""of a reply; shorter ones are within the tolerance whatever they say"""


@dataclass(frozen=True, slots=True)
class CountedText:
    """The tokens of one reply, by its usage and by its text."""

    usage: int
    tokenizer: int | None
    """None: there is none"""
    bytes: int
    """of the text, reasoning included"""


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """What a token of the usage is worth."""

    factor: float = 1.0
    """tokens counted, for each that usage says"""
    evidence: str | None = None
    """why the factor is not 1"""
    source: str | None = None
    """`counter`, `tokenizer` or `bytes`; None: nothing to check with"""


def check_tokens(pairs: Sequence[Pair], text: CountedText | None) -> TokenCheck:
    """Compare the usage of new prompts with the engine's counter, or that of one reply with its text."""
    counted = [pair for pair in pairs if pair.fresh.ok and pair.fresh.tokens and pair.fresh_generated is not None]
    shares = [(pair.fresh_generated or 0.0) / (pair.fresh.tokens or 1) for pair in counted]
    share = median(shares) if len(shares) >= _MIN_PAIRS else None
    if share is not None and share >= _TRUE_SHARE:
        return TokenCheck(source="counter")
    # A counter that lags behind, or sees the replies of one replica only, is no measure: its shares vary.
    if share and max(shares) * _TRUE_SHARE <= min(shares):
        return TokenCheck(share, _evidence(share, "its engine's counter grew by", "that counter"), "counter")
    return TokenCheck() if text is None or text.usage < _MIN_TOKENS else _by_text(text)


def _by_text(text: CountedText) -> TokenCheck:
    hidden = " (a wrong count, or hidden thinking)"
    if text.tokenizer is None:
        share = text.bytes / text.usage
        if text.usage <= text.bytes + _TOLERANCE_TOKENS:
            return TokenCheck()
        return TokenCheck(share, _evidence(share, "byte of the text", "bytes", hidden, ""), "bytes")
    share = text.tokenizer / text.usage
    if abs(text.tokenizer - text.usage) <= max((1 - _TRUE_SHARE) * text.tokenizer, _TOLERANCE_TOKENS):
        return TokenCheck(source="tokenizer")
    how = "its own tokenizer finds in the text"
    return TokenCheck(share, _evidence(share, how, "the text", hidden if share < 1 else ""), "tokenizer")


def _evidence(share: float, how: str, by: str, or_else: str = "", that: str = "that ") -> str:
    if share < 1:
        more = formats.decimals(1 / share) if share else "more"
        return f"its usage says {more} tokens for each {that}{how}{or_else}; ranked by {by}"
    return f"its usage says 1 token for {formats.decimals(share)} that {how}; ranked by {by}"

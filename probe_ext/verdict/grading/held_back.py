"""What cannot be judged of replies whose bytes something held back: typing speed, gaps, or the first word.

A proxy, a parser or the server's own output may collect what the model wrote and pass it on in bursts. A burst shows
when its last token was passed on, and no more. So a typing speed is only known within a range, a gap that ends in as
many tokens as the model writes in that time is no silence of the model, and an answer that arrives in one burst was not
streamed.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.measure.timeline import MIN_BURST_TOKENS
from probe_ext.verdict.evidence.columns import Bools, Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns

MIN_HELD_SHARE = 0.5
"""Of a reply's tokens that arrived in bursts: with fewer, bursts are accidents such as a lost packet."""
MIN_GAP_SHARE_WRITTEN = 0.5
"""Of a gap, the part in which the model wrote the tokens that ended it, at the reply's own mean speed."""
MIN_STREAM_TOKENS = 8
"""Any server may send fewer at once."""
MAX_BYTES_PER_TOKEN = 6.0
"""Mean over a reply's events: with more text than this in each, some may hold several tokens. Tokenizers of today write
four to five bytes a token."""
MAX_FEW_EVENTS = 3
MIN_SEGMENTS_PER_EVENT = 0.75
"""From here on, events arrived one by one, so that only this machine read them together."""


@dataclass(frozen=True)
class Bundling:
    """How each reply arrived."""

    bundled: Bools
    """most of its tokens arrived in bursts"""
    at_once: Bools
    """all of its tokens arrived in one burst, though as several events: it was not streamed in effect"""
    held_gap: Bools
    """the model went on writing in its longest gap, or may have; never where the engine's counter stood still"""


def bundling(columns: Columns) -> Bundling:
    """Return how each reply arrived; False throughout where the run recorded none of it."""
    tokens, held = numbers(columns, "tokens_out"), numbers(columns, "tokens_held")
    bundled = (held >= MIN_HELD_SHARE * tokens) & (held >= MIN_BURST_TOKENS)
    whole = is_any(columns, "outcome", {"complete"})
    events, segments = numbers(columns, "events"), numbers(columns, "segments")
    apart = segments >= MIN_SEGMENTS_PER_EVENT * events
    one_burst = bundled & np.isnan(numbers(columns, "tpot")) & (numbers(columns, "tokens_first") >= tokens)
    at_once = whole & one_burst & (events > 1) & (tokens >= MIN_STREAM_TOKENS) & ~apart
    gap = written_meanwhile(
        numbers(columns, "longest_gap"), numbers(columns, "gap_tokens"), numbers(columns, "tpot"), bundled
    )
    gap = (gap | few_large_events(columns)) & ~(numbers(columns, "gap_generating") < MIN_GAP_SHARE_WRITTEN)
    return Bundling(bundled, at_once, gap)


def few_large_events(columns: Columns) -> Bools:
    """Tell which replies are an unknown number of tokens in so few events that any gap may be one of these.

    As of a tool call whose arguments a parser holds back, from a server that counts no tokens.
    """
    events = numbers(columns, "events")
    return uncounted(columns) & (events > 1) & (events <= MAX_FEW_EVENTS)


def written_meanwhile(gap: Floats, tokens: Floats, tpot: Floats, bundled: Bools) -> Bools:
    """Tell in which gaps the model went on writing: they end in as many tokens as it writes in that time.

    `tokens`: those that arrived together at the end; `tpot`, `bundled`: of the reply. A reply that was aborted has no
    typing speed: if it is bundled, its gap is taken for held back.
    """
    enough: Bools = (tokens >= MIN_BURST_TOKENS) & (tokens * tpot >= MIN_GAP_SHARE_WRITTEN * gap)
    return bundled & (enough | np.isnan(tpot))


def uncounted(columns: Columns) -> Bools:
    """Tell which replies have an unknown number of tokens: events were counted, and one may hold several tokens."""
    counted = is_any(columns, "tokens_from", {"events"})
    events = np.fmax(np.nan_to_num(numbers(columns, "events")), 1)
    return counted & (numbers(columns, "text_bytes") > MAX_BYTES_PER_TOKEN * events)


def typing_range(columns: Columns, rate: Floats) -> tuple[Floats, Floats]:
    """Return the slowest and the fastest speed at which a reply may have been written, in tokens per second.

    Each end of the measured time may be off by as long as bytes were held back. Where events were counted instead of
    tokens, and their texts are long, the speed has no upper bound.
    """
    span = numbers(columns, "last") - numbers(columns, "first")
    held = np.nan_to_num(numbers(columns, "held_max"))
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(held > 0, rate * span / (span + held), rate)
        high = np.where(held > 0, np.where(held < span, rate * span / (span - held), np.inf), rate)
    high = np.where(uncounted(columns), np.inf, high)
    return low, np.where(np.isnan(rate), np.nan, high)

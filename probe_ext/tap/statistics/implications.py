"""What follows from a recording, with its figures: context length, prefix cache, prompt order, response cache."""

import math
from dataclasses import dataclass

from probe_ext.tap.statistics.totals import Totals
from probe_ext.verdict.phrasing.formats import count, percent, seconds, span
from probe_ext.verdict.phrasing.plurals import things

MIN_REQUESTS = 10
"""below, nothing is concluded"""
MIN_LENGTHS, MIN_LENGTHS_SHARE = 100, 0.9
"""known lengths, and their share of all requests, below which nothing is concluded about the context length"""
_AMPLE_CONTEXT = 2.0
_CONTEXT_RESERVE = 1.25
_LARGE_SHARE, _SMALL_SHARE = 0.10, 0.02


@dataclass(frozen=True, slots=True)
class Implication:
    """One conclusion."""

    name: str
    """`context`, `prefix_cache`, `prompt_order`, `response_cache` or `too_few`"""
    title: str
    why: str
    advice: str = ""
    pays: bool = True
    """whether something can be gained"""


def implications(totals: Totals, max_model_len: int | None) -> list[Implication]:
    """Return the conclusions, in the order in which they are shown."""
    if totals.prompts_asked < MIN_REQUESTS:
        text = f"{things(totals.prompts_asked, 'request')} for text so far: conclusions need {MIN_REQUESTS}."
        return [Implication("too_few", "Too few requests", text, pays=False)]
    found = (_response_cache(totals), _context(totals, max_model_len), _prefix_cache(totals), _prompt_order(totals))
    return [each for each in found if each is not None]


def _context(totals: Totals, limit: int | None) -> Implication | None:
    needed = totals.needed.sketch
    if not needed.count:
        return Implication("context", "Context length: unknown", "The server counts no prompt tokens.", pays=False)
    most = round(needed.maximum)
    bound = ""
    if totals.unbounded:
        which = "" if totals.readable == totals.prompts_asked else " with a readable body"
        without = f"{count(totals.unbounded)} of {things(totals.readable, 'request')}{which}"
        bound = f" {without} set no limit for the reply: there, what was generated counts."
    known, asked = needed.count, totals.prompts_asked
    longest = "longest request" if known == asked else f"longest of the {things(known, 'request')} of known length"
    need = f"The {longest} needs {count(most)} tokens, prompt and reply limit together."
    if limit is None:
        return Implication(
            "context", "Context length", f"{need} The server does not say what it allows.{bound}", pays=False
        )
    if limit < _AMPLE_CONTEXT * most:
        return Implication(
            "context", "Context length fits", f"{need} The server allows {count(limit)}.{bound}", pays=False
        )
    if known < MIN_LENGTHS or known < MIN_LENGTHS_SHARE * asked:
        few = (
            f"{need} The server allows {count(limit)}. To know whether less is enough, the lengths of at least "
            f"{MIN_LENGTHS} requests, and of {percent(MIN_LENGTHS_SHARE)} of all, must be known; they are known of "
            f"{count(known)} of {count(asked)}.{bound}"
        )
        return Implication("context", "Context length: too few lengths known", few, pays=False)
    fit = min(limit, 2 ** math.ceil(math.log2(_CONTEXT_RESERVE * most)))
    return Implication(
        "context",
        f"Context length: {count(most)} tokens needed, {count(limit)} allowed",
        f"{need} The server allows {_times(limit / most)} as many.{bound}",
        f"--max-model-len {fit} would do for this traffic. It needs less memory at the start, and longer requests are "
        "refused. vLLM reserves KV cache as a request grows, so measure whether more users fit: probe compare.",
    )


def _prefix_cache(totals: Totals) -> Implication | None:
    text = totals.text
    if not text.counted:
        return None
    share = text.prefix / text.counted
    found = (
        f"The server found {percent(text.cached / text.cache_known)} of all prompt tokens in its prefix cache."
        if text.cache_known
        else "The server does not say what it found in a prefix cache."
    )
    why = f"{percent(share)} of all prompt tokens repeat the beginning of an earlier prompt. {found}"
    if share < _LARGE_SHARE:
        return Implication("prefix_cache", "A prefix cache would save little", why, pays=False)
    if text.cache_known and text.cached / text.cache_known > share / 2:
        return Implication("prefix_cache", "The prefix cache works", why, pays=False)
    advice = "Switch it on (vLLM: --enable-prefix-caching), or give it more memory if it is on."
    return Implication("prefix_cache", f"A prefix cache would save up to {percent(share)} of prefill", why, advice)


def _prompt_order(totals: Totals) -> Implication | None:
    text = totals.text
    share = text.later / text.counted if text.counted else 0.0
    if share < _LARGE_SHARE:
        return None
    return Implication(
        "prompt_order",
        f"Changing text stands before static text: {percent(share)} of prompt tokens",
        f"{percent(share)} of all prompt tokens are text that other sessions sent as well, but behind a difference. A "
        "prefix cache finds only what stands before the first difference.",
        "Put what is the same for everybody first, and names, dates and user data behind it.",
    )


def _response_cache(totals: Totals) -> Implication | None:
    savings, answered = totals.savings, totals.identical.distinct + totals.identical.repeated
    if not answered:
        return None
    share = savings.requests / answered
    distinct = f"{things(totals.identical.distinct, 'distinct request')} among {count(answered)} answered"
    if totals.cached:
        why = f"{things(round(totals.cached), 'reply', 'replies')} came from the tap's cache: {distinct}."
        return Implication("response_cache", "The response cache answers", why, pays=False)
    why = (
        f"{distinct}: {percent(share)} repeat an earlier one exactly; {percent(savings.fixed / answered)} do so and "
        "ask for the same answer each time (temperature 0, or a seed)."
    )
    if share < _SMALL_SHARE:
        return Implication("response_cache", "A response cache would not help", why, pays=False)
    saved = f"It would have saved {span(savings.seconds)} of {span(savings.all_seconds)} that replies took"
    typical = totals.duration.sketch.quantile(0.5)
    return Implication(
        "response_cache",
        f"A response cache would answer {percent(share)} of requests",
        f"{why} {saved}; half of them took {seconds(typical)} or more.",
        "Try it with --cache. Where answers should differ each time, a cache takes that away.",
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 9.5 else f"{ratio:.1f} times"

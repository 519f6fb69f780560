"""Do the counts of tokens agree with one another, and with what arrived?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.evidence.columns import is_any, numbers, text_counts
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.evidence.manifest_view import mapping
from probe_ext.verdict.grading.held_back import uncounted
from probe_ext.verdict.phrasing.formats import count, decimals, percent
from probe_ext.verdict.phrasing.plurals import listed, some_of, things
from probe_ext.verdict.values.finding import Finding

MAX_EVENT_COUNTED_SHARE = 0.05
"""Of the replies, whose tokens may be counted by stream events only."""
MAX_CONTRADICTING_SHARE = 0.01
"""Of the replies: a server that counts wrongly does so nearly always, and one odd reply changes no figure."""
MAX_PROMPT_RATIO, MAX_PROMPT_TOKENS_APART = 1.5, 50
"""Prompts that differ from the intended length by more than both are a warning: a chat template and a tokenizer that is
only estimated explain less."""


def token_checks(evidence: Evidence) -> Iterator[Finding]:
    """Yield the checks of who counted tokens, of counts that contradict the text, and of prompt lengths."""
    yield _token_source(evidence)
    yield _usage(evidence.replies)
    yield _prompts(evidence.replies)


def _token_source(evidence: Evidence) -> Finding:
    replies = evidence.replies
    known = ~is_any(replies, "tokens_from", {""})
    believed = known & np.isnan(numbers(replies, "tokens_claimed"))
    sources = text_counts(replies, "tokens_from", believed)
    if contradicted := int(known.sum() - believed.sum()):
        sources[""] = contradicted
    if not sources:
        return Finding("token_source", "unproven", False, "How tokens were counted is not known.")
    share = sources.get("events", 0) / sources.total()
    if share <= MAX_EVENT_COUNTED_SHARE:
        return Finding("token_source", "pass", False, "Tokens were counted by the server.")
    why = f"For {percent(share)} of replies the server gave no token count: each stream event counts as one token."
    several = int(uncounted(replies).sum())
    if several:
        its = "its" if several == 1 else "their"
        why += (
            f" In {things(several, 'reply', 'replies')} events have more text than one token, so the number of tokens "
            f"is not known: {its} typing speed counts only where it is enough for any number."
        )
    return Finding("token_source", "fail", False, why, usage_advice(evidence.manifest))


def usage_advice(manifest: Mapping[str, Any]) -> str:
    """Say how tokens could be counted by the server, by what was asked for and what it refused."""
    form = mapping(manifest.get("request_form"))
    asked, used = (mapping(form.get(key)).get("usage") for key in ("asked", "used"))
    remedy = "Without counts, one token per event is needed (vLLM: `--stream-interval 1`)."
    if asked not in (None, "none") and used == "none":
        return f"The server, or a gateway in front of it, refuses to count tokens of streams. {remedy}"
    if asked not in (None, "none"):
        return f"The server was asked for token counts and sends none. {remedy}"
    return "Let the server count tokens (--usage continuous or final)."


def _usage(replies: Columns) -> Finding:
    """Counts of the server that contradict the text or one another."""
    claimed, out, reasoning = (numbers(replies, c) for c in ("tokens_claimed", "tokens_out", "tokens_reasoning"))
    counted = ~np.isnan(claimed) | is_any(replies, "tokens_from", {"usage"})
    total = int(counted.sum())
    if not total:
        return Finding("usage", "unproven", False, "The server counted no tokens.")
    zero, above = claimed == 0, claimed > np.fmax(out, 1)
    below = ~np.isnan(claimed) & ~zero & ~above
    odd_reasoning = reasoning > out
    cases = [
        (zero, "0 tokens beside text", "events are counted instead"),
        (above, _claimed(claimed[above], out[above], "more"), "events are counted instead"),
        (below, _claimed(claimed[below], out[below], "fewer"), "events are counted instead"),
        (odd_reasoning, "more reasoning than completion tokens", "the completion tokens are used"),
    ]
    wrong = zero | above | below | odd_reasoning
    if int(wrong.sum()) <= MAX_CONTRADICTING_SHARE * total:
        fitting = some_of(total - int(wrong.sum()), total, "reply", "replies")
        return Finding("usage", "pass", False, f"The server's counts fit the text of {fitting} that it counted.")
    numbered = [(int(mask.sum()), what, used) for mask, what, used in cases if mask.any()]
    said = [
        f"{things(n, 'reply', 'replies')} {'claims' if n == 1 else 'claim'} {what}; {used}"
        for n, what, used in numbered
    ]
    why = f"The server's token counts contradict what arrived: {listed(said)}."
    advice = (
        "Find out which gateway or server reports the usage: compare with the server directly. Rates in tokens are as "
        "good as the counts that are used; typing speed is not judged where events may hold several tokens."
    )
    return Finding("usage", "fail", False, why, advice)


def _claimed(claimed: np.ndarray, used: np.ndarray, than: str) -> str:
    if not len(claimed):
        return ""
    medians = f"median {count(float(np.median(claimed)))}, {count(float(np.median(used)))} seen"
    return f"far {than} tokens than their text has ({medians})"


def _prompts(replies: Columns) -> Finding:
    """Prompts as the server counts them, against the lengths that they were made for."""
    given, meant = numbers(replies, "tokens_in"), numbers(replies, "tokens_meant")
    first_turn = ~is_any(replies, "kind", {"turn"})
    complete = is_any(replies, "outcome", {Outcome.COMPLETE})
    known = first_turn & complete & ~np.isnan(given) & (meant > 0)
    if not known.any():
        return Finding(
            "prompt_lengths", "unproven", False, "The lengths of prompts were not counted, or not set by this tool."
        )
    ratio = float(np.median(given[known] / meant[known]))
    wide = np.abs(given[known] - meant[known]) > MAX_PROMPT_TOKENS_APART
    wrong = wide & ((given[known] > MAX_PROMPT_RATIO * meant[known]) | (given[known] * MAX_PROMPT_RATIO < meant[known]))
    counted, intended = float(np.median(given[known])), float(np.median(meant[known]))
    lengths = f"{things(round(counted), 'token')} by the server's count (intended: {count(intended)})"
    if not wrong.mean() > MAX_CONTRADICTING_SHARE:
        return Finding("prompt_lengths", "pass", False, f"The median prompt has {lengths}.")
    differ = f"{things(int(wrong.sum()), 'prompt')} {'differs' if wrong.sum() == 1 else 'differ'}"
    why = f"{differ} from the intended length: the median has {lengths}"
    why += f", {decimals(ratio)} times as many. The server's count is used."
    if ratio > 1:
        advice = (
            "A gateway or chat template adds a long system prompt, or counts differently: first words take longer than "
            "for prompts of the intended length. Check what is added, or set --input-tokens accordingly."
        )
    else:
        advice = (
            "Prompts are cut, or counted in another unit: first words come sooner than for prompts of the intended "
            "length. Check the server's context length and truncation."
        )
    return Finding("prompt_lengths", "fail", False, why, advice)

"""Are these the model's answers at all? From memory, or cut short, they measure something else."""

import numpy as np

from probe_ext.verdict.checks.server_checks import APART_SHARE, APART_TOKENS
from probe_ext.verdict.diagnosis.diagnosis_input import Facts, Totals
from probe_ext.verdict.diagnosis.ruling import absent, graded, unknown
from probe_ext.verdict.values.columns import Floats
from probe_ext.verdict.values.formats import count, percent
from probe_ext.verdict.values.ruling_types import Fact, Ruling

ENOUGH_TOKENS = 8
"""of an answer: shorter ones may come at once from any server"""
TOO_FAST = 5000.0
"""tokens/s of one reply from sending to its end, less the way there and back: faster than any model types"""
SOME = 0.05
"""of the replies"""
FEWEST, MANY = 10, 30
"""replies: to say anything; so many that none of a few answers is a matter of chance"""
STUB = 1
"""tokens: no answer, only its first word"""
NEARLY_ALL = 0.9
"""of the replies"""
SEVERAL = 1.5
"""times the tokens that clients saw"""
SAME_REPLIES = 0.1
"""by so much the server's count of replies may differ from ours before others are at work on it"""


def response_cache(facts: Facts) -> Ruling:
    """Something in front of the model answers from memory."""
    rule, totals = "response_cache", facts.totals
    lengths, spent = totals.lengths, totals.seconds
    told = lengths >= ENOUGH_TOKENS
    if int(told.sum()) < FEWEST:
        why = "Too few answers were long enough to tell memory from a model."
        return unknown(rule, why, f"{FEWEST} answers of {ENOUGH_TOKENS} tokens or more")
    speeds = lengths[told] / spent[told]
    share = float((speeds >= TOO_FAST).mean())
    missing = _missing(totals)
    shown = [
        Fact(
            f"share of the answers that came at {count(TOO_FAST)} tokens/s or faster, from sending", share, "fraction"
        ),
        Fact("the fastest answer", float(speeds.max()), "tokens/s"),
    ]
    if missing is not None:
        shown.append(Fact("share of the clients' tokens that the server never made", missing, "fraction"))
    if share < SOME:
        return _at_models_speed(missing, tuple(shown))
    if missing is not None and missing < min(share, SOME) / 2:
        return absent(rule, "Some answers came very fast, but the server counts the tokens of all.", *shown)
    confidence, how = graded(
        {
            "the server did not make these tokens": True if missing else None,
            "a large part of the answers": share >= 2 * SOME,
        }
    )
    why = f"{percent(share)} of the answers came faster than a model types"
    why += f", and the server made {percent(missing)} fewer tokens than its clients got." if missing else "."
    advice = (
        "What users felt is right, but it is the cache's doing: it holds for repeated prompts only. Ask new prompts "
        "(another --prompt-seed), or go past the cache, to learn what the model can carry."
    )
    return Ruling(
        rule, "holds", why, says="answers come from a response cache", from_users=None, evidence=tuple(shown),
        confidence=confidence, confidence_from=how, advice=advice,
    )  # fmt: skip


def _at_models_speed(missing: float | None, shown: tuple[Fact, ...]) -> Ruling:
    rule = "response_cache"
    if missing is None or missing <= SOME:
        return absent(rule, "No answers came faster than a model types.", *shown)
    why = f"The server counts {percent(missing)} fewer tokens than its clients got, yet no answer came as from memory."
    return unknown(rule, why, "the metrics of every server behind this address (--metrics-url)", *shown)


def _missing(totals: Totals) -> float | None:
    """The share of the clients' tokens that the server did not make; None where it does not count."""
    if totals.server_tokens is None or not totals.client_tokens:
        return None
    apart = totals.client_tokens - totals.server_tokens
    few = apart <= APART_TOKENS or apart <= APART_SHARE * totals.client_tokens
    return 0.0 if few else apart / totals.client_tokens


def cut_answers(facts: Facts) -> Ruling:
    """Answers are cut short: a first word instead of a whole one, or less than the model made."""
    rule, totals = "cut_answers", facts.totals
    lengths = totals.lengths
    if len(lengths) < FEWEST:
        return unknown(rule, "Too few answers came to say anything of their length.", f"{FEWEST} whole answers")
    stubs, early = float((lengths <= STUB).mean()), _early(totals, lengths)
    times = _more_than_seen(totals)
    shown = [Fact("share of the answers of a single token", stubs, "fraction")]
    shown += [] if totals.asked is None else [Fact("tokens asked for, most", float(totals.asked), "tokens")]
    shown += [Fact("median answer", float(np.median(lengths)), "tokens")]
    shown += [] if times is None else [Fact("tokens the server made, over those its clients got", times, "")]
    only_stubs = stubs >= NEARLY_ALL and (totals.asked or 2) > STUB
    signs = {
        "nearly all answers are one token": only_stubs,
        "they end for their length before the length asked for": early,
        "the server made more than its clients got, for the same replies": None if times is None else times >= SEVERAL,
    }
    if not any(signs.values()):
        return absent(rule, f"Half of the answers have {count(float(np.median(lengths)))} tokens or more.", *shown)
    # The sign that it rests on counts for nothing more; that the server made no more is no witness against stubs.
    agree = [name for name, seen in signs.items() if seen]
    more: dict[str, bool | None] = dict.fromkeys(agree[1:], True)
    more["the model was told not to stop"] = totals.to_the_end or None
    more[f"all of more than {MANY} answers"] = (only_stubs and stubs == 1 and len(lengths) > MANY) or None
    confidence, how = graded(more)
    advice = (
        "Waits and throughput are those of stubs: no number of users can be read from them. Look at what stands "
        "between the clients and the model, and at how its answers end."
    )
    return Ruling(
        rule, "holds", f"Answers are cut short: {'; '.join(agree)}.", says="answers are cut short",
        evidence=tuple(shown), confidence=confidence, confidence_from=how, advice=advice,
    )  # fmt: skip


def _early(totals: Totals, lengths: Floats) -> bool | None:
    """Whether answers end for their length, or against what the model was told, well before what was asked for."""
    if totals.asked is None or not totals.replies:
        return None
    by_length = totals.reasons.get("length", 0) / totals.replies >= NEARLY_ALL
    short = float((lengths < totals.asked / 2).mean()) >= NEARLY_ALL
    return short and (by_length or totals.to_the_end)


def _more_than_seen(totals: Totals) -> float | None:
    """How many times the clients' tokens the server made; None unless it worked on these replies alone."""
    if not totals.server_tokens or not totals.client_tokens or not totals.server_replies:
        return None
    alone = abs(totals.server_replies - totals.replies) <= SAME_REPLIES * totals.replies
    return totals.server_tokens / totals.client_tokens if alone else None

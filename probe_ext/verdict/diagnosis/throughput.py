"""Is it the machine's speed: reading prompts, or making tokens?"""

import math
from dataclasses import dataclass

from probe_ext.verdict.diagnosis.batch_limit import LIKE
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.kv_cache import PAUSE, at_wall
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.values.formats import decimals, percent, seconds
from probe_ext.verdict.values.ruling_types import Fact, Ruling

LIGHT = 2.0
"""replies in flight, mean: a level that tells what a prompt takes when nearly nothing else is going on"""
MOST = 0.5
"""of the time spent on prompts: then they are what the machine is busy with"""
GROWN = 2.0
"""times the first word's wait of the lightest level, or its time a token"""
FLAT, RISING = 1 / 3, 0.5
"""tokens/s that a growing batch still brings, as a power of the batch: at a third, twice the batch brings a quarter
more"""
REACHED = 0.9
"""of the highest throughput of all levels: from there on it is used up"""
MANY_TOKENS = 10
"""a gap as long as so many tokens take is no slow typing"""
NOISE = 2.0
"""standard errors"""

FASTER_PROMPTS = {
    "vllm": "Put what all prompts share at their front, so that --enable-prefix-caching saves reading it; shorten "
    "prompts; try a larger --max-num-batched-tokens. Beyond that it takes more compute: a faster card, or a second "
    "server.",
    "": "Put what all prompts share at their front and switch prefix caching on; shorten prompts. Beyond that it takes "
    "more compute: a faster card, or a second server.",
}
OUTGROWN = (
    "The box is outgrown at this number: more users share the same tokens a second. A smaller or more strongly "
    "quantised model, a faster card or a second server raise it; settings hardly do."
)


def prefill_bound(facts: Facts) -> Ruling:
    """Most of the machine's time goes into reading prompts: first words wait for it, or words come more slowly."""
    rule = "prefill_bound"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    top = facts.loads[-1]
    prompts = top.prompt_per_s if top.prompt_per_s is not None else top.prompt_per_s_most
    made, shown = top.tokens_per_s, []
    if prompts is not None and made is not None:
        shown = [
            Fact(f"prompt tokens read, at {top.users} users", prompts, "tokens/s"),
            Fact(f"tokens made, at {top.users} users", made, "tokens/s"),
        ]
        if prompts <= made:
            why = "The server made more tokens than it read, and making one costs at least as much as reading one."
            return absent(rule, why, *shown)
    return _share_of_prompts(facts, facts.loads[0], top, shown)


def _share_of_prompts(facts: Facts, light: Load, top: Load, shown: list[Fact]) -> Ruling:
    """The time that the prompts of the top level would have taken one by one, a step of one token each left out.

    At most: the lightest level may have had others beside it, and a cache may have held more at the top.
    """
    rule = "prefill_bound"
    whole = light.prefill if light.prefill is not None else light.ttft
    if whole is None or not light.tpot or top.ttft is None or not light.ttft:
        return unknown(rule, "What reading a prompt takes is not known.", "streamed replies at one user", *shown)
    alone = max(0.0, whole - light.tpot)
    longer = top.prompt / light.prompt if top.prompt and light.prompt else 1.0
    share, grown = top.replies_per_s * alone * longer, _grown(light, top)
    shown += [
        Fact(f"reading one prompt at {light.users} users", alone, "seconds"),
        Fact(f"share of the time that this takes at {top.users} users, at most", share, "fraction"),
        Fact(f"median first word at {top.users} users over that at {light.users}", top.ttft / light.ttft, ""),
        Fact(f"median time a token at {top.users} users over that at {light.users}", (top.tpot or 0) / light.tpot, ""),
    ]
    if share < MOST or (grown < GROWN and top is not light):
        return absent(rule, f"Reading prompts takes {percent(min(1.0, share))} of the server's time at most.", *shown)
    if missing := _missing(light, top):
        why = (
            f"Reading prompts takes up to {percent(min(1.0, share))} of the server's time; how much of it is not known."
        )
        return unknown(rule, why, missing, *shown)
    confidence, told = graded(
        {
            "the server tells how long prompts take": True if light.prefill is not None else None,
            "what is left of the time is short": share >= (MOST + 1) / 2,
        }
    )
    first = next(load for load in facts.loads if _grown(light, load) >= GROWN)
    why = f"Reading prompts takes about {percent(min(1.0, share))} of the server's time at {top.users} users. From"
    why += f" {light.users} to {top.users} users the first word's median wait went from {seconds(light.ttft)} to"
    why += f" {seconds(top.ttft)}, the time a token from {seconds(light.tpot)} to {seconds(top.tpot or 0.0)}."
    return Ruling(
        rule, "holds", why, says="reading prompts takes up the server's time", from_users=first.users,
        evidence=tuple(shown), confidence=confidence, confidence_from=told,
        advice=advised(FASTER_PROMPTS, facts.engine),
    )  # fmt: skip


def _grown(light: Load, load: Load) -> float:
    """By what users felt the load most: the wait for the first word, or the time a token."""
    waits = load.ttft / light.ttft if load.ttft and light.ttft else 1.0
    types = load.tpot / light.tpot if load.tpot and light.tpot else 1.0
    return max(waits, types)


def _missing(light: Load, top: Load) -> str:
    """What it would take to say more than at most."""
    if light.prompt is None or top.prompt is None:
        return "prompt and cached tokens, from the usage of each reply or the server's counters"
    return "a level with one user, and one with more" if light.crowd.in_flight > LIGHT or top is light else ""


@dataclass(frozen=True)
class Slope:
    """How the throughput grew with the batch between two levels."""

    low: Load
    high: Load
    power: float
    """1: every reply more brings its full speed; 0: it brings nothing"""
    error: float | None
    """standard error"""


def slope(loads: tuple[Load, ...]) -> Slope | None:
    """Between the largest batch that was measured and the largest that was at least so much smaller.

    Levels at which memory ran out are left out: there it is that, and work done twice, that the throughput shows.
    """
    known = [load for load in loads if load.tokens_per_s and load.batch > 0 and not at_wall(load)]
    if not known:
        return None
    high = max(known, key=lambda load: load.batch)
    low = max((one for one in known if one.batch * LIKE <= high.batch), key=lambda load: load.batch, default=None)
    if low is None or not low.tokens_per_s or not high.tokens_per_s:
        return None
    stretch = math.log(high.batch / low.batch)
    errors = (low.tokens_error, high.tokens_error)
    error = None if None in errors else math.hypot(*(e or 0.0 for e in errors)) / stretch
    return Slope(low, high, math.log(high.tokens_per_s / low.tokens_per_s) / stretch, error)


def ceiling(facts: Facts) -> Ruling:
    """More replies at once bring hardly more tokens a second: the machine gives what it has."""
    rule = "ceiling"
    found = slope(facts.loads)
    if found is None:
        needs = "streamed replies at two numbers of users that the server works on at once"
        return unknown(rule, "There are not two sizes of the batch to compare.", needs)
    low, high = found.low, found.high
    shown = (
        Fact(f"tokens a second at {low.users} users", low.tokens_per_s or 0.0, "tokens/s"),
        Fact(f"tokens a second at {high.users} users", high.tokens_per_s or 0.0, "tokens/s"),
        Fact(f"replies worked on at once at {low.users} users, mean", low.batch, "replies"),
        Fact(f"replies worked on at once at {high.users} users, mean", high.batch, "replies"),
        Fact("what twice the batch would bring", 2**found.power, ""),
    )
    wide = NOISE * (found.error or 0.0)
    grew = f"{decimals(high.batch / low.batch)} times the replies at once brought"
    grew += f" {decimals((high.tokens_per_s or 0.0) / (low.tokens_per_s or 1.0))} times the tokens a second."
    if found.power > FLAT:
        if found.error is not None and found.power - wide < FLAT / 2:
            return unknown(rule, f"{grew} That is within the noise.", "longer levels (--hold)", *shown)
        return absent(rule, grew, *shown)
    if _pauses(high):
        needs = "the use of the KV cache and preemptions from the server's metrics"
        return unknown(rule, f"{grew} But replies paused in mid-answer, as with a full KV cache.", needs, *shown)
    if found.error is None or found.power + wide > RISING:
        return unknown(rule, f"{grew} How steady that is, the levels are too short to tell.", "longer levels", *shown)
    return _flat(facts, found, grew, shown, wide)


def _pauses(load: Load) -> bool:
    """Whether, with nothing known of the KV cache, replies that seem to be worked on may be on hold."""
    gap, token = load.longest_gap, load.tpot
    return load.kv_max is None and gap is not None and gap >= PAUSE and gap >= MANY_TOKENS * (token or 0.0)


def _flat(facts: Facts, found: Slope, grew: str, shown: tuple[Fact, ...], wide: float) -> Ruling:
    low, high = found.low, found.high
    slower, most = None, max(load.tokens_per_s or 0.0 for load in facts.loads)
    if low.tpot and high.tpot:
        slower = math.log(high.tpot / low.tpot) / math.log(high.batch / low.batch) >= 1 - RISING
    confidence, told = graded(
        {
            "each reply is typed the slower the more there are": slower,
            "well beyond the noise": found.power + wide <= FLAT,
        }
    )
    return Ruling(
        "ceiling", "holds", grew, says="the machine's tokens a second are used up",
        from_users=next(load.users for load in facts.loads if (load.tokens_per_s or 0.0) >= REACHED * most),
        evidence=shown, confidence=confidence, confidence_from=told, advice=OUTGROWN,
    )  # fmt: skip

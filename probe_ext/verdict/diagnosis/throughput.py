"""Is the hardware's speed the limit: prefill, or decode?"""

import math
from dataclasses import dataclass

from probe_ext.verdict.diagnosis.batch_limit import COMPARABLE
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.kv_cache import MIN_PREEMPTION_PAUSE_S, out_of_memory
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.values.formats import decimals, percent, seconds
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MAX_LIGHT_LOAD = 2.0
"""Mean replies in flight up to which a level shows how long a prompt takes by itself."""
MIN_PREFILL_SHARE = 0.5
"""Of the server's time."""
MIN_SLOWDOWN = 2.0
"""Over the lightest level, of the wait for the first word or the time per token."""
MAX_FLAT, MIN_RISING = 1 / 3, 0.5
"""Throughput as a power of the batch size; at a third, doubling the batch brings a quarter more."""
AT_CEILING = 0.9
"""Of the highest throughput of all levels."""
PAUSE_TOKENS = 10
"""A gap as long as this many tokens take is a pause, not slow typing."""
NOISE_SIGMA = 2.0
"""Standard errors."""

FASTER_PROMPTS = {
    "vllm": "Move what all prompts share to the front, so that --enable-prefix-caching skips its prefill; shorten "
    "prompts; try a larger --max-num-batched-tokens. Beyond that, more compute is needed: a faster GPU or a second "
    "server.",
    "": "Move what all prompts share to the front and enable prefix caching; shorten prompts. Beyond that, more compute "
    "is needed: a faster GPU or a second server.",
}
HARDWARE_LIMIT = (
    "The hardware is the limit: more users share the same tokens per second. A smaller or more heavily quantised "
    "model, a faster GPU or a second server raises it; settings hardly do."
)


def prefill_bound(facts: Facts) -> Ruling:
    """Most of the server's time goes into prefill, which delays first words or slows typing down."""
    rule = "prefill_bound"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    top = facts.loads[-1]
    prompts = top.prompt_per_s if top.prompt_per_s is not None else top.prompt_per_s_most
    generated, shown = top.tokens_per_s, []
    if prompts is not None and generated is not None:
        shown = [
            Fact(f"prompt tokens processed, at {things(top.users, 'user')}", prompts, "tokens/s"),
            Fact(f"tokens generated, at {things(top.users, 'user')}", generated, "tokens/s"),
        ]
        if prompts <= generated:
            why = "More tokens were generated than processed in prompts, and decode costs at least as much per token."
            return absent(rule, why, *shown)
    return _prefill_share(facts, facts.loads[0], top, shown)


def _prefill_share(facts: Facts, light: Load, top: Load, shown: list[Fact]) -> Ruling:
    """Estimate the share of time that the top level's prompts would take one by one, without one decode step each.

    An upper bound: the lightest level may have had other requests beside it, and more may be cached at the top.
    """
    rule = "prefill_bound"
    whole = light.prefill if light.prefill is not None else light.ttft
    if whole is None or not light.tpot or top.ttft is None or not light.ttft:
        return unknown(rule, "How long a prompt takes is not known.", "streamed replies with one user", *shown)
    alone = max(0.0, whole - light.tpot)
    longer = top.prompt / light.prompt if top.prompt and light.prompt else 1.0
    share, grown = top.replies_per_s * alone * longer, _grown(light, top)
    shown += [
        Fact(f"prefill of one prompt at {things(light.users, 'user')}", alone, "seconds"),
        Fact(f"share of the time that it takes at {things(top.users, 'user')}, at most", share, "fraction"),
        Fact(f"median first word at {things(top.users, 'user')} over that at {light.users}", top.ttft / light.ttft, ""),
        Fact(
            f"median time per token at {things(top.users, 'user')} over that at {light.users}",
            (top.tpot or 0) / light.tpot,
            "",
        ),
    ]
    if share < MIN_PREFILL_SHARE or (grown < MIN_SLOWDOWN and top is not light):
        return absent(rule, f"Prefill takes at most {percent(min(1.0, share))} of the server's time.", *shown)
    if missing := _missing(light, top):
        why = f"Prefill takes up to {percent(min(1.0, share))} of the server's time; how much exactly is not known."
        return unknown(rule, why, missing, *shown)
    confidence, reason = graded(
        {
            "the server reports the prefill time": True if light.prefill is not None else None,
            "little time is left for anything else": share >= (MIN_PREFILL_SHARE + 1) / 2,
        }
    )
    first = next(load for load in facts.loads if _grown(light, load) >= MIN_SLOWDOWN)
    why = f"Prefill takes about {percent(min(1.0, share))} of the server's time at {things(top.users, 'user')}. From"
    why += f" {light.users} to {top.users} users the median first word went from {seconds(light.ttft)} to"
    why += f" {seconds(top.ttft)}, the time per token from {seconds(light.tpot)} to {seconds(top.tpot or 0.0)}."
    return Ruling(
        rule, "holds", why, label="prefill takes up the server's time", from_users=first.users,
        evidence=tuple(shown), confidence=confidence, confidence_from=reason,
        advice=advised(FASTER_PROMPTS, facts.engine),
    )  # fmt: skip


def _grown(light: Load, load: Load) -> float:
    """Return the larger slowdown: of the wait for the first word, or of the time per token."""
    waits = load.ttft / light.ttft if load.ttft and light.ttft else 1.0
    types = load.tpot / light.tpot if load.tpot and light.tpot else 1.0
    return max(waits, types)


def _missing(light: Load, top: Load) -> str:
    """Say what is needed for more than an upper bound; empty where nothing is missing."""
    if light.prompt is None or top.prompt is None:
        return "prompt and cached tokens, from the usage of replies or the server's counters"
    return "a level with one user and one with more" if light.crowd.in_flight > MAX_LIGHT_LOAD or top is light else ""


@dataclass(frozen=True)
class Slope:
    """Growth of throughput with the batch size between two levels."""

    low: Load
    high: Load
    power: float
    """1: throughput grows in proportion to the batch; 0: not at all"""
    error: float | None
    """standard error"""


def slope(loads: tuple[Load, ...]) -> Slope | None:
    """Compare the largest batch measured with the largest one that is sufficiently smaller; None without two.

    Levels that ran out of memory are left out: their throughput shows that, and work done twice.
    """
    known = [load for load in loads if load.tokens_per_s and load.batch > 0 and not out_of_memory(load)]
    if not known:
        return None
    high = max(known, key=lambda load: load.batch)
    low = max((one for one in known if one.batch * COMPARABLE <= high.batch), key=lambda load: load.batch, default=None)
    if low is None or not low.tokens_per_s or not high.tokens_per_s:
        return None
    stretch = math.log(high.batch / low.batch)
    errors = (low.tokens_error, high.tokens_error)
    error = None if None in errors else math.hypot(*(e or 0.0 for e in errors)) / stretch
    return Slope(low, high, math.log(high.tokens_per_s / low.tokens_per_s) / stretch, error)


def ceiling(facts: Facts) -> Ruling:
    """Throughput hardly grows with more concurrent replies: the hardware is at its limit."""
    rule = "ceiling"
    found = slope(facts.loads)
    if found is None:
        needs = "streamed replies at two levels with different batch sizes"
        return unknown(rule, "There are no two batch sizes to compare.", needs)
    low, high = found.low, found.high
    shown = (
        Fact(f"tokens/s at {things(low.users, 'user')}", low.tokens_per_s or 0.0, "tokens/s"),
        Fact(f"tokens/s at {things(high.users, 'user')}", high.tokens_per_s or 0.0, "tokens/s"),
        Fact(f"mean batch size at {things(low.users, 'user')}", low.batch, "replies"),
        Fact(f"mean batch size at {things(high.users, 'user')}", high.batch, "replies"),
        Fact("factor in tokens/s from doubling the batch", 2**found.power, ""),
    )
    margin = NOISE_SIGMA * (found.error or 0.0)
    grew = f"{decimals(high.batch / low.batch)} times the batch size brought"
    grew += f" {decimals((high.tokens_per_s or 0.0) / (low.tokens_per_s or 1.0))} times the tokens per second."
    if found.power > MAX_FLAT:
        if found.error is not None and found.power - margin < MAX_FLAT / 2:
            return unknown(rule, f"{grew} That is within noise.", "longer levels (--hold)", *shown)
        return absent(rule, grew, *shown)
    if _pauses(high):
        needs = "KV-cache usage and preemptions from the server's metrics"
        return unknown(
            rule, f"{grew} But replies paused in mid-answer, as they do with a full KV cache.", needs, *shown
        )
    if found.error is None or found.power + margin > MIN_RISING:
        return unknown(rule, f"{grew} The levels are too short to tell how steady that is.", "longer levels", *shown)
    return _flat(facts, found, grew, shown, margin)


def _pauses(load: Load) -> bool:
    """Tell whether replies that seem to be running may be preempted, where the KV-cache usage is not known."""
    gap, token = load.longest_gap, load.tpot
    return (
        load.kv_max is None
        and gap is not None
        and gap >= MIN_PREEMPTION_PAUSE_S
        and gap >= PAUSE_TOKENS * (token or 0.0)
    )


def _flat(facts: Facts, found: Slope, grew: str, shown: tuple[Fact, ...], margin: float) -> Ruling:
    low, high = found.low, found.high
    slower, most = None, max(load.tokens_per_s or 0.0 for load in facts.loads)
    if low.tpot and high.tpot:
        slower = math.log(high.tpot / low.tpot) / math.log(high.batch / low.batch) >= 1 - MIN_RISING
    confidence, reason = graded(
        {
            "each reply slows down as the batch grows": slower,
            "well beyond noise": found.power + margin <= MAX_FLAT,
        }
    )
    return Ruling(
        "ceiling", "holds", grew, label="the hardware's throughput is used up",
        from_users=next(load.users for load in facts.loads if (load.tokens_per_s or 0.0) >= AT_CEILING * most),
        evidence=shown, confidence=confidence, confidence_from=reason, advice=HARDWARE_LIMIT,
    )  # fmt: skip

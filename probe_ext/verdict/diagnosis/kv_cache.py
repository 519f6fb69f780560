"""Is the KV cache full?"""

import numpy as np

from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.server.gauges import MIN_QUEUED_SAMPLES
from probe_ext.verdict.values.formats import percent
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

NEARLY_FULL = 0.9
"""KV-cache usage below which no request waits for memory."""
MIN_PREEMPTION_PAUSE_S = 1.0
"""Gap in mid-reply that a preemption explains."""

MORE_MEMORY = {
    "vllm": "Give the KV cache more room: raise --gpu-memory-utilization, use --kv-cache-dtype fp8 or smaller weights. "
    "Or need less: shorter prompts and answers, or a common prefix that --enable-prefix-caching shares.",
    "sglang": "Give the KV cache more room: raise --mem-fraction-static, use --kv-cache-dtype fp8_e5m2 or smaller "
    "weights. Or need less: shorter prompts and answers, or a common prefix that the cache shares.",
    "": "Give the KV cache more room (a larger share of GPU memory, an 8-bit cache, smaller weights), or need less: "
    "shorter prompts and answers, or a common prefix.",
}
_OTHERWISE = " To queue requests instead of pausing replies, run fewer at once. Otherwise the hardware is the limit."


def memory_wall(facts: Facts) -> Ruling:
    """The KV cache is full: replies are preempted, or requests wait for memory."""
    rule = "memory_wall"
    reported = [load for load in facts.loads if load.kv_max is not None]
    if not reported:
        needs = "KV-cache usage and preemptions from the server's metrics"
        return unknown(rule, "The KV-cache usage is not known.", needs)
    saturated = [load for load in reported if out_of_memory(load)]
    fullest = max(reported, key=lambda load: load.kv_max or 0.0)
    shown = Fact(f"peak KV-cache usage, at {things(fullest.users, 'user')}", fullest.kv_max or 0.0, "fraction")
    if saturated:
        return _saturated(facts, saturated, shown)
    if (fullest.kv_max or 0.0) < NEARLY_FULL:
        return absent(rule, f"KV-cache usage never exceeded {percent(fullest.kv_max or 0.0)}.", shown)
    why = f"The KV cache was {percent(fullest.kv_max or 0.0)} full at {things(fullest.users, 'user')}, near saturation,"
    return absent(rule, f"{why} but no reply was preempted and no request waited for memory.", shown)


def _saturated(facts: Facts, saturated: list[Load], shown: Fact) -> Ruling:
    first, top = saturated[0], saturated[-1]
    preempted = sum(load.preemptions or 0 for load in saturated)
    kept = _no_room(top)
    gap = max((load.longest_gap or 0.0 for load in saturated), default=0.0)
    full = [load for load in saturated if (load.kv_max or 0.0) >= NEARLY_FULL]
    confidence, reason = graded(
        {
            "replies were preempted": preempted > 0,
            "requests waited while the cache had no room for another": True if kept else None,
            "users saw replies pause": True if preempted and gap >= MIN_PREEMPTION_PAUSE_S else None,
            "the cache was observed full": bool(full),
        }
    )
    evidence = [shown, Fact("preemptions at these levels", float(preempted), "events")]
    evidence.append(Fact("longest silence in mid-reply", gap, "seconds"))
    waiting = top.gauges.waiting[~np.isnan(top.gauges.waiting)]
    if len(waiting):
        evidence.append(
            Fact(f"peak of waiting requests at {things(top.users, 'user')}", float(waiting.max()), "requests")
        )
    effect = f"{things(preempted, 'preemption')}" if preempted else "requests waited for memory"
    why = f"From {things(first.users, 'user')} on the KV cache had no room for another reply: {effect}."
    return Ruling(
        "memory_wall", "holds", why, label="the KV cache is full", from_users=first.users, evidence=tuple(evidence),
        confidence=confidence, confidence_from=reason, advice=advised(MORE_MEMORY, facts.engine) + _OTHERWISE,
    )  # fmt: skip


def out_of_memory(load: Load) -> bool:
    """Tell whether memory ran out: replies were preempted, or requests waited for room in the KV cache."""
    return bool(load.preemptions) or _no_room(load)


def _no_room(load: Load) -> bool:
    """Tell whether requests waited while the cache could not have held another reply, most of the time."""
    room = load.gauges.room[load.gauges.queued]
    room = room[~np.isnan(room)]
    return len(room) >= MIN_QUEUED_SAMPLES and float(np.median(room)) < 1

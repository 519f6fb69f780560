"""Is the KV cache full?"""

import numpy as np

from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import NEARLY_FULL, Load
from probe_ext.verdict.diagnosis.rules.ruling import absent, advised, graded, holds, needed_metrics, unknown
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

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
        needs = needed_metrics(facts, "KV-cache usage and preemptions", "kv_usage")
        return unknown(rule, "The KV-cache usage is not known.", needs)
    saturated = [load for load in reported if load.out_of_memory]
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
    kept = any(engine.no_room for engine in top.engines.values())
    gap = max((load.longest_gap or 0.0 for load in saturated), default=0.0)
    full = [load for load in saturated if (load.kv_max or 0.0) >= NEARLY_FULL]
    grade = graded(
        {"the cache was observed full": bool(full)},
        {
            "the server's counter shows preemptions": preempted > 0,
            "requests waited while the cache had no room for another": True if kept else None,
            "users saw replies pause": True if preempted and gap >= MIN_PREEMPTION_PAUSE_S else None,
        },
    )
    evidence = [shown, Fact("preemptions at these levels", float(preempted), "")]
    evidence.append(Fact("longest silence in mid-reply", gap, "seconds"))
    waiting = top.gauges.waiting[~np.isnan(top.gauges.waiting)]
    if len(waiting):
        evidence.append(
            Fact(f"peak of waiting requests at {things(top.users, 'user')}", float(waiting.max()), "requests")
        )
    effect = f"{things(preempted, 'preemption')}" if preempted else "requests waited for memory"
    why = f"From {things(first.users, 'user')} on the KV cache had no room for another reply: {effect}."
    advice = advised(MORE_MEMORY, facts.engine) + _OTHERWISE
    return holds("memory_wall", why, "the KV cache is full", grade, advice, evidence, first.users)

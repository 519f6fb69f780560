"""Is the KV cache full?"""

import numpy as np

from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.server.gauges import SAMPLES
from probe_ext.verdict.values.formats import percent
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

CALM = 0.9
"""of the KV cache: below it, nothing that waits does so for memory"""
PAUSE = 1.0
"""seconds: a gap in mid-reply that a preemption explains"""

MORE_MEMORY = {
    "vllm": "Give the KV cache more room: --gpu-memory-utilization up, --kv-cache-dtype fp8, smaller weights; or need "
    "less: shorter prompts and answers, or static prompts first, so that --enable-prefix-caching shares them.",
    "sglang": "Give the KV cache more room: --mem-fraction-static up, --kv-cache-dtype fp8_e5m2, smaller weights; or "
    "need less: shorter prompts and answers, or static prompts first, so that they are shared.",
    "": "Give the KV cache more room (a larger share of the card's memory, an 8-bit cache, smaller weights), or need "
    "less: shorter prompts and answers, or a beginning that all prompts share.",
}
_ELSE = " To queue instead of pausing, let fewer run at once. If none of that is left, the box is outgrown."


def memory_wall(facts: Facts) -> Ruling:
    """Replies are put on hold, or not let in, because the KV cache has no room for one more."""
    rule = "memory_wall"
    told = [load for load in facts.loads if load.kv_max is not None]
    if not told:
        needs = "the use of the KV cache and preemptions from the server's metrics"
        return unknown(rule, "How full the KV cache was is not known.", needs)
    walled = [load for load in told if at_wall(load)]
    fullest = max(told, key=lambda load: load.kv_max or 0.0)
    shown = Fact(f"KV cache at its fullest, at {fullest.users} users", fullest.kv_max or 0.0, "fraction")
    if walled:
        return _walled(facts, walled, shown)
    if (fullest.kv_max or 0.0) < CALM:
        return absent(rule, f"The KV cache was never more than {percent(fullest.kv_max or 0.0)} full.", shown)
    why = f"The KV cache was {percent(fullest.kv_max or 0.0)} full at {things(fullest.users, 'user')}, on the edge, but"
    return absent(rule, f"{why} nobody was put on hold or kept waiting for it yet.", shown)


def _walled(facts: Facts, walled: list[Load], shown: Fact) -> Ruling:
    first, top = walled[0], walled[-1]
    preempted = sum(load.preemptions or 0 for load in walled)
    kept = _no_room(top)
    gap = max((load.longest_gap or 0.0 for load in walled), default=0.0)
    full = [load for load in walled if (load.kv_max or 0.0) >= CALM]
    confidence, told = graded(
        {
            "replies were put on hold (preempted)": preempted > 0,
            "replies waited while the cache had no room for one more": True if kept else None,
            "users saw replies pause": True if preempted and gap >= PAUSE else None,
            "the cache was seen full": bool(full),
        }
    )
    facts_seen = [shown, Fact("preemptions at these levels", float(preempted), "events")]
    facts_seen.append(Fact("longest silence in mid-reply", gap, "seconds"))
    waiting = top.gauges.waiting[~np.isnan(top.gauges.waiting)]
    if len(waiting):
        facts_seen.append(Fact(f"waiting at {top.users} users, most", float(waiting.max()), "replies"))
    hold = f"{things(preempted, 'time')} a reply was put on hold" if preempted else "replies were not let in"
    why = f"From {things(first.users, 'user')} on the KV cache had no room for one more: {hold}."
    return Ruling(
        "memory_wall", "holds", why, says="the KV cache is full", from_users=first.users, evidence=tuple(facts_seen),
        confidence=confidence, confidence_from=told, advice=advised(MORE_MEMORY, facts.engine) + _ELSE,
    )  # fmt: skip


def at_wall(load: Load) -> bool:
    """Whether memory ran out: replies were put on hold, or not let in for want of room."""
    return bool(load.preemptions) or _no_room(load)


def _no_room(load: Load) -> bool:
    """Whether replies waited for a while and, most of that time, the cache could not have held one more."""
    room = load.gauges.room[load.gauges.queued]
    room = room[~np.isnan(room)]
    return len(room) >= SAMPLES and float(np.median(room)) < 1

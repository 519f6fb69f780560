"""Is it a fixed number of replies that the server takes on at once?"""

import numpy as np

from probe_ext.verdict.diagnosis.concurrency import CROWDED
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.server.gauges import SAMPLES
from probe_ext.verdict.values.formats import count
from probe_ext.verdict.values.ruling_types import Fact, Ruling

AT_THE_CAP = 0.8
"""of these samples with the running ones at their highest"""
SLACK, FEW = 0.1, 4
"""below their highest, or one, or none of a few: places free only for a step"""
EXACTLY = 0.5
"""of the samples at the very number, where one level alone has to tell, or where two tell it together"""
LIKE = 1.3
"""times: two numbers of users further apart may tell something by their difference"""
MORE_PLACES = {
    "llama.cpp": "Start llama-server with more slots (--parallel N, and N times the context).",
    "ollama": "Raise OLLAMA_NUM_PARALLEL.",
    "sglang": "Raise --max-running-requests.",
    "tgi": "Raise --max-batch-total-tokens or --max-batch-size.",
    "vllm": "Raise --max-num-seqs.",
    "": "Raise the number of replies that the server works on at once (vLLM calls it --max-num-seqs).",
}


def batch_limit(facts: Facts) -> Ruling:
    """So many at once and no more, with room in the KV cache for others: a setting, not the machine."""
    rule = "batch_limit"
    told = [load for load in facts.loads if not np.isnan(load.gauges.waiting).all()]
    if not told:
        return _from_outside(facts)
    queued = [load for load in told if int(load.gauges.queued.sum()) >= SAMPLES]
    if not queued:
        most = max(float(np.nanmax(load.gauges.waiting)) for load in told)
        why = "The server let nobody wait for a place for longer than a moment."
        return absent(rule, why, Fact("waiting at once, most", most, "replies"))
    return _capped(facts, queued)


def _capped(facts: Facts, queued: list[Load]) -> Ruling:
    rule, top = "batch_limit", queued[-1]
    cap, steady = _cap(top)
    room = _room(top)
    waiting = float(top.gauges.waiting[top.gauges.queued].mean())
    shown = [
        Fact(f"running at once while others waited, most, at {top.users} users", cap, "replies"),
        Fact("share of the samples at about that number", steady, "fraction"),
        Fact("waiting meanwhile, mean", waiting, "replies"),
    ]
    if cap <= 1:
        return absent(rule, "One at a time is no batch: see `serialised`.", *shown)
    stands = steady >= AT_THE_CAP or _stands_elsewhere(cap, queued)
    if not stands or any((load.running_max or 0) > cap + _slack(cap) for load in facts.loads):
        why = "Replies waited, but not for a fixed number of places: how many ran kept changing."
        return absent(rule, why, *shown)
    if not _sure_of(cap, queued):
        why = f"About {count(cap)} ran while others waited, at one level only: they may have waited for a step to end."
        return unknown(rule, why, "a level of a third more users", *shown)
    if room is None and facts.slots != cap:
        why = f"The server ran {count(cap)} at once and let others wait, whether by a setting or for want of memory."
        return unknown(rule, why, "the use of the KV cache, which this server does not tell", *shown)
    if room is not None:
        shown.append(Fact("replies more that the KV cache had room for", room, "replies"))
        if room < 1 or top.preemptions:
            return absent(rule, "Others waited because the KV cache was full: see `memory_wall`.", *shown)
    return _set_limit(facts, queued, cap, tuple(shown))


def _set_limit(facts: Facts, queued: list[Load], cap: float, shown: tuple[Fact, ...]) -> Ruling:
    top, room = queued[-1], _room(queued[-1])
    before = [load for load in queued[:-1] if load.users < top.users]
    typed = top.crowd.typing_top
    confidence, told = graded(
        {
            "the same number at another level": _alike(_cap(before[-1])[0], cap) if before else None,
            "no more than that typed at once, seen from outside": None if typed is None else typed <= cap,
            "the server says that it is set to it": True if facts.slots == cap else None,
        }
    )
    why = f"Never more than {count(cap)} replies ran while others waited for a place"
    why += f", with room for about {count(room)} more in the KV cache." if room is not None else "."
    advice = advised(MORE_PLACES, facts.engine)
    if room is not None:
        advice += f" The KV cache has room for about {count(cap + room)} of today's replies at once."
    return Ruling(
        "batch_limit", "holds", why, says=f"no more than {count(cap)} replies run at once",
        from_users=min(load.users for load in queued if _alike(_cap(load)[0], cap)),
        evidence=shown, confidence=confidence, confidence_from=told, advice=advice,
    )  # fmt: skip


def _cap(load: Load) -> tuple[float, float]:
    """The most that ran while others waited, and the share of those samples that were about there."""
    running = load.gauges.running[load.gauges.queued]
    running = running[~np.isnan(running)]
    if not len(running):
        return 0.0, 0.0
    most = float(running.max())
    return most, float((running >= most - _slack(most)).mean())


def _exactly(cap: float, load: Load) -> bool:
    """Whether the very number ran in half of the samples with somebody waiting, or more."""
    running = load.gauges.running[load.gauges.queued]
    running = running[~np.isnan(running)]
    return bool(len(running)) and float((running == cap).mean()) >= EXACTLY


def _stands_elsewhere(cap: float, queued: list[Load]) -> bool:
    """Whether the very same number stood at a level of fewer users, too, in half of the samples of both or more.

    Steps may take seconds, and the gauges tell of places as they were before the step: those that were filled long
    since still look free, in more samples than the other sign allows.
    """
    top = queued[-1]
    others = [load for load in queued if load.users * LIKE <= top.users and _cap(load)[0] == cap]
    return _exactly(cap, top) and any(_exactly(cap, load) for load in others)


def _slack(cap: float) -> float:
    """Places that are free for a step, as replies end."""
    return max(1.0, SLACK * cap) if cap > FEW else 0.0


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _slack(max(one, other))


def _sure_of(cap: float, queued: list[Load]) -> bool:
    """Whether it is the same at a level of a third more users; else whether it hardly ever was another, and the queue
    was never short: requests that came in mid-step wait for the next one."""
    top = queued[-1]
    if any(load.users * LIKE <= top.users and _alike(_cap(load)[0], cap) for load in queued):
        return True
    always = float((top.gauges.queued).mean()) >= AT_THE_CAP and float(np.nanmean(top.gauges.waiting)) >= 1
    return always and _exactly(cap, top)


def _room(load: Load) -> float | None:
    room = load.gauges.room[load.gauges.queued]
    room = room[~np.isnan(room)]
    return float(np.median(room)) if len(room) else None


def _from_outside(facts: Facts) -> Ruling:
    """Without the server's word, only that so many and no more were typed at once."""
    rule, needs = "batch_limit", "the server's metrics: running, waiting and the use of the KV cache"
    busy = [load for load in facts.loads if load.crowd.typing_top and load.crowd.in_flight >= CROWDED]
    if not busy:
        return unknown(rule, "Nothing was seen of replies being typed beside others.", needs)
    top = busy[-1]
    typed = float(top.crowd.typing_top or 0)
    shown = Fact(f"typed at once in nine tenths of the time at most, at {top.users} users", typed, "replies")
    if top.crowd.typing >= top.crowd.in_flight / LIKE:
        return absent(rule, f"Nearly all of {top.users} users were typed to at the same time.", shown)
    if typed <= 1:
        return absent(rule, "One at a time is no batch: see `serialised`.", shown)
    same = [load for load in busy if load.users * LIKE <= top.users and load.crowd.typing_top == typed]
    if not same:
        return unknown(rule, "Not everybody was typed to at once; why, the streams do not tell.", needs, shown)
    why = f"No more than {count(typed)} were typed to at once, whether {same[0].users} or {top.users} users asked: a"
    return unknown(rule, why + " limit, by a setting or for want of memory.", needs, shown)

"""Does the server run only a fixed number of requests at once?"""

import numpy as np

from probe_ext.verdict.diagnosis.concurrency import CROWDED
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.server.gauges import MIN_QUEUED_SAMPLES
from probe_ext.verdict.values.formats import count
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MIN_AT_CAP = 0.8
"""Share of samples with a queue in which as many requests run as at most."""
SLACK, SMALL_CAP = 0.1, 4
"""Slots that may be free for one step: a tenth of the cap, at least one, none of a small cap."""
MIN_EXACTLY_AT_CAP = 0.5
"""Share of samples with exactly that number, where one level alone or two together must show it."""
COMPARABLE = 1.3
"""Ratio of two numbers of users above which their difference may show something."""
MORE_SLOTS = {
    "llama.cpp": "Start llama-server with more slots (--parallel N, and N times the context).",
    "ollama": "Raise OLLAMA_NUM_PARALLEL.",
    "sglang": "Raise --max-running-requests.",
    "tgi": "Raise --max-batch-total-tokens or --max-batch-size.",
    "vllm": "Raise --max-num-seqs.",
    "": "Raise the number of requests that the server runs at once (--max-num-seqs in vLLM).",
}


def batch_limit(facts: Facts) -> Ruling:
    """A fixed number of requests run at once although the KV cache has room: a setting, not the hardware."""
    rule = "batch_limit"
    reported = [load for load in facts.loads if not np.isnan(load.gauges.waiting).all()]
    if not reported:
        return _from_outside(facts)
    queued = [load for load in reported if int(load.gauges.queued.sum()) >= MIN_QUEUED_SAMPLES]
    if not queued:
        most = max(float(np.nanmax(load.gauges.waiting)) for load in reported)
        why = "No request waited for a slot for more than a moment."
        return absent(rule, why, Fact("peak of waiting requests", most, "requests"))
    return _capped(facts, queued)


def _capped(facts: Facts, queued: list[Load]) -> Ruling:
    rule, top = "batch_limit", queued[-1]
    cap, steady = _cap(top)
    room = _room(top)
    waiting = float(top.gauges.waiting[top.gauges.queued].mean())
    shown = [
        Fact(f"peak of running requests while others waited, at {things(top.users, 'user')}", cap, "requests"),
        Fact("samples at about that number", steady, "fraction"),
        Fact("mean of waiting requests meanwhile", waiting, "requests"),
    ]
    if cap <= 1:
        return absent(rule, "Requests run one at a time: see `serialised`.", *shown)
    fixed = steady >= MIN_AT_CAP or _same_at_fewer_users(cap, queued)
    if not fixed or any((load.running_max or 0) > cap + _slack(cap) for load in facts.loads):
        why = "Requests waited, but not for a fixed number of slots: the number running kept changing."
        return absent(rule, why, *shown)
    if not _sure_of(cap, queued):
        why = f"About {count(cap)} requests ran while others waited, but at one level only: perhaps for one step."
        return unknown(rule, why, "a level with a third more users", *shown)
    if room is None and facts.slots != cap:
        why = f"The server ran {count(cap)} requests at once and queued the others, by a setting or for lack of memory."
        return unknown(rule, why, "KV-cache usage, which this server does not report", *shown)
    if room is not None:
        shown.append(Fact("further replies that the KV cache had room for", room, "replies"))
        if room < 1 or top.preemptions:
            return absent(rule, "Requests waited because the KV cache was full: see `memory_wall`.", *shown)
    return _set_limit(facts, queued, cap, tuple(shown))


def _set_limit(facts: Facts, queued: list[Load], cap: float, shown: tuple[Fact, ...]) -> Ruling:
    top, room = queued[-1], _room(queued[-1])
    before = [load for load in queued[:-1] if load.users < top.users]
    typed = top.crowd.typing_top
    confidence, reason = graded(
        {
            "the same number at another level": _alike(_cap(before[-1])[0], cap) if before else None,
            "clients never saw more replies typing at once": None if typed is None else typed <= cap,
            "the server reports this number as its setting": True if facts.slots == cap else None,
        }
    )
    why = f"No more than {count(cap)} requests ran while others waited for a slot"
    why += f", although the KV cache had room for about {count(room)} more." if room is not None else "."
    advice = advised(MORE_SLOTS, facts.engine)
    if room is not None:
        advice += f" The KV cache has room for about {count(cap + room)} replies of this size at once."
    return Ruling(
        "batch_limit", "holds", why, label=f"no more than {count(cap)} requests run at once",
        from_users=min(load.users for load in queued if _alike(_cap(load)[0], cap)),
        evidence=shown, confidence=confidence, confidence_from=reason, advice=advice,
    )  # fmt: skip


def _cap(load: Load) -> tuple[float, float]:
    """Return the peak of running requests while others waited, and the share of those samples at about that number."""
    running = load.gauges.running[load.gauges.queued]
    running = running[~np.isnan(running)]
    if not len(running):
        return 0.0, 0.0
    most = float(running.max())
    return most, float((running >= most - _slack(most)).mean())


def _exactly(cap: float, load: Load) -> bool:
    """Tell whether exactly that number ran in at least half of the samples with a queue."""
    running = load.gauges.running[load.gauges.queued]
    running = running[~np.isnan(running)]
    return bool(len(running)) and float((running == cap).mean()) >= MIN_EXACTLY_AT_CAP


def _same_at_fewer_users(cap: float, queued: list[Load]) -> bool:
    """Tell whether the same number ran at a level of fewer users, in at least half of the samples of both.

    Steps may take seconds, and gauges show the slots before the step: slots filled long since still look free, in more
    samples than MIN_AT_CAP allows.
    """
    top = queued[-1]
    others = [load for load in queued if load.users * COMPARABLE <= top.users and _cap(load)[0] == cap]
    return _exactly(cap, top) and any(_exactly(cap, load) for load in others)


def _slack(cap: float) -> float:
    """Return how many slots may be free for a step as replies end."""
    return max(1.0, SLACK * cap) if cap > SMALL_CAP else 0.0


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _slack(max(one, other))


def _sure_of(cap: float, queued: list[Load]) -> bool:
    """Tell whether another level with a third fewer users shows the same number, or this one shows it clearly.

    Clearly: at exactly that number most of the time, with a queue that was never short, because requests that arrive in
    mid-step wait for the next one.
    """
    top = queued[-1]
    if any(load.users * COMPARABLE <= top.users and _alike(_cap(load)[0], cap) for load in queued):
        return True
    always = float((top.gauges.queued).mean()) >= MIN_AT_CAP and float(np.nanmean(top.gauges.waiting)) >= 1
    return always and _exactly(cap, top)


def _room(load: Load) -> float | None:
    room = load.gauges.room[load.gauges.queued]
    room = room[~np.isnan(room)]
    return float(np.median(room)) if len(room) else None


def _from_outside(facts: Facts) -> Ruling:
    """Without server metrics, clients only see how many replies were typing at once."""
    rule, needs = "batch_limit", "the server's metrics: requests running and waiting, KV-cache usage"
    busy = [load for load in facts.loads if load.crowd.typing_top and load.crowd.in_flight >= CROWDED]
    if not busy:
        return unknown(rule, "No replies were streamed side by side.", needs)
    top = busy[-1]
    typed = float(top.crowd.typing_top or 0)
    shown = Fact(f"replies typing at once, 90th percentile, at {things(top.users, 'user')}", typed, "replies")
    if top.crowd.typing >= top.crowd.in_flight / COMPARABLE:
        return absent(rule, f"Nearly all of {things(top.users, 'user')} received tokens at the same time.", shown)
    if typed <= 1:
        return absent(rule, "Requests run one at a time: see `serialised`.", shown)
    same = [load for load in busy if load.users * COMPARABLE <= top.users and load.crowd.typing_top == typed]
    if not same:
        return unknown(
            rule, "Not all users received tokens at the same time; the streams do not show why.", needs, shown
        )
    why = f"No more than {count(typed)} replies were typing at once, with {same[0].users} users as with {top.users}: a"
    return unknown(rule, why + " limit, by a setting or for lack of memory.", needs, shown)

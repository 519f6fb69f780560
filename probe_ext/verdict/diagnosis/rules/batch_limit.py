"""Does the server run only a fixed number of requests at once?"""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.diagnosis.facts.concurrency import CROWDED
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import COMPARABLE, EngineLoad, Load
from probe_ext.verdict.diagnosis.rules.ruling import absent, advised, deferred, graded, holds, needed_metrics, unknown
from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.evidence.evidence import quantile
from probe_ext.verdict.phrasing.formats import count, decimals, percent, rate
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.gauges import MIN_QUEUED_SAMPLES
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MIN_AT_CAP = 0.8
"""Share of samples with a queue in which as many requests run as at most."""
SLACK, SMALL_CAP = 0.1, 4
"""Slots that may be free for one step: a tenth of the cap, at least one, none of a small cap."""
MIN_EXACTLY_AT_CAP = 0.5
"""Share of samples with exactly that number, where one level alone or two together must show it."""
MAX_ROOM_SHARE = 0.8
"""Of the replies that the KV cache has room for, which a next value may use."""
MORE_SLOTS = {
    "llama.cpp": "Start llama-server with {next} slots instead of {now} (--parallel), and {times} times the context.",
    "ollama": "Raise OLLAMA_NUM_PARALLEL from {now} to {next}.",
    "sglang": "Raise --max-running-requests from {now} to {next}, no further for a start.",
    "tgi": "Raise --max-batch-size, or --max-batch-total-tokens, so that {next} requests run at once instead of {now}.",
    "vllm": "Raise --max-num-seqs from {now} to {next}, no further for a start.",
    "": "Let the server run {next} requests at once instead of {now} (--max-num-seqs in vLLM).",
}
"""By engine: the setting, from the number that ran at once to a cautious next value."""


@dataclass(frozen=True)
class _Seen:
    """One engine at one level, while requests waited for it."""

    users: int
    load: EngineLoad

    @property
    def running(self) -> Floats:
        running = self.load.gauges.running[self.load.gauges.queued]
        return running[~np.isnan(running)]

    @property
    def cap(self) -> float:
        """Peak of running requests."""
        return float(self.running.max()) if len(self.running) else 0.0

    @property
    def steady(self) -> float:
        """Share of the samples at about the peak."""
        return float((self.running >= self.cap - _slack(self.cap)).mean()) if len(self.running) else 0.0

    def exactly(self, cap: float) -> bool:
        """Tell whether exactly that number ran in at least half of the samples."""
        return bool(len(self.running)) and float((self.running == cap).mean()) >= MIN_EXACTLY_AT_CAP


def batch_limit(facts: Facts) -> Ruling:
    """A fixed number of requests run at once although the KV cache has room: a setting, not the hardware."""
    rule = "batch_limit"
    reported = [load for load in facts.loads if not np.isnan(load.gauges.waiting).all()]
    if not reported:
        return _from_outside(facts)
    top = reported[-1]
    engine = max(top.engines, key=lambda engine: top.engines[engine].queued)
    seen = [_Seen(load.users, load.engines[engine]) for load in reported if engine in load.engines]
    queued = [one for one in seen if one.load.queued >= MIN_QUEUED_SAMPLES]
    if not queued or top.engines[engine].queued < MIN_QUEUED_SAMPLES:
        most = max(float(np.nanmax(load.gauges.waiting)) for load in reported)
        why = f"At {things(top.users, 'user')} no request waited for a slot for more than a moment."
        return absent(rule, why, Fact("peak of waiting requests", most, "requests"))
    return _capped(facts, top, [quantile(one.load.gauges.running, 1.0) or 0.0 for one in seen], queued)


def _capped(facts: Facts, load: Load, running_max: list[float], queued: list[_Seen]) -> Ruling:
    rule, top = "batch_limit", queued[-1]
    cap, steady, room = top.cap, top.steady, top.load.room
    waiting = float(top.load.gauges.waiting[top.load.gauges.queued].mean())
    of_engine = " on the busiest engine" if len(load.engines) > 1 else ""
    shown = [
        Fact(
            f"peak of running requests while others waited, at {things(top.users, 'user')}{of_engine}", cap, "requests"
        ),
        Fact("samples at about that number", steady, "fraction"),
        Fact("mean of waiting requests meanwhile", waiting, "requests"),
    ]
    if cap <= 1:
        return deferred(rule, "Requests run one at a time", "serialised", *shown)
    fixed = steady >= MIN_AT_CAP or _same_at_fewer_users(cap, queued)
    if not fixed or max(running_max) > cap + _slack(cap):
        why = "Requests waited, but not for a fixed number of slots: the number running kept changing."
        return absent(rule, why, *shown)
    if not _sure_of(cap, queued):
        why = f"About {count(cap)} requests ran while others waited, but at one level only: perhaps for one step."
        return unknown(rule, why, "a level with a third more users", *shown)
    slots = None if facts.slots is None else facts.slots / max(1, len(load.engines))
    if room is None and slots != cap:
        why = f"The server ran {count(cap)} requests at once and queued the others, by a setting or for lack of memory."
        return unknown(rule, why, "KV-cache usage, which this server does not report", *shown)
    if room is not None:
        if room < 1 or load.preemptions:
            return deferred(rule, "Requests waited because the KV cache was full", "memory_wall", *shown)
        usage = quantile(top.load.gauges.kv[top.load.gauges.queued], 0.5)
        shown.append(Fact("KV-cache usage meanwhile, median", usage, "fraction"))
    return _set_limit(facts, load, queued, slots, shown)


def _set_limit(facts: Facts, load: Load, queued: list[_Seen], slots: float | None, shown: list[Fact]) -> Ruling:
    top, engines = queued[-1], len(load.engines)
    cap, typing = top.cap, load.crowd.typing_top
    before = [one for one in queued[:-1] if one.users < top.users]
    grade = graded(
        {"the same number at another level": _alike(before[-1].cap, cap) if before else None},
        {
            "clients never saw more replies typing at once": None if typing is None else typing <= cap * engines,
            "the server reports this number as its setting": True if slots == cap else None,
            "the GPU had time to spare": load.gpus.calm or None,
        },
    )
    each = f" on each of {engines} engines" if engines > 1 else ""
    usage = quantile(top.load.gauges.kv[top.load.gauges.queued], 0.5)
    why = f"No more than {count(cap)} requests ran{each} while others waited for a slot"
    why += "." if usage is None else f", although a median of only {percent(usage)} of the KV cache was in use."
    since = min(one.users for one in queued if _alike(one.cap, cap))
    label = f"no more than {count(cap)} requests run at once{each}"
    advice = _more_slots(facts, load, cap)
    return holds("batch_limit", why, label, grade, advice, shown, since)


def _more_slots(facts: Facts, load: Load, cap: float) -> str:
    """Return the setting with a cautious next value, what it costs, and how to find out whether it helped."""
    following = _next_value(facts, cap, len(load.engines))
    times = decimals(following / cap)
    raised = advised(MORE_SLOTS, facts.engine).format(now=count(cap), next=count(following), times=times)
    fits = facts.headroom.replies is not None and following >= round(2 * cap)
    room = " (which has room for that, by its size)" if fits else ""
    typed = f" ({rate(1 / load.tpot)} tokens/s at {things(load.users, 'user')} now)" if load.tpot else ""
    return (
        f"{raised} More replies at once take up more of the KV cache{room}, and each is typed more slowly{typed}. "
        "To see whether it helped, run the same test again and compare both with `probe compare`."
    )


def _next_value(facts: Facts, cap: float, engines: int) -> int:
    """Return twice the number that ran at once, or less where the KV cache has no room for that."""
    if facts.headroom.replies is None:
        return round(2 * cap)
    room = MAX_ROOM_SHARE * facts.headroom.replies[0] / max(1, engines)
    return round(min(2 * cap, max(cap + 1, room)))


def _same_at_fewer_users(cap: float, queued: list[_Seen]) -> bool:
    """Tell whether the same number ran at a level of fewer users, in at least half of the samples of both.

    Steps may take seconds, and gauges show the slots before the step: slots filled long since still look free, in more
    samples than MIN_AT_CAP allows.
    """
    top = queued[-1]
    others = [one for one in queued if one.users * COMPARABLE <= top.users and one.cap == cap]
    return top.exactly(cap) and any(one.exactly(cap) for one in others)


def _slack(cap: float) -> float:
    """Return how many slots may be free for a step as replies end."""
    return max(1.0, SLACK * cap) if cap > SMALL_CAP else 0.0


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _slack(max(one, other))


def _sure_of(cap: float, queued: list[_Seen]) -> bool:
    """Tell whether another level with a third fewer users shows the same number, or this one shows it clearly.

    Clearly: at exactly that number most of the time, with a queue that was never short, because requests that arrive in
    mid-step wait for the next one.
    """
    top = queued[-1]
    if any(one.users * COMPARABLE <= top.users and _alike(one.cap, cap) for one in queued):
        return True
    gauges = top.load.gauges
    always = float(gauges.queued.mean()) >= MIN_AT_CAP and float(np.nanmean(gauges.waiting)) >= 1
    return always and top.exactly(cap)


def _from_outside(facts: Facts) -> Ruling:
    """Without server metrics, clients only see how many replies were typing at once."""
    rule = "batch_limit"
    needs = needed_metrics(facts, "requests running and waiting", "running", "waiting")
    busy = [load for load in facts.loads if load.crowd.typing_top and load.crowd.in_flight >= CROWDED]
    if not busy:
        return unknown(
            rule, "No replies were streamed side by side.", "a level with several users, and streamed replies"
        )
    top = busy[-1]
    typed = float(top.crowd.typing_top or 0)
    shown = Fact(f"replies typing at once, 90th percentile, at {things(top.users, 'user')}", typed, "replies")
    if top.crowd.typing >= top.crowd.in_flight / COMPARABLE:
        return absent(rule, f"Nearly all of {things(top.users, 'user')} received tokens at the same time.", shown)
    if typed <= 1:
        return deferred(rule, "Requests run one at a time", "serialised", shown)
    same = [load for load in busy if load.users * COMPARABLE <= top.users and load.crowd.typing_top == typed]
    if not same:
        return unknown(
            rule, "Not all users received tokens at the same time; the streams do not show why.", needs, shown
        )
    why = f"No more than {count(typed)} replies were typing at once, with {things(same[0].users, 'user')} as with "
    why += f"{top.users}: a limit, by a setting, for lack of memory, or in front of the server."
    return unknown(rule, why, needs, shown)

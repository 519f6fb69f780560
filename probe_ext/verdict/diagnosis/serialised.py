"""Are replies served one after another? Nobody types while another does."""

from probe_ext.verdict.diagnosis.concurrency import CROWDED
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, advised, graded, unknown
from probe_ext.verdict.server.gauges import SAMPLES
from probe_ext.verdict.values.formats import count, percent, seconds
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

WATCHED = 3.0
"""seconds of two or more in flight that must have been seen"""
TOGETHER = 0.05
"""of that time: two typed at once no more than this where replies are served one after another"""
TYPING = 0.3
"""of that time: somebody must have typed, or that nobody did together says nothing"""
FLAT = 1.25
"""times the throughput of one user: a server of one at a time gives the rest no more"""
AS_LONG = (0.6, 1.6)
"""the wait, in whole replies of those ahead: about one each"""
MORE_SLOTS = {
    "llama.cpp": "Start llama-server with more slots (--parallel N, and N times the context), or use a server that "
    "batches continuously.",
    "ollama": "Raise OLLAMA_NUM_PARALLEL, or use a server that batches continuously, such as vLLM.",
    "vllm": "Raise --max-num-seqs: it lets one reply run at a time.",
    "": "Let the server work on several replies at once; if it cannot, use one that batches continuously, as vLLM does."
    " The hardware is not the limit yet.",
}


def serialised(facts: Facts) -> Ruling:
    """One reply at a time: nobody types while another does, and each waits whole replies of those ahead."""
    rule = "serialised"
    busy = [load for load in facts.loads if load.crowd.in_flight >= CROWDED and load.crowd.crowded >= WATCHED]
    if not busy:
        return unknown(rule, "There never were two replies in flight for long.", "a level of two users or more")
    if any((running := load.running_max) is not None and running > 1 for load in busy):
        most = max(load.running_max or 0.0 for load in busy)
        why = f"The server ran {count(most)} replies at once."
        return absent(rule, why, Fact("running at once, most", most, "replies"))
    top = busy[-1]
    together, typing = top.crowd.together or 0.0, top.crowd.any_typing or 0.0
    shown = (
        Fact(f"share of the time in which two or more typed, at {top.users} users", together, "fraction"),
        Fact(f"share in which somebody typed, at {top.users} users", typing, "fraction"),
    )
    if together > TOGETHER:
        return absent(rule, f"Two or more replies typed at once in {percent(together)} of the time.", *shown)
    if typing < TYPING and not _one_ran(top):
        why = "Too little was seen of replies being typed to say whether they were typed one after another."
        return unknown(rule, why, "streamed replies of more than a few tokens", *shown)
    return _one_by_one(facts, [load for load in busy if (load.crowd.together or 0.0) <= TOGETHER], shown)


def _one_by_one(facts: Facts, seen: list[Load], shown: tuple[Fact, ...]) -> Ruling:
    top = seen[-1]
    alone = next((load for load in facts.loads if load.crowd.in_flight < CROWDED), None)
    grows = top.tokens_per_s / alone.tokens_per_s if alone and alone.tokens_per_s and top.tokens_per_s else None
    turns = _turns(top)
    running = top.running_max
    confidence, told = graded(
        {
            "the server says that one ran while others waited": None if running is None else running <= 1,
            f"throughput stays flat from {alone.users if alone else 0} to {top.users} users": _at_most(grows, FLAT),
            "the wait is a whole reply of everyone ahead": None if turns is None else _within(turns, AS_LONG),
        }
    )
    facts_seen = [*shown]
    if grows is not None and alone:
        facts_seen.append(Fact(f"throughput at {top.users} users over that at {alone.users}", grows, ""))
    if turns is not None:
        facts_seen.append(Fact("wait for the first word, in whole replies of each user ahead", turns, ""))
    if running is not None:
        facts_seen.append(Fact("running at once, most", running, "replies"))
    why = f"With {things(top.users, 'user')} no two replies were typed at the same time"
    why += f", and half of them waited {seconds(top.ttft)} or more for their first word." if top.ttft else "."
    return Ruling(
        "serialised", "holds", why, says="replies are served one after another", from_users=seen[0].users,
        evidence=tuple(facts_seen), confidence=confidence, confidence_from=told,
        advice=advised(MORE_SLOTS, facts.engine),
    )  # fmt: skip


def _one_ran(load: Load) -> bool:
    """Whether the server says that a single reply ran while others waited."""
    running = load.gauges.running[load.gauges.queued]
    return len(running) >= SAMPLES and bool((running <= 1).all())


def _turns(load: Load) -> float | None:
    """The median wait over that of a queue in which each waits for all others: one reply's time each."""
    if not load.replies_per_s or load.ttft is None or load.crowd.in_flight <= 1:
        return None
    return load.ttft / ((load.crowd.in_flight - 1) / load.replies_per_s)


def _at_most(value: float | None, bound: float) -> bool | None:
    return None if value is None else value <= bound


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]

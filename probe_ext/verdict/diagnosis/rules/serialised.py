"""Are requests processed one after another?"""

from probe_ext.verdict.diagnosis.facts.concurrency import CROWDED
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import Load
from probe_ext.verdict.diagnosis.rules.ruling import absent, advised, graded, holds, unknown
from probe_ext.verdict.phrasing.formats import count, percent, seconds
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.gauges import MIN_QUEUED_SAMPLES
from probe_ext.verdict.values.ruling_types import Fact, Ruling

MIN_CROWDED_S = 3.0
"""Time with two or more replies in flight that a conclusion needs."""
MAX_TOGETHER_SHARE = 0.05
"""Share of that time in which two replies may be typing at once."""
MIN_TYPING_SHARE = 0.3
"""Share of that time in which some reply must be typing."""
MAX_THROUGHPUT_GAIN = 1.25
"""Over the throughput of one user."""
QUEUE_WAIT_RANGE = (0.6, 1.6)
"""Wait for the first word, in whole replies per user ahead."""
MORE_SLOTS = {
    "llama.cpp": "Start llama-server with more slots (--parallel N, and N times the context), or use a server with "
    "continuous batching.",
    "ollama": "Raise OLLAMA_NUM_PARALLEL, or use a server with continuous batching, such as vLLM.",
    "vllm": "Raise --max-num-seqs: it limits the server to one request at a time.",
    "": "Let the server run several requests at once; if it cannot, use one with continuous batching, such as vLLM.",
}
_OR_A_PROXY = " A proxy in front of the server may be the cause as well; the server's metrics would show it."


def serialised(facts: Facts) -> Ruling:
    """Replies come one at a time: no two are typing together, and each user waits for the whole replies ahead."""
    rule = "serialised"
    busy = [load for load in facts.loads if load.crowd.in_flight >= CROWDED and load.crowd.crowded >= MIN_CROWDED_S]
    if not busy:
        return unknown(rule, "There were never two replies in flight for long.", "a level with two or more users")
    if any((running := load.running_max) is not None and running > 1 for load in busy):
        most = max(load.running_max or 0.0 for load in busy)
        why = f"The server ran {count(most)} requests at once."
        return absent(rule, why, Fact("peak of running requests", most, "requests"))
    top = busy[-1]
    together, typing = top.crowd.together or 0.0, top.crowd.any_typing or 0.0
    shown = (
        Fact(f"time with two or more replies typing, at {things(top.users, 'user')}", together, "fraction"),
        Fact(f"time with any reply typing, at {things(top.users, 'user')}", typing, "fraction"),
    )
    if top.server.in_flight is not None and not _one_ran(top):
        return absent(rule, "No request waited at the server: whatever serialises them stands in front of it.", *shown)
    if together > MAX_TOGETHER_SHARE:
        return absent(rule, f"Two or more replies were typing at once in {percent(together)} of the time.", *shown)
    if typing < MIN_TYPING_SHARE and not _one_ran(top):
        why = "Too little streaming was seen to tell whether replies came one after another."
        return unknown(rule, why, "streamed replies of more than a few tokens", *shown)
    return _one_by_one(facts, [load for load in busy if (load.crowd.together or 0.0) <= MAX_TOGETHER_SHARE], shown)


def _one_by_one(facts: Facts, seen: list[Load], shown: tuple[Fact, ...]) -> Ruling:
    top = seen[-1]
    alone = next((load for load in facts.loads if load.crowd.in_flight < CROWDED), None)
    gain = top.tokens_per_s / alone.tokens_per_s if alone and alone.tokens_per_s and top.tokens_per_s else None
    turns, running = _turns(top), top.running_max
    flat = f"throughput stays flat from {alone.users if alone else 0} to {things(top.users, 'user')}"
    low, high = QUEUE_WAIT_RANGE
    grade = graded(
        {
            flat: None if gain is None else gain <= MAX_THROUGHPUT_GAIN,
            "the wait equals one whole reply per user ahead": None if turns is None else low <= turns <= high,
        },
        {"the server reports one running request while others waited": True if _one_ran(top) else None},
    )
    evidence = [*shown]
    if gain is not None and alone:
        evidence.append(Fact(f"throughput at {things(top.users, 'user')} over that at {alone.users}", gain, ""))
    if turns is not None:
        evidence.append(Fact("wait for the first word, in whole replies per user ahead", turns, ""))
    if running is not None:
        evidence.append(Fact("peak of running requests", running, "requests"))
    why = f"With {things(top.users, 'user')} no two replies were typing at the same time"
    why += f", and the median wait for the first word was {seconds(top.ttft)}." if top.ttft else "."
    advice = advised(MORE_SLOTS, facts.engine) + ("" if _one_ran(top) else _OR_A_PROXY)
    return holds("serialised", why, "requests are processed one after another", grade, advice, evidence, seen[0].users)


def _one_ran(load: Load) -> bool:
    """Tell whether the server reports a single running request while others waited."""
    running = load.gauges.running[load.gauges.queued]
    return len(running) >= MIN_QUEUED_SAMPLES and bool((running <= 1).all())


def _turns(load: Load) -> float | None:
    """Return the median wait over that of a queue in which each user waits one whole reply per user ahead."""
    if not load.replies_per_s or load.ttft is None or load.crowd.in_flight <= 1:
        return None
    return load.ttft / ((load.crowd.in_flight - 1) / load.replies_per_s)

"""What bounds the server: each rule asked of the judged evidence, and what they say together.

A rule takes facts and gives a ruling: it holds, it is absent, or it cannot be known and what it would take. Several may
hold at once. `bounds` names those that hold, the one to look at first in front: what makes the figures something else
than the server's, then what a setting lifts, then what the machine is.
"""

from collections.abc import Callable, Mapping

from probe_ext.verdict.diagnosis.answers_bound import cut_answers, response_cache
from probe_ext.verdict.diagnosis.batch_limit import batch_limit
from probe_ext.verdict.diagnosis.concurrency import CROWDED
from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.headroom import client_too_slow, not_loaded
from probe_ext.verdict.diagnosis.kv_cache import memory_wall
from probe_ext.verdict.diagnosis.ruling import unknown
from probe_ext.verdict.diagnosis.serialised import serialised
from probe_ext.verdict.diagnosis.throughput import ceiling, prefill_bound
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.values.ruling_types import Diagnosis, Ruling

RULES: Mapping[str, Callable[[Facts], Ruling]] = {
    "client_too_slow": client_too_slow,
    "response_cache": response_cache,
    "cut_answers": cut_answers,
    "serialised": serialised,
    "batch_limit": batch_limit,
    "memory_wall": memory_wall,
    "prefill_bound": prefill_bound,
    "ceiling": ceiling,
}
"""by name, in the order in which bounds are named; `not_loaded` comes last, for it asks what these say"""
NAMES = (*RULES, "not_loaded")
_NEED_SPEED = ("prefill_bound", "ceiling")
_NEED_ANSWERS = ("serialised", "batch_limit", "memory_wall", "prefill_bound", "ceiling")


def rule(facts: Facts) -> Diagnosis:
    """The rules over facts that stand."""
    said = {name: ask(facts) for name, ask in RULES.items()}
    if said["client_too_slow"].state == "holds":
        said |= {name: _spoiled(said[name], "client_too_slow") for name in _NEED_SPEED}
    for spoils in ("response_cache", "cut_answers"):
        if said[spoils].state == "holds":
            said |= {name: _spoiled(said[name], spoils) for name in _NEED_SPEED}
    said["ceiling"] = _of_what(said["ceiling"], said["prefill_bound"])
    bounds = [name for name, ruling in said.items() if ruling.state == "holds"]
    said["not_loaded"] = not_loaded(facts, bounds)
    bounds += ["not_loaded"] if said["not_loaded"].state == "holds" else []
    return Diagnosis(_sentence(bounds, said, facts), tuple(bounds), tuple(said[name] for name in NAMES))


def _spoiled(ruling: Ruling, by: str) -> Ruling:
    """What would hold cannot be said of the server while something else makes the same figures."""
    if ruling.state != "holds":
        return ruling
    return unknown(ruling.rule, f"{ruling.why} But `{by}` holds, which looks the same.", f"a run without `{by}`")


def _of_what(ceiling: Ruling, prefill: Ruling) -> Ruling:
    """Throughput that stands still because prompts are read is no ceiling of making tokens."""
    if ceiling.state != "holds" or prefill.state == "absent":
        return ceiling
    if prefill.state == "holds":
        why = f"{ceiling.why} But what uses the machine up is reading prompts: see `prefill_bound`."
        return Ruling(ceiling.rule, "absent", why, evidence=ceiling.evidence)
    why = f"{ceiling.why} Whether making tokens or reading prompts uses the machine up is not known."
    return unknown(ceiling.rule, why, prefill.needs, *ceiling.evidence)


def _sentence(bounds: list[str], said: Mapping[str, Ruling], facts: Facts) -> str:
    if bounds == ["not_loaded"]:
        sure = said["not_loaded"].confidence
        return f"Nothing bounds the server yet: with more users it still does more ({sure} confidence)."
    if bounds:
        return f"What bounds it: {listed([_named(said[name]) for name in bounds])}."
    if not facts.loads:
        return "What bounds it is not known: no level was measured."
    return _nothing_holds(said, facts)


def _nothing_holds(said: Mapping[str, Ruling], facts: Facts) -> str:
    failing = next((load for load in facts.loads if load.failing), None)
    if failing is not None:
        return (
            f"Replies fail from {things(failing.users, 'user')} on, and no bound of the server's speed explains that."
        )
    alone = facts.loads[0]
    if alone.crowd.in_flight < CROWDED and not alone.served:
        return "Nothing bounds it but the machine itself: even alone with it, users are not served."
    unknown_ones = [said[name] for name in NAMES if said[name].state == "unknown"]
    if unknown_ones:
        most = next((one for one in unknown_ones if one.evidence), unknown_ones[0])
        return f"What bounds it is not known. {most.why} It would take {most.needs}."
    if facts.loads[-1].served:
        return f"No bound is reached yet. {said['not_loaded'].why}"
    return "None of the known bounds explains what users felt."


def _named(ruling: Ruling) -> str:
    since = f" from {things(ruling.from_users, 'user')} on" if ruling.from_users else ""
    return f"{ruling.says}{since} ({ruling.confidence} confidence)"

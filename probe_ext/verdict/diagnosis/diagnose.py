"""What limits the server: the result of every rule, and a summary.

A rule takes facts and returns a ruling: it holds, it is ruled out (`absent`), or it is unknown and what would be
needed to know it.
Several may hold at once. `bounds` lists those that hold, in the order to look at: first what falsifies the figures,
then what stands in front of the server, then what a setting can change, then the hardware.
"""

from collections.abc import Callable, Collection, Mapping

from probe_ext.measure.rate import Rate
from probe_ext.verdict.diagnosis.facts.concurrency import CROWDED
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.rules.answers_bound import buffered_stream, cut_answers, response_cache
from probe_ext.verdict.diagnosis.rules.batch_limit import batch_limit
from probe_ext.verdict.diagnosis.rules.headroom import client_too_slow, not_loaded, shared_cpu
from probe_ext.verdict.diagnosis.rules.in_front import gateway, quota, slow_path
from probe_ext.verdict.diagnosis.rules.kv_cache import memory_wall
from probe_ext.verdict.diagnosis.rules.replica_balance import slow_replica, uneven_balancer
from probe_ext.verdict.diagnosis.rules.ruled_out import unless_doubted
from probe_ext.verdict.diagnosis.rules.ruling import deferred, unknown
from probe_ext.verdict.diagnosis.rules.serialised import serialised
from probe_ext.verdict.diagnosis.rules.shared_or_slowing import other_load, throttling
from probe_ext.verdict.diagnosis.rules.throughput import ceiling, prefill_bound, throughput_limit
from probe_ext.verdict.phrasing.plurals import capitalised, is_or_are, listed, more, things
from probe_ext.verdict.values.ruling_types import RULE_NAMES, Diagnosis, Ruling

RULES: Mapping[str, Callable[[Facts], Ruling]] = {
    "client_too_slow": client_too_slow,
    "other_load": other_load,
    "response_cache": response_cache,
    "cut_answers": cut_answers,
    "buffered_stream": buffered_stream,
    "quota": quota,
    "gateway": gateway,
    "slow_path": slow_path,
    "throttling": throttling,
    "uneven_balancer": uneven_balancer,
    "slow_replica": slow_replica,
    "serialised": serialised,
    "batch_limit": batch_limit,
    "memory_wall": memory_wall,
    "prefill_bound": prefill_bound,
    "ceiling": ceiling,
    "throughput_limit": throughput_limit,
}
"""In the order of `bounds`; `shared_cpu` and `not_loaded` follow, because they depend on these."""
_SPEED = frozenset({"throttling", "prefill_bound", "ceiling", "throughput_limit"})
_OF_REPLIES = frozenset({"response_cache", "cut_answers"})
"""Rules about what the replies are: no load makes an answer shorter, or one from memory."""
MASKS: Mapping[str, frozenset[str]] = {
    "other_load": frozenset(RULES) - {"client_too_slow", "other_load"} - _OF_REPLIES,
    "client_too_slow": _SPEED,
    "response_cache": _SPEED | {"slow_path", "gateway"},
    "cut_answers": _SPEED,
    "buffered_stream": _SPEED - {"ceiling"} | {"slow_path", "serialised"},
    "quota": _SPEED - {"throttling"} | {"slow_path"},
    "gateway": _SPEED - {"throttling"} | {"slow_path", "serialised"},
    "throttling": _SPEED - {"throttling"},
    "uneven_balancer": frozenset({"ceiling"}),
    "slow_replica": frozenset({"ceiling", "throttling"}),
    "prefill_bound": frozenset({"slow_replica"}),
}
"""Rules that nothing can be concluded about while another one explains the same figures."""
_NOT_ABOUT_LOAD = {"slow_path", "slow_replica"}
"""Rules that may hold although no limit is reached."""

_LAST_TO_LOOK_AT = frozenset({"throttling", "shared_cpu"})
"""Rules that are unknown in many runs, and seldom what to look at first."""


def diagnose(facts: Facts) -> Diagnosis:
    """Apply all rules and summarise them."""
    rulings = {name: apply(facts) for name, apply in RULES.items()}
    for masking, masked in MASKS.items():
        if rulings[masking].state == "holds":
            rulings |= {name: _masked(rulings[name], masking) for name in masked}
    rulings["ceiling"] = _unless_prefill(rulings["ceiling"], rulings["prefill_bound"])
    rulings["shared_cpu"] = shared_cpu(facts, _limits(rulings))
    rulings["not_loaded"] = not_loaded(facts, _limits(rulings))
    decided = unless_doubted(rulings, facts)
    doubted = _LAST_TO_LOOK_AT.union(name for name, ruling in rulings.items() if ruling.state != decided[name].state)
    bounds = [name for name in RULE_NAMES if decided[name].state == "holds"]
    sentence = _with_client(bounds, decided, facts, doubted)
    return Diagnosis(sentence, tuple(bounds), tuple(decided[name] for name in RULE_NAMES))


def _limits(rulings: Mapping[str, Ruling]) -> list[str]:
    """Return the rules that hold and say that a limit was reached."""
    return [name for name, ruling in rulings.items() if ruling.state == "holds" and name not in _NOT_ABOUT_LOAD]


def _masked(ruling: Ruling, by: str) -> Ruling:
    if ruling.state != "holds":
        return ruling
    return unknown(ruling.rule, f"{ruling.why} But `{by}` holds, which looks the same.", f"a run without `{by}`")


def _unless_prefill(ceiling: Ruling, prefill: Ruling) -> Ruling:
    """Throughput that levels off because of prefill is not a limit of decode."""
    if ceiling.state != "holds" or prefill.state == "absent":
        return ceiling
    if prefill.state == "holds":
        return deferred(
            ceiling.rule, f"{ceiling.why} But prefill takes up the compute", prefill.rule, *ceiling.evidence
        )
    why = f"{ceiling.why} Whether decode or prefill takes up the compute is not known."
    return unknown(ceiling.rule, why, prefill.needs, *ceiling.evidence)


def _sentence(bounds: list[str], rulings: Mapping[str, Ruling], facts: Facts, doubted: Collection[str]) -> str:
    if bounds == ["not_loaded"]:
        confidence = rulings["not_loaded"].confidence
        return f"No limit reached: throughput still grows with {_more(facts)} ({confidence} confidence)."
    if "other_load" in bounds:
        confidence = rulings["other_load"].confidence
        told = listed([_named(rulings[name]) for name in bounds if name in _OF_REPLIES])
        besides = f" Besides, {told}." if told else ""
        return f"What limits the server is not known: it had other load as well ({confidence} confidence).{besides}"
    if not bounds:
        unmeasured = "What limits the server is not known: no level was measured."
        return _nothing_holds(rulings, facts, doubted) if facts.loads else unmeasured
    named = listed([_named(rulings[name]) for name in bounds if name != "not_loaded"])
    if "not_loaded" in bounds:
        return f"No limit reached: throughput still grows with {_more(facts)}. But {named}."
    return f"What limits the server: {named}."


def _with_client(bounds: list[str], rulings: Mapping[str, Ruling], facts: Facts, doubted: Collection[str]) -> str:
    """Say first that the load generator could not keep up, which is no limit of the server."""
    if "client_too_slow" not in bounds:
        return _sentence(bounds, rulings, facts, doubted)
    slow = f"{capitalised(_named(rulings['client_too_slow']))}."
    rest = [name for name in bounds if name != "client_too_slow"]
    return f"{slow} {_sentence(rest, rulings, facts, doubted)}" if rest else slow


def _more(facts: Facts) -> str:
    return more(facts.loads[-1].users) if facts.loads else "more users"


def _nothing_holds(rulings: Mapping[str, Ruling], facts: Facts, doubted: Collection[str]) -> str:
    failing = next((load for load in facts.loads if load.failing), None)
    lightest = facts.loads[0].users
    if failing is not None:
        return f"Replies fail from {things(failing.users, 'user')} on; no limit of the server's speed explains that."
    if _fails_alone(facts):
        alone = lightest == 1 and not isinstance(lightest, Rate)
        few = "Even a single user is not served, so the number of users is not the cause."
        those = f"{things(lightest, 'user')} {is_or_are(lightest)}"
        return few if alone else f"Even {those} not served, with hardly two replies in flight at once."
    undecided = [rulings[name] for name in RULE_NAMES if rulings[name].state == "unknown"]
    unknown_rules = [ruling for ruling in undecided if ruling.rule not in doubted]
    if unknown_rules:
        telling = [ruling for ruling in unknown_rules if ruling.evidence and ruling.rule not in _NOT_ABOUT_LOAD]
        first = next(iter(telling), _only_one_level(rulings, facts) or unknown_rules[0])
        asked_for = all(one.state != "unproven" for one in facts.findings if one.check == "server_metrics")
        needs = f" Needed to find out: {first.needs}." if asked_for else ""
        return f"What limits the server is not known. {first.why}{needs}"
    if facts.loads[-1].served:
        return f"No limit reached yet. {rulings['not_loaded'].why}"
    rest = f" Not ruled out: {undecided[0].why}" if undecided else ""
    return f"None of the known limits is shown to explain what users experienced.{rest}"


def _fails_alone(facts: Facts) -> bool:
    """Tell whether the lightest level, with hardly two replies at once, is proven to fail, and none above did better.

    The visits of one number of users count together: a level that failed once and held once shows nothing.
    """
    alone = [load for load in facts.loads if load.users == facts.loads[0].users]
    above = [load for load in facts.loads if load.users != facts.loads[0].users]
    best = max((load.served_share or 0.0 for load in alone), default=0.0)
    few = all(load.crowd.in_flight < CROWDED and load.failed for load in alone)
    return few and not any(load.held or (load.served_share or 0.0) > best for load in above)


def _only_one_level(rulings: Mapping[str, Ruling], facts: Facts) -> Ruling | None:
    """Return the ruling that asks for a second level, if there is only one: it would tell more than anything else."""
    ruling = rulings["not_loaded"]
    return ruling if len(facts.loads) == 1 and ruling.state == "unknown" else None


def _named(ruling: Ruling) -> str:
    since = f" from {things(ruling.from_users, 'user')} on" if ruling.from_users else ""
    return f"{ruling.label}{since} ({ruling.confidence} confidence)"

"""When may a rule be ruled out? Only if the checks of the figures that it relies on passed.

A rule that looks at figures which a check doubts, or that refers to another rule which is not decided, is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from probe_ext.measure.findings import FindingName
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.rules.ruling import Deferred, absent, unknown
from probe_ext.verdict.values.ruling_types import Ruling


@dataclass(frozen=True)
class Needed:
    """Checks that a rule needs before it can be ruled out."""

    passed: tuple[FindingName, ...] = ()
    """these must have passed: the rule is ruled out by what they look at"""
    not_failed: tuple[FindingName, ...] = ()
    """these may be undecided: a failure is a sign that the rule may hold, or that its figures are wrong"""


_OF_ALL: tuple[FindingName, ...] = ("accounted", "files")
_BY_METRICS = Needed(not_failed=("server_metrics",))
_OF_ENGINES = Needed(("engine_shares",), ("server_metrics", "server_tokens", "server_replies"))

CHECKS: Mapping[str, Needed] = {
    "client_too_slow": Needed(("receive_lag", "loop_lag", "late_starts", "worker_cpu", "client_faults")),
    "other_load": Needed(("other_load",), ("server_metrics", "server_replies", "in_order", "drift")),
    "response_cache": Needed(not_failed=("server_metrics", "server_tokens", "usage")),
    "cut_answers": Needed(not_failed=("server_metrics", "server_tokens", "usage")),
    "buffered_stream": Needed(("not_streamed", "held_back", "held_in_events")),
    "quota": Needed(not_failed=("equal_failures",)),
    "gateway": _BY_METRICS,
    "slow_path": _BY_METRICS,
    "throttling": Needed(("drift",), ("server_metrics", "steady", "in_order")),
    "uneven_balancer": _OF_ENGINES,
    "slow_replica": _OF_ENGINES,
    "serialised": _BY_METRICS,
    "batch_limit": _BY_METRICS,
    "memory_wall": Needed(not_failed=("server_metrics", "server_restarted")),
    "prefill_bound": Needed(not_failed=("server_metrics", "usage")),
    "ceiling": _BY_METRICS,
    "throughput_limit": Needed(),
    "shared_cpu": Needed(("own_machine",)),
}
"""By rule; `not_loaded` follows from the others."""

_NEEDS = {
    "drift": "two visits to a level that agree (such as --levels 4,8,4)",
    "engine_shares": "metrics of every engine (--metrics-url)",
    "other_load": "the server's counters of requests and tokens",
}


def unless_doubted(rulings: Mapping[str, Ruling], facts: Facts) -> dict[str, Ruling]:
    """Return the rulings, those as unknown that are ruled out by what a check doubts, or by an undecided rule."""
    checked = {name: _unless_check(ruling, facts) for name, ruling in rulings.items()}
    return {name: _unless_undecided(ruling, checked) for name, ruling in checked.items()}


def _unless_check(ruling: Ruling, facts: Facts) -> Ruling:
    needed = CHECKS.get(ruling.rule)
    if ruling.state != "absent" or needed is None:
        return ruling
    findings = {finding.check: finding for finding in facts.findings}
    for check in (*_OF_ALL, *needed.passed, *needed.not_failed):
        found = findings.get(check)
        if check == "server_metrics" and not facts.reported:
            continue  # nothing was taken from them
        if found is None and check not in needed.passed:
            continue
        if found is None or found.state == "fail" or (found.state == "unproven" and check in needed.passed):
            name = check.replace("_", " ")
            doubt = found.why if found else f"The check “{name}” was not made."
            needs = _NEEDS.get(check, f"a run that passes the check “{name}”")
            return unknown(ruling.rule, f"{ruling.why} But that does not rule it out: {doubt}", needs, *ruling.evidence)
    return ruling


def _unless_undecided(ruling: Ruling, rulings: Mapping[str, Ruling]) -> Ruling:
    if not isinstance(ruling, Deferred):
        return ruling
    other = rulings[ruling.see]
    if other.state == "unknown":
        return unknown(ruling.rule, f"{ruling.why} That is not known either.", other.needs, *ruling.evidence)
    return absent(ruling.rule, ruling.why, *ruling.evidence)

"""What is left: the client itself, or nothing yet."""

import numpy as np

from probe_ext.verdict.diagnosis.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.kv_cache import CALM
from probe_ext.verdict.diagnosis.level_load import Load
from probe_ext.verdict.diagnosis.ruling import absent, graded, unknown
from probe_ext.verdict.diagnosis.throughput import NOISE, RISING, Slope, slope
from probe_ext.verdict.values.formats import decimals
from probe_ext.verdict.values.plurals import things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

SPEED = ("receive_lag", "loop_lag", "late_starts", "worker_cpu")
"""checks of how fast the load generator was"""
LASTING = ("receive_lag", "late_starts", "worker_cpu", "client_faults")
"""of those and of its own faults, what is a share of the whole run: a loop is late by one worst moment"""


def client_too_slow(facts: Facts) -> Ruling:
    """The load generator could not keep up: what it measured is partly its own lateness."""
    rule = "client_too_slow"
    ours = [finding for finding in facts.findings if finding.check in {*SPEED, *LASTING}]
    failed = [finding for finding in ours if finding.state == "fail"]
    known = [finding for finding in ours if finding.check in SPEED and finding.state != "unproven"]
    lasting = [finding for finding in failed if finding.check in LASTING or finding.spoils]
    shown = (
        Fact("checks of how fast the load generator was", float(len(known)), "checks"),
        Fact("of them failed", float(len(failed)), "checks"),
    )
    if not known:
        return unknown(rule, "How busy the load generator was is not known.", "workers that report their own state")
    if not failed:
        return absent(rule, "The load generator kept up.", *shown)
    if not lasting:
        return absent(rule, f"The load generator kept up but for a moment. {failed[0].why}", *shown)
    confidence, how = graded(
        {
            "another of its checks": len(failed) > 1 or None,
            "so late that the run is spoiled": any(f.spoils for f in failed) or None,
        }
    )
    return Ruling(
        rule, "holds", " ".join(finding.why for finding in failed), says="the load generator could not keep up",
        evidence=shown, confidence=confidence, confidence_from=how, advice=lasting[0].advice,
    )  # fmt: skip


def not_loaded(facts: Facts, bounds: list[str]) -> Ruling:
    """Nothing bounds the server yet: it gives more with every user, and everybody is served."""
    rule = "not_loaded"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    if bounds:
        return absent(rule, "Something does bound it.")
    top = facts.loads[-1]
    if not top.served:
        return absent(rule, f"Not everybody was served at {things(top.users, 'user')}.")
    found = slope(facts.loads)
    if found is None:
        return unknown(rule, "There are not two sizes of the batch to compare.", "more users, at two levels or more")
    return _rising(top, found)


def _rising(top: Load, found: Slope) -> Ruling:
    rule, twice = "not_loaded", 2**found.power
    waiting = top.gauges.waiting[~np.isnan(top.gauges.waiting)]
    shown = [Fact("what twice the replies at once brings in tokens a second", twice, "")]
    if len(waiting):
        shown.append(Fact(f"waiting at {top.users} users, mean", float(waiting.mean()), "replies"))
    if top.kv_max is not None:
        shown.append(Fact(f"KV cache at its fullest, at {top.users} users", top.kv_max, "fraction"))
    if found.power < RISING:
        return absent(rule, "The throughput grows more slowly than the number of replies at once.", *shown)
    if found.power - NOISE * (found.error or 0.0) < RISING:
        why = f"Twice the replies at once seem to bring {decimals(twice)} times the throughput, which may be noise."
        return unknown(rule, why, "longer levels (--hold)", *shown)
    confidence, how = graded(
        {
            "nobody waited for a place": None if not len(waiting) else float(waiting.mean()) < 1,
            "the KV cache has room": None if top.kv_max is None else top.kv_max < CALM,
        }
    )
    return Ruling(
        rule, "holds", f"At {things(top.users, 'user')} everybody is served, and more users still bring more tokens a "
        "second.", says="nothing bounds it yet", from_users=None, evidence=tuple(shown), confidence=confidence,
        confidence_from=how, advice=f"Go on up: --levels {top.users},{2 * top.users},{4 * top.users}.",
    )  # fmt: skip

"""Is the load generator the limit, or the machine that it shares with the server, or nothing yet?"""

import numpy as np

from probe_ext.measure.rate import Rate, in_unit_of
from probe_ext.verdict.checks.client_accuracy import SPEED_CHECKS, WHOLE_RUN_CHECKS, lasting_faults
from probe_ext.verdict.diagnosis.facts.diagnosis_input import Facts
from probe_ext.verdict.diagnosis.facts.level_load import NEARLY_FULL, Load
from probe_ext.verdict.diagnosis.rules.ruling import absent, graded, holds, longer_levels, unknown
from probe_ext.verdict.diagnosis.rules.throughput import MIN_RISING, UNSEEN, Slope, client_slope
from probe_ext.verdict.phrasing.formats import decimals
from probe_ext.verdict.phrasing.plurals import more, things
from probe_ext.verdict.values.ruling_types import Fact, Ruling

_LATE = ("receive_lag", "loop_lag", "late_starts")


def client_too_slow(facts: Facts) -> Ruling:
    """The load generator could not keep up, so that it partly measured its own delay."""
    rule = "client_too_slow"
    ours = [finding for finding in facts.findings if finding.check in {*SPEED_CHECKS, *WHOLE_RUN_CHECKS}]
    failed = [finding for finding in ours if finding.state == "fail"]
    known = [finding for finding in ours if finding.check in SPEED_CHECKS and finding.state != "unproven"]
    lasting = lasting_faults(ours)
    shown = (
        Fact("speed checks of the load generator", float(len(known)), "checks"),
        Fact("failed checks", float(len(failed)), "checks"),
    )
    if not known:
        return unknown(rule, "The load of the load generator is not known.", "workers that report their own state")
    if not failed:
        return absent(rule, "Reads, event loop, CPU use and starts of requests were checked: all kept up.", *shown)
    if not lasting:
        return absent(rule, "The load generator kept up most of the time.", *shown)
    grade = graded(
        {"the delay invalidates the run": any(f.makes_invalid for f in failed) or None},
        {"another check failed too": len(failed) > 1 or None},
    )
    why = " ".join(finding.why for finding in failed)
    return holds(rule, why, "the load generator could not keep up", grade, lasting[0].advice, shown)


def shared_cpu(facts: Facts, bounds: list[str]) -> Ruling:
    """The load generator runs on the server's machine, which is too busy for both. Named if nothing else explains it.

    Runs don't record how busy the machine is: that the load generator got its CPU too late is the only sign.
    """
    rule = "shared_cpu"
    needs = "a load generator on another machine, or the CPU use of the server's machine during the run"
    shared = next((finding for finding in facts.findings if finding.check == "own_machine"), None)
    if shared is None or shared.state == "unproven":
        return unknown(rule, "Whether server and load generator share a machine is not known.", needs)
    if shared.state == "pass":
        return absent(
            rule, "The load generator ran on another machine. How busy the server's machine was is not known."
        )
    late = [one for one in facts.findings if one.check in _LATE and one.state == "fail"]
    if not late:
        why = "Server and load generator shared a machine. The load generator was not late; how busy the CPU was is"
        return unknown(rule, f"{why} not recorded.", needs)
    why = f"{late[0].why} The load generator ran on the server's machine and shared its CPU."
    if bounds:
        return unknown(rule, f"{why} But `{bounds[0]}` may explain the same.", needs)
    if not facts.loads or facts.loads[-1].served:
        return unknown(rule, f"{why} But the most users that were measured were served.", needs)
    bursts = any(one.check == "held_back" and one.state == "fail" for one in facts.findings)
    signs = {
        "several checks say so": len(late) > 1 or None,
        "tokens arrived in bursts, as from a server with too little CPU": bursts or None,
    }
    label = "the CPU that server and load generator share may be short"
    shown = (Fact("failed checks of late reads, event loop and starts", float(len(late)), "checks"),)
    advice = (
        "Run the load generator on another machine, stop what else runs on the server's, and repeat: these figures may "
        "be those of a server with too little CPU."
    )
    return holds(rule, why, label, graded(signs, {}), advice, shown)


def not_loaded(facts: Facts, bounds: list[str]) -> Ruling:
    """No limit reached: throughput grows with every user, and all users are served."""
    rule = "not_loaded"
    if not facts.loads:
        return unknown(rule, "No level was measured.", "a level")
    if bounds:
        return absent(rule, "A limit was found.")
    top = facts.loads[-1]
    if not top.served:
        why = f"Too few replies were served at {things(top.users, 'user')}"
        not_proven = f"{why}, but that is not proven."
        return absent(rule, f"{why}.") if top.failed else unknown(rule, not_proven, longer_levels([top]))
    found = client_slope(facts.loads)
    if len(facts.loads) == 1:
        return unknown(rule, "Only one level was measured.", f"a level with {more(top.users)}")
    if found is None:
        return unknown(
            rule, "All levels had about the same number of replies at once.", f"levels with {more(top.users)}"
        )
    return _rising(top, found)


def _rising(top: Load, found: Slope) -> Ruling:
    rule, twice = "not_loaded", 2**found.power
    waiting = top.gauges.waiting[~np.isnan(top.gauges.waiting)]
    shown = [Fact("factor in tokens/s from doubling the concurrent replies", twice, "")]
    if len(waiting):
        shown.append(
            Fact(f"mean of waiting requests at {things(top.users, 'user')}", float(waiting.mean()), "requests")
        )
    if top.kv_max is not None:
        shown.append(Fact(f"peak KV-cache usage at {things(top.users, 'user')}", top.kv_max, "fraction"))
    if found.power < MIN_RISING:
        return absent(rule, "Throughput grows more slowly than the number of concurrent replies.", *shown)
    if found.hides_plateau:
        larger = decimals(found.high.batch / found.low.batch)
        why = f"{larger} times the concurrent replies brought more tokens per second. {UNSEEN}"
        return unknown(rule, why, found.level_between, *shown)
    if found.power - found.margin < MIN_RISING:
        why = f"Doubling the concurrent replies brings {decimals(twice)} times the throughput, which may be noise."
        too_large = found.margin / max(found.power - MIN_RISING, 1e-9)
        return unknown(rule, why, longer_levels([found.low.load, found.high.load], too_large), *shown)
    grade = graded(
        {},
        {
            "no request waited for a slot": None if not len(waiting) else float(waiting.mean()) < 1,
            "the KV cache has room": None if top.kv_max is None else top.kv_max < NEARLY_FULL,
        },
    )
    why = (
        f"At {things(top.users, 'user')} enough replies are served, and throughput still grows with {more(top.users)}."
    )
    option, twice_that = "--rate" if isinstance(top.users, Rate) else "--levels", in_unit_of(top.users, 2 * top.users)
    four_times = in_unit_of(top.users, 4 * top.users)
    advice = f"Measure {more(top.users)}: {option} {top.users},{twice_that},{four_times}."
    return holds(rule, why, "no limit reached yet", grade, advice, shown)

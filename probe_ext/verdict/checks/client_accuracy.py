"""Was the load generator fast enough? It measures its own measurement error.

The checks take plain figures, so that a run that goes on is judged as its report will judge it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from probe_ext.measure.sketch import LatencySketch
from probe_ext.verdict.evidence.columns import numbers
from probe_ext.verdict.evidence.evidence import Evidence, quantile
from probe_ext.verdict.evidence.manifest_view import by_kernel, calibration, number, workers
from probe_ext.verdict.evidence.shared_machine import shares_machine
from probe_ext.verdict.phrasing.formats import percent, seconds
from probe_ext.verdict.phrasing.plurals import listed
from probe_ext.verdict.phrasing.worker_names import is_lone, worker_name
from probe_ext.verdict.values.finding import Finding

MAX_RECEIVE_LAG_S = 0.050
"""99th percentile."""
INVALID_READ_LAG_S = 0.250
"""The same without kernel receive times, from which a wait for the first word of a second cannot be judged."""
MAX_LOOP_LAG_S = 0.25
"""Longest delay of the event loop without a warning."""
INVALID_LOOP_LAG_S = 1.0
"""The same, from which user-space receive times are useless: as long as the first word may take."""
MAX_CPU_SHARE = 0.9
"""Of one core."""
MAX_LATE_START_S, INVALID_LATE_START_S = 0.1, 1.0
"""99th percentile: from here a warning; from here the load was not the requested one."""
MAX_CLOCK_ERROR_S = 0.005

SPEED_CHECKS = ("receive_lag", "loop_lag", "late_starts", "worker_cpu")
WHOLE_RUN_CHECKS = ("receive_lag", "late_starts", "worker_cpu", "client_faults")
"""Checks that measure the whole run; `loop_lag` shows one worst moment."""

MIN_BUSY_CPU_SHARE, MAX_IDLE_CPU_SHARE = 0.5, 0.2
"""Of one core, over the whole run: from here on a worker's own work may delay it; up to here it does not."""

MORE_WORKERS = "Use more workers (--processes, or more machines)"
MORE_WORKERS_OR_OWN_MACHINE = f"{MORE_WORKERS}, or a machine that does nothing else."


def accuracy_checks(evidence: Evidence) -> Iterator[Finding]:
    """Yield the checks of receive lag, event loop, CPU, late starts and clocks."""
    manifest = evidence.manifest
    yield receive_lag(_p99(evidence, "lag"), _p99(evidence, "overdue"), manifest, _gap_error(evidence))
    yield loop_lag(manifest)
    yield worker_cpu(manifest)
    yield late_starts(quantile(numbers(evidence.replies, "late"), 0.99), manifest)
    yield _clocks(evidence)


def lasting_faults(findings: Iterable[Finding]) -> list[Finding]:
    """Return those that show that the load generator may be the limit: for the whole run, or enough to spoil it."""
    failed = (finding for finding in findings if finding.state == "fail")
    return [f for f in failed if f.check in WHOLE_RUN_CHECKS or (f.check in SPEED_CHECKS and f.makes_invalid)]


def keep_up_advice(manifest: Mapping[str, Any]) -> str:
    """Say what helps a load generator that was late, by how busy its workers were: theirs or others' work delays it."""
    used = _cpu_shares(manifest)
    if not used or MAX_IDLE_CPU_SHARE < max(used) < MIN_BUSY_CPU_SHARE:
        return MORE_WORKERS_OR_OWN_MACHINE
    if max(used) >= MIN_BUSY_CPU_SHARE:
        return f"{MORE_WORKERS}."
    other = "probably the server, which runs there too," if shares_machine(manifest) else "something else"
    return (
        f"More workers do not help: the busiest used only {percent(max(used))} of a core, so {other} kept its "
        "machine busy. Give the load generator a machine of its own."
    )


def _cpu_shares(manifest: Mapping[str, Any]) -> list[float]:
    """Return how much of a core each worker used over the whole run, where it is known."""
    duration = number(manifest, "duration")
    used = [number(worker, "cpu_seconds") for worker in workers(manifest)]
    return [cpu / duration for cpu in used if cpu is not None and duration]


def receive_lag(p99: float | None, overdue: float | None, manifest: Mapping[str, Any], gap_error: str = "") -> Finding:
    """How long bytes waited in the kernel before they were read. Kernel receive times are right in spite of it.

    `overdue`: the 99th percentile without deliberate coalescing; `gap_error`: how accurate gaps are, a sentence.
    """
    kernel = by_kernel(manifest)
    if p99 is None:
        why = "Receive times are those of the program's reads; how long the data had waited in the kernel is not known."
        return Finding("receive_lag", "unproven", True, why, "On Linux, kernel receive times are used automatically.")
    if not kernel:
        why = (
            f"99 % of reads came within {seconds(p99)} of the data's arrival, as far as the reading thread measures "
            "itself; receive times are those of the program's reads."
        )
        if p99 <= MAX_RECEIVE_LAG_S:
            return Finding("receive_lag", "pass", True, why)
        return Finding("receive_lag", "fail", p99 > INVALID_READ_LAG_S, why, keep_up_advice(manifest))
    coalesced = overdue is not None and overdue < p99
    without = f", {seconds(overdue)} without deliberate coalescing" if coalesced else ""
    why = f"99 % of reads came within {seconds(p99)} of the data's arrival{without}; kernel receive times were used."
    why += gap_error
    if p99 <= MAX_RECEIVE_LAG_S:
        return Finding("receive_lag", "pass", False, why)
    effect = " Token times stay right, but the gaps between tokens of one read are unknown."
    return Finding("receive_lag", "fail", False, f"{why}{effect}", keep_up_advice(manifest))


def _p99(evidence: Evidence, metric: str) -> float | None:
    merged = LatencySketch()
    for window in evidence.windows:
        if window.metric == metric and window.sketch is not None:
            merged.merge(window.sketch)
    return merged.quantile(0.99)


def _gap_error(evidence: Evidence) -> str:
    """State the calibrated error of gaps, if this run took its times in the same way as the calibration."""
    calibrated = calibration(evidence.manifest)
    p99 = number(calibrated, "gap_error_p99")
    if p99 is None or calibrated.get("receive_stamps") != "kernel":
        return ""
    reads, unresolved = (float(np.nansum(numbers(evidence.replies, c))) for c in ("reads", "reads_unresolved"))
    but = f", except in the {percent(unresolved / reads)} of reads with several tokens" if unresolved else ""
    return f" Gaps are accurate to {1e6 * p99:.0f} µs (99 %, by probe calibrate){but}."


def loop_lag(manifest: Mapping[str, Any]) -> Finding:
    """How long the event loop was delayed at worst."""
    lags = {str(w.get("id")): number(w, "loop_lag_max") for w in workers(manifest)}
    known = {worker: lag for worker, lag in lags.items() if lag is not None}
    if not known:
        return Finding("loop_lag", "unproven", False, "The delay of the load generator's event loop is not known.")
    invalidates = by_kernel(manifest) is False and max(known.values()) > INVALID_LOOP_LAG_S
    why = f"The load generator's event loop was delayed by up to {seconds(max(known.values()))}."
    if max(known.values()) <= MAX_LOOP_LAG_S:
        return Finding("loop_lag", "pass", invalidates, why)
    busy = [worker_name(manifest, worker) for worker, lag in sorted(known.items()) if lag > MAX_LOOP_LAG_S]
    if not is_lone(manifest):
        why = f"{why[:-1]} ({listed(busy)})."
    return Finding("loop_lag", "fail", invalidates, why, keep_up_advice(manifest))


def worker_cpu(manifest: Mapping[str, Any]) -> Finding:
    """How busy the busiest worker was over the whole run."""
    known = _cpu_shares(manifest)
    if not known:
        return Finding("worker_cpu", "unproven", False, "The CPU usage of the load generator is not known.")
    why = f"The busiest worker used {percent(max(known))} of a core."
    if max(known) <= MAX_CPU_SHARE:
        return Finding("worker_cpu", "pass", False, why)
    return Finding("worker_cpu", "fail", False, why, keep_up_advice(manifest))


def late_starts(p99: float | None, manifest: Mapping[str, Any]) -> Finding:
    """How late requests were sent. Waits are corrected for it, but too much changes the load."""
    if p99 is None:
        return Finding("late_starts", "unproven", True, "How late requests were sent is not known.")
    why = f"99 % of requests were sent within {seconds(p99)} of when they were due."
    if p99 <= MAX_LATE_START_S:
        return Finding("late_starts", "pass", True, why)
    too_late = p99 > INVALID_LATE_START_S
    why += " The load was not the requested one." if too_late else ""
    return Finding("late_starts", "fail", too_late, why, keep_up_advice(manifest))


def _clocks(evidence: Evidence) -> Finding:
    """How well the workers' clocks are synchronised with the master's."""
    errors = {str(w.get("id")): number(w, "clock_error") for w in workers(evidence.manifest)}
    known = {worker: error for worker, error in errors.items() if error is not None}
    if not known:
        return Finding("clocks", "unproven", False, "How well the workers' clocks agree is not known.")
    why = f"The workers' clocks are synchronised to within {seconds(max(known.values()))}."
    inaccurate = [worker for worker, error in sorted(known.items()) if error > MAX_CLOCK_ERROR_S]
    if not inaccurate:
        return Finding("clocks", "pass", False, why)
    named = listed([worker_name(evidence.manifest, worker) for worker in inaccurate])
    why = f"{why[:-1]} ({named}). Waits and gaps are not affected, only the position of replies on the time axis."
    return Finding("clocks", "fail", False, why, "Use a faster or less loaded network between master and workers.")

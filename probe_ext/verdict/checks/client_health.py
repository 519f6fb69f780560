"""Was the client fast enough to be believed? The ruler measures its own error."""

from collections.abc import Iterator

import numpy as np

from probe_ext.measure.sketch import LatencySketch
from probe_ext.verdict.values.columns import numbers
from probe_ext.verdict.values.evidence import Evidence, quantile
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import percent, seconds
from probe_ext.verdict.values.manifest_view import by_kernel, number, workers
from probe_ext.verdict.values.plurals import listed
from probe_ext.verdict.values.worker_names import is_lone, worker_name

LAG = 0.050
"""seconds: receive lag, 99th percentile"""
LOOP_LAG = 0.25
"""seconds: the event loop's longest lateness worth a word"""
LOOP_LAG_SPOILS = 1.0
"""seconds: the same, where receive times are those of our own reads: as long as the first word may take"""
CPU = 0.9
"""of one core"""
LATE, LATE_SPOILS = 0.1, 1.0
"""seconds: late starts, 99th percentile: worth a word; too late for the load to be the one that was asked for"""
UNRESOLVED = 0.10
"""of the reads"""
CLOCK_ERROR = 0.005
"""seconds"""

_LIGHTER = "Use more workers (--processes, or further machines), or a load generator with nothing else to do."


def ruler_checks(evidence: Evidence) -> Iterator[Finding]:
    """Receive lag, event loop, CPU, late starts, unresolved reads, clocks."""
    yield _receive_lag(evidence)
    yield _loop_lag(evidence)
    yield _cpu(evidence)
    yield _late(evidence)
    yield _unresolved(evidence)
    yield _clocks(evidence)


def _receive_lag(evidence: Evidence) -> Finding:
    """How long bytes lay in the kernel before we read them. By the kernel's stamps that leaves the figures right."""
    kernel = by_kernel(evidence.manifest)
    p99, overdue = _p99(evidence, "lag"), _p99(evidence, "overdue")
    if p99 is None:
        why = "Bytes were timed as the program read them; how long they had lain there is not known."
        return Finding(
            "receive_lag", "unproven", True, why, "On Linux the kernel's receive times are used by themselves."
        )
    whose = "the kernel's receive times were used" if kernel else "times are those of our own reads"
    waits = overdue is not None and overdue < p99
    unmeant = f", {seconds(overdue)} where waiting for others on purpose is left out" if waits else ""
    within = f"within {seconds(p99)} of the data's arrival{unmeant}"
    why = f"99 % of all reads came {within}; {whose}.{_error(evidence, kernel)}"
    if p99 <= LAG:
        return Finding("receive_lag", "pass", not kernel, why)
    effect = " Token times stay right, but reads that carry several tokens at once are not resolved." if kernel else ""
    return Finding("receive_lag", "fail", not kernel, f"{why}{effect}", _LIGHTER)


def _p99(evidence: Evidence, metric: str) -> float | None:
    """Of all windows together."""
    whole = LatencySketch()
    for window in evidence.windows:
        if window.metric == metric and window.sketch is not None:
            whole.merge(window.sketch)
    return whole.quantile(0.99)


def _error(evidence: Evidence, kernel: bool | None) -> str:
    """How right this run's token times are: what was calibrated on this machine, where the same times were used."""
    ruler = evidence.manifest.get("calibration")
    calibrated = ruler if isinstance(ruler, dict) and ruler.get("receive_stamps") == "kernel" else {}
    p99 = number(calibrated, "gap_error_p99")
    if not kernel or p99 is None:
        return ""
    reads, unresolved = (float(np.nansum(numbers(evidence.replies, c))) for c in ("reads", "reads_unresolved"))
    but = f", but for the {percent(unresolved / reads)} of reads that carried several tokens" if unresolved else ""
    return f" A gap is right to {1e6 * p99:.0f} µs (99 %, by probe calibrate){but}."


def _loop_lag(evidence: Evidence) -> Finding:
    lags = {str(w.get("id")): number(w, "loop_lag_max") for w in workers(evidence.manifest)}
    known = {worker: lag for worker, lag in lags.items() if lag is not None}
    if not known:
        return Finding("loop_lag", "unproven", False, "How late the load generator's own loop ran is not known.")
    spoils = by_kernel(evidence.manifest) is False and max(known.values()) > LOOP_LAG_SPOILS
    why = f"The load generator's own loop was late by {seconds(max(known.values()))} at most."
    if max(known.values()) <= LOOP_LAG:
        return Finding("loop_lag", "pass", spoils, why)
    busy = [worker_name(evidence.manifest, worker) for worker, lag in sorted(known.items()) if lag > LOOP_LAG]
    who = "" if is_lone(evidence.manifest) else f" ({listed(busy)})"
    return Finding("loop_lag", "fail", spoils, f"{why}{who}", _LIGHTER)


def _cpu(evidence: Evidence) -> Finding:
    duration = number(evidence.manifest, "duration")
    used = {str(w.get("id")): number(w, "cpu_seconds") for w in workers(evidence.manifest)}
    known = {worker: cpu / duration for worker, cpu in used.items() if cpu is not None and duration}
    if not known:
        return Finding("worker_cpu", "unproven", False, "How much CPU time the load generator used is not known.")
    why = f"The busiest worker used {percent(max(known.values()))} of a core."
    if max(known.values()) <= CPU:
        return Finding("worker_cpu", "pass", False, why)
    return Finding("worker_cpu", "fail", False, why, _LIGHTER)


def _late(evidence: Evidence) -> Finding:
    """Between the moment a user wanted to send and our acting on it. Taken off the wait, so it spoils only the load."""
    p99 = quantile(numbers(evidence.replies, "late"), 0.99)
    if p99 is None:
        return Finding("late_starts", "unproven", True, "How late replies were started is not known.")
    why = f"99 % of all replies were started within {seconds(p99)} of when they were due."
    if p99 <= LATE:
        return Finding("late_starts", "pass", True, why)
    why += " The load was not the one that was asked for." if p99 > LATE_SPOILS else ""
    return Finding("late_starts", "fail", p99 > LATE_SPOILS, why, _LIGHTER)


def _unresolved(evidence: Evidence) -> Finding:
    """Reads that carried several token events: the gaps between those are not resolved."""
    unresolved, reads = (float(np.nansum(numbers(evidence.replies, c))) for c in ("reads_unresolved", "reads"))
    if not reads:
        return Finding("unresolved_reads", "unproven", False, "How many reads carried several tokens is not known.")
    share = unresolved / reads
    why = f"{percent(share)} of all reads carried several tokens at once."
    if share <= UNRESOLVED:
        return Finding("unresolved_reads", "pass", False, why)
    why += " The gaps between those tokens are not resolved; the first word, typing speed and long pauses are."
    advice = f"The server or a proxy bundles tokens, or the client was late. {_LIGHTER}"
    return Finding("unresolved_reads", "fail", False, why, advice)


def _clocks(evidence: Evidence) -> Finding:
    """How well the workers' clocks are known against the master's."""
    errors = {str(w.get("id")): number(w, "clock_error") for w in workers(evidence.manifest)}
    known = {worker: error for worker, error in errors.items() if error is not None}
    if not known:
        return Finding("clocks", "unproven", False, "How well the workers' clocks agree is not known.")
    why = f"The workers' clocks are known to {seconds(max(known.values()))}."
    if max(known.values()) <= CLOCK_ERROR:
        return Finding("clocks", "pass", False, why)
    off = listed(
        [worker_name(evidence.manifest, worker) for worker, error in sorted(known.items()) if error > CLOCK_ERROR]
    )
    why += f" ({off}) Waits and gaps are not touched by it; only where replies lie on the common time axis is."
    return Finding("clocks", "fail", False, why, "Use a faster or calmer network between master and workers.")

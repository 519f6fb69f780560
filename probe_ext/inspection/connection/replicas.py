"""Do several servers answer behind one address? Their counters would then be read in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.subject import Subject
from probe_ext.target.metrics.catalogue import Reading
from probe_ext.verdict.phrasing.plurals import things

_READS = 8
_COUNTERS = ("prompt_tokens", "generation_tokens", "requests_finished")
_ADVICE = "Name each replica's own metrics page (--metrics-url URL,URL), or measure one replica."


@dataclass(frozen=True, slots=True)
class Look:
    """What one read of the metrics page tells about who answered."""

    started: float | None
    """unix seconds at which the process started"""
    counters: tuple[float | None, ...]


def replicas(subject: Subject) -> CheckResult:
    """Read the metrics page over several new connections."""
    if subject.server.metrics_error or subject.options.no_metrics:
        return CheckResult(
            "replicas", Status.UNKNOWN, "Without metrics, several servers behind one address go unnoticed."
        )
    return judged([look for look in (_look(subject) for _ in range(_READS)) if look is not None])


def _look(subject: Subject) -> Look | None:
    fetcher = subject.new_fetcher()
    try:
        reading = subject.metrics(fetcher)
    finally:
        fetcher.close()
    if not isinstance(reading, Reading):
        return None
    values: dict[str, float] = {}
    for figure in reading.figures:
        values[figure.quantity] = values.get(figure.quantity, 0.0) + figure.value
    return Look(values.get("process_start"), tuple(values.get(name) for name in _COUNTERS))


def judged(looks: Sequence[Look]) -> CheckResult:
    """Tell from successive looks how many servers answered."""
    if len(looks) < 2:
        return CheckResult("replicas", Status.UNKNOWN, "The metrics page could not be read often enough to tell.")
    starts = {look.started for look in looks if look.started is not None}
    backwards = sum(_fell(before, after) for before, after in pairwise(looks))
    figures = {"reads": len(looks), "process_starts": len(starts), "counters_fell": backwards}
    if len(starts) > 1:
        evidence = f"At least {things(len(starts), 'server')} answer behind this address: {len(looks)} reads of the "
        evidence += f"metrics page show {len(starts)} different starts. Their counters are read in turn."
        return CheckResult("replicas", Status.PROBLEM, evidence, _ADVICE, figures)
    if backwards:
        evidence = f"Counters went backwards {things(backwards, 'time')} in {len(looks)} reads of the metrics page: "
        evidence += "several servers answer behind this address, or one restarts."
        return CheckResult("replicas", Status.PROBLEM, evidence, _ADVICE, figures)
    known = any(value is not None for look in looks for value in (look.started, *look.counters))
    if not known:
        return CheckResult(
            "replicas", Status.UNKNOWN, "Nothing on the metrics page tells servers apart.", None, figures
        )
    evidence = f"No sign of several servers in {len(looks)} reads of the metrics page over new connections."
    return CheckResult("replicas", Status.OK, evidence, None, figures)


def _fell(before: Look, after: Look) -> bool:
    pairs = zip(before.counters, after.counters, strict=True)
    return any(old is not None and new is not None and new < old for old, new in pairs)

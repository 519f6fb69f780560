"""Does the server show its metrics, which are missing, and what does a report lose without them?"""

import math

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure import clock
from probe_ext.target.control.call_result import Failed
from probe_ext.target.metrics.catalogue import Reading
from probe_ext.target.metrics.metrics_text import Unreadable
from probe_ext.target.metrics.poller import MAX_BUSY_SHARE, SLOW_PAGE_TIMEOUT_S
from probe_ext.target.metrics.quantities import QUANTITIES
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import listed, things

_GENERATED = "generation_tokens"
_COSTS = {
    "running": "whether the batch is limited",
    "waiting": "whether requests queue",
    "kv_usage": "whether the KV cache is full",
    "preemptions": "whether requests are preempted",
    "generation_tokens": "whether others use the server",
    "prompt_tokens": "how much prefill there is",
    "ttft_count": "how much of the wait for the first token is the server's own",
    "queue_count": "how long requests queue",
    "prefix_hits": "how much the prefix cache saves",
}
"""what cannot be said without a quantity"""
_SWITCH_ON = {
    "llama.cpp": "Start llama-server with `--metrics`.",
    "sglang": "Start SGLang with `--enable-metrics`.",
    "vllm": "Remove `--disable-log-stats`, and let /metrics through the proxy.",
}
_ELSEWHERE = "Name the metrics page with --metrics-url if it is elsewhere."


_MIN_GROWTH_SHARE = 0.5
"""of the tokens that arrived, by which the server's counter must have grown"""
_MANY_TOKENS = 50
_IMPOSSIBLE_ADVICE = "Look for an update of the server: a run leaves such values out."
_ALONE_ADVICE = "Measure while nobody else uses it: levels beside others' load are not judged."
_COPY_ADVICE = "Name the server's own page with --metrics-url, past any proxy that keeps copies of it."


def contradiction(reading: Reading, subject: Subject) -> CheckResult | None:
    """Say what of the page cannot be true: by itself, and against the replies since it was first read."""
    if reading.impossible:
        shown = listed([f"{figure.quantity} {figure.value:g}" for figure in reading.impossible])
        return CheckResult("metrics", Status.WARN, f"The page has impossible values: {shown}.", _IMPOSSIBLE_ADVICE)
    if subject.first_reading is not None:
        why = _against_replies(reading, *subject.first_reading, subject)
        if why:
            return CheckResult("metrics", Status.WARN, why, _COPY_ADVICE)
    if subject.first_reading is not None and (others := _requests(subject.first_reading[0])):
        used = f"Others are using the server: before the first request, it had {things(int(others), 'request')}."
        return CheckResult("metrics", Status.WARN, used, _ALONE_ADVICE)
    if reading.other_models:
        left = f"The page has series of other models, too ({listed(reading.other_models)}), which are left out."
        named = any(figure.quantity == "running" for figure in reading.figures)
        status = Status.OK if named else Status.WARN
        lost = "" if named else " None is of this model, which may be an alias: nothing is left."
        return CheckResult("metrics", status, f"{left}{lost}", None if named else "Name the model with --model.")
    return None


def _against_replies(reading: Reading, first: Reading, since: float, subject: Subject) -> str | None:
    """Compare the counter of generated tokens with the tokens of the samples, and with the time."""
    grown = _total(reading) - _total(first)
    received = sum(reply.tokens_out or len(reply.at) for reply in subject.answers)
    limit = QUANTITIES[_GENERATED].max_rate or math.inf
    if math.isnan(grown) or received < _MANY_TOKENS:
        return None
    tokens = things(round(grown), "token")
    if grown > limit * max(clock.monotonic() - since, 1.0):
        return f"Its counters contradict the clock: {tokens} in {clock.monotonic() - since:.0f} s."
    if 0 <= grown < _MIN_GROWTH_SHARE * received:
        return f"Its counter grew by {tokens} while {received:,} arrived: the page is an old copy, or another server's."
    return None


def _requests(reading: Reading) -> float:
    """Return the requests that the server ran or let wait."""
    return sum(figure.value for figure in reading.figures if figure.quantity in {"running", "waiting"})


def _total(reading: Reading) -> float:
    values = [figure.value for figure in reading.figures if figure.quantity == _GENERATED]
    return sum(values) if values else math.nan


def metrics(subject: Subject) -> CheckResult:
    """Read the page once, and say what is missing."""
    if subject.options.no_metrics:
        return CheckResult("metrics", Status.OK, "Not read (--no-metrics).")
    began = clock.monotonic()
    reading = subject.metrics()
    took = clock.monotonic() - began
    if isinstance(reading, Failed | Unreadable):
        lost = "Without them, a report cannot say what limits the server, nor whether others use it"
        advice = f"{_SWITCH_ON.get(subject.server.kind, '')} {_ELSEWHERE}".strip()
        return CheckResult("metrics", Status.WARN, f"None: {reading.why}. {lost}.", advice)
    if wrong := contradiction(reading, subject):
        return wrong
    there = {figure.quantity for figure in reading.figures}
    missing = [name for name in _COSTS if name not in there and f"{name}_blocks" not in there]
    figures = {"quantities": len(there), "missing": ", ".join(missing) or None, "seconds": took}
    evidence = f"{len(there)} quantities of {reading.kind}, read in {formats.seconds(took)}"
    period = took / MAX_BUSY_SHARE
    if period > subject.options.metrics_every:
        late = f"{evidence}: a run reads the page only about every {formats.seconds(period)}, so peaks are missed."
        advice = f"Name a page that answers faster (--metrics-url). A read is given up after {SLOW_PAGE_TIMEOUT_S:g} s."
        return CheckResult("metrics", Status.WARN, late, advice, figures)
    costs = [_COSTS[name] for name in missing]
    if not subject.server.cache:
        costs.append("how many requests fit the KV cache")
    if not costs:
        return CheckResult("metrics", Status.OK, f"{evidence}; nothing is missing.", None, figures)
    return CheckResult(
        "metrics", Status.OK, f"{evidence}. Not shown, so a report cannot say {'; '.join(costs)}.", None, figures
    )

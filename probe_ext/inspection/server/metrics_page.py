"""Does the server show its metrics, which are missing, and what does a report lose without them?"""

from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure import clock
from probe_ext.target.control.call_result import Failed
from probe_ext.target.metrics.metrics_text import Unreadable
from probe_ext.target.metrics.poller import MAX_BUSY_SHARE, SLOW_PAGE_TIMEOUT_S
from probe_ext.verdict.phrasing import formats

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

"""The canonical quantities in `server.csv`, for all engines.

`within` combines samples of one engine that differ in other labels (model, finish reason, rank). `over` combines
data-parallel engines; `max` means that the fullest engine is the limit. Counters only grow until the server restarts.
Gauges are set once per engine step: polls see samples, not peaks, and an idle engine shows its last step.

Pitfalls:
- A metric that exists need not be measured: several vLLM counters stay 0 without a certain flag.
- `preemptions` lags: vLLM counts a preemption when the request resumes, and never if it is aborted first.
- `waiting` includes preempted requests; the `queue_*` histogram does not count them again.
- `prefix_queries` of vLLM up to 0.26 counts every scheduling attempt: with a full KV cache, queries and hits grow far
  beyond `prompt_tokens`. If queries exceed 1.05 × prompt tokens, neither may be used.
- `*_sum/_count` of e2e, queue, prefill, decode and tpot change only when a request finishes.
Sources: vLLM `v1/metrics/loggers.py` and `stats.py`; SGLang `srt/metrics/collector.py`; the engines' documentation.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter"]
Fold = Literal["sum", "max"]


MAX_FRACTION = 1.01  # more than rounding explains
_MAX_COUNT, _MAX_REQUESTS, _MAX_UNIX_S = 1e15, 1e7, 1e11
_MAX_RATES = {"tokens": 1e7, "blocks": 1e7, "requests": 1e5, "preemptions": 1e5, "observations": 1e7, "seconds": 1e6}
"""Growth of a counter per second that no engine reaches, by unit."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A canonical quantity."""

    name: str
    unit: str
    kind: Kind
    within: Fold
    over: Fold
    meaning: str

    def is_possible(self, value: float) -> bool:
        """Tell whether a server can have this value: a finite one that is not negative, no fraction above 1."""
        return 0 <= value <= self.highest  # false for NaN as well

    @property
    def highest(self) -> float:
        """Value that no server exceeds."""
        if self.kind == "counter":
            return _MAX_COUNT
        return {"fraction": MAX_FRACTION, "requests": _MAX_REQUESTS}.get(self.unit, _MAX_UNIX_S)

    @property
    def max_rate(self) -> float | None:
        """Growth per second that no engine reaches; None for a gauge."""
        return _MAX_RATES[self.unit] if self.kind == "counter" else None


def _gauge(name: str, unit: str, meaning: str, fold: Fold = "sum") -> Quantity:
    return Quantity(name, unit, "gauge", fold, fold, meaning)


def _counter(name: str, unit: str, meaning: str) -> Quantity:
    return Quantity(name, unit, "counter", "sum", "sum", meaning)


def _histogram(name: str, meaning: str) -> tuple[Quantity, Quantity]:
    return (
        _counter(f"{name}_sum", "seconds", f"total of: {meaning}"),
        _counter(f"{name}_count", "observations", f"number of: {meaning}"),
    )


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        _gauge("running", "requests", "requests in the running batch"),
        _gauge("waiting", "requests", "requests waiting to be scheduled, including preempted ones"),
        _gauge(
            "kv_usage",
            "fraction",
            "used fraction of the KV cache; cached but freed blocks are free",
            "max",
        ),
        _gauge("swapped", "requests", "requests swapped out to host memory (vLLM's first engine only)"),
        _counter("preemptions", "preemptions", "requests preempted for lack of KV cache"),
        _counter("prompt_tokens", "tokens", "prompt tokens, including those from the prefix cache"),
        _counter(
            "generation_tokens", "tokens", "generated tokens; SGLang and TGI count them when the request finishes"
        ),
        _counter("prompt_tokens_cached", "tokens", "prompt tokens from the prefix cache"),
        _counter("prefix_queries", "tokens", "tokens looked up in the prefix cache"),
        _counter("prefix_hits", "tokens", "tokens found in the prefix cache"),
        _counter("prefix_queries_blocks", "blocks", "blocks looked up in the prefix cache (older servers)"),
        _counter("prefix_hits_blocks", "blocks", "blocks found in the prefix cache (older servers)"),
        _counter("requests_finished", "requests", "requests finished normally"),
        _counter("requests_aborted", "requests", "aborted requests, if the server counts them"),
        _counter("requests_failed", "requests", "requests that failed with a server error"),
        _counter("rejections", "requests", "requests rejected because the server was too busy"),
        *_histogram("ttft", "time to first token, from arrival at the frontend"),
        *_histogram("itl", "inter-token latency: time between successive steps of a request that produced tokens"),
        *_histogram("tpot", "mean time per output token after the first, of finished requests"),
        *_histogram("e2e", "end-to-end time of finished requests"),
        *_histogram("queue", "time until first scheduled, of finished requests"),
        *_histogram("prefill", "time from first scheduled to first token, of finished requests"),
        *_histogram("decode", "time from first to last token, of finished requests"),
        _gauge("process_start", "unix seconds", "start time of the server's counters; a change means a restart", "max"),
    )
}

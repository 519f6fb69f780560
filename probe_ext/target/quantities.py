"""The canonical quantities: what `server.csv` may hold, whichever engine said it.

One row a quantity. *within*: how samples of one engine that differ in other labels (model, finish reason, rank) are put
together. *over*: how a reader puts data-parallel engines together; `max` marks a quantity where each engine stands for
itself and the fullest one binds. A counter only grows, until its server restarts; `gauge` is a sample of the moment,
set once per engine step, so that a poll sees samples and not peaks, and an idle engine shows its last step.

Traps that hold for every engine:
- *present* is not *measured*: vLLM shows several counters at 0 that only a flag makes move.
- `preemptions` lags: vLLM counts an eviction when its victim resumes, never if the victim is aborted first.
- `waiting` includes preempted requests; the `queue_*` histogram does not grow for them.
- `prefix_queries` of vLLM up to 0.26 is counted at every scheduling attempt: with a full KV cache queries *and* hits
  run away from `prompt_tokens`. Where queries exceed 1.05 × prompt tokens, neither may be used.
- `*_sum/_count` of e2e, queue, prefill, decode and tpot move only when a request finishes.
Sources: vLLM `v1/metrics/loggers.py` and `stats.py`; SGLang `srt/metrics/collector.py`; the engines' documentation.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter"]
Fold = Literal["sum", "max"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One canonical quantity."""

    name: str
    unit: str
    kind: Kind
    within: Fold
    over: Fold
    meaning: str


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
        _gauge("waiting", "requests", "requests that wait for a place in the batch, preempted ones included"),
        _gauge(
            "kv_usage", "fraction", "used part of the KV cache, 0..1; freed but still cached blocks are free", "max"
        ),
        _gauge("swapped", "requests", "requests swapped out to host memory (vLLM's first engine only)"),
        _counter("preemptions", "preemptions", "requests put out of the batch for want of KV cache"),
        _counter("prompt_tokens", "tokens", "prompt tokens, those from the prefix cache included"),
        _counter("generation_tokens", "tokens", "tokens made; SGLang and TGI add them when the request finishes"),
        _counter("prompt_tokens_cached", "tokens", "prompt tokens taken from a prefix cache"),
        _counter("prefix_queries", "tokens", "tokens looked up in the prefix cache"),
        _counter("prefix_hits", "tokens", "tokens of them that were there"),
        _counter("prefix_queries_blocks", "blocks", "blocks looked up, where an old server counts blocks"),
        _counter("prefix_hits_blocks", "blocks", "blocks of them that were there"),
        _counter("requests_finished", "requests", "requests that came to an end of their own"),
        _counter("requests_aborted", "requests", "requests given up, where the server counts them"),
        _counter("requests_failed", "requests", "requests that ended in an error of the server's"),
        _counter("rejections", "requests", "requests refused because the server was too busy"),
        *_histogram("ttft", "time to the first token, from arrival at the frontend"),
        *_histogram("itl", "time between a request's successive steps that gave tokens"),
        *_histogram("tpot", "a finished request's mean time a token after the first"),
        *_histogram("e2e", "whole time of a finished request"),
        *_histogram("queue", "wait of a finished request until first scheduled"),
        *_histogram("prefill", "first scheduled until first token, of a finished request"),
        *_histogram("decode", "first token until last, of a finished request"),
        _gauge("process_start", "unix seconds", "when the server's counters began: a jump is a restart", "max"),
    )
}

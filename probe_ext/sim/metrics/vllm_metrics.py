"""The server's own figures, under the names, labels, types and bucket edges of vLLM 0.32.0.

Meanings follow vLLM's ``v1/metrics/stats.py``: gauges are those of the last step; prompt tokens count when a prefill
ends, generated tokens with every step; latencies of whole requests when they finish; one inter-token latency for each
request and step. Times are seconds, ``created`` is Unix time.
"""

from collections import Counter

from probe_ext.sim.engine.step_types import Finished, Snapshot, Step
from probe_ext.sim.metrics.exposition import Histogram, Labels, counter, gauge, histogram, labels
from probe_ext.sim.metrics.vllm_series import (
    ENGINE_COUNTERS,
    FINISHED_REASONS,
    HISTOGRAMS,
    LATENESS_EDGES,
    SOURCES,
    cache_config,
    histogram_edges,
)
from probe_ext.sim.profile import Profile


class Metrics:
    """Counts from one start of the server."""

    def __init__(self, profile: Profile, model: str, created: float) -> None:
        self._profile = profile
        self._created = created
        self._own = {"engine": "0", "model_name": model}
        self._counters: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._http: Counter[Labels] = Counter()
        self._snapshot = Snapshot(0, 0, 0.0)
        self._histograms = {name: Histogram(histogram_edges(name, profile.max_model_len)) for name in HISTOGRAMS}
        self._lateness = Histogram(LATENESS_EDGES)
        self._latest = 0.0

    def observe(self, step: Step) -> None:
        """Add what a step did, at the moment its tokens were due."""
        tally = step.tally
        self._snapshot = step.snapshot
        self._counters.update(
            prefix_cache_queries=tally.queries,
            prefix_cache_hits=tally.hits,
            num_preemptions=tally.preemptions,
            prompt_tokens=tally.prompt_tokens,
            prompt_tokens_cached=tally.cached_tokens,
            generation_tokens=tally.reply_tokens,
        )
        self._histograms["iteration_tokens_total"].observe(
            tally.prompt_tokens - tally.cached_tokens + tally.reply_tokens
        )
        for wait in tally.first_waits:
            self._histograms["time_to_first_token_seconds"].observe(wait)
        for before, times in tally.gaps.items():
            self._histograms["inter_token_latency_seconds"].observe(step.end - before, times)
        for finished in step.finished:
            self._finish(finished)

    def gauges(self, snapshot: Snapshot) -> None:
        """The gauges changed outside a step: a request was aborted."""
        self._snapshot = snapshot

    def asked(self, max_tokens: int, choices: int) -> None:
        """A request's parameters (vLLM counts them when it finishes; so does the caller)."""
        self._histograms["request_params_max_tokens"].observe(max_tokens)
        self._histograms["request_max_num_generation_tokens"].observe(max_tokens)
        self._histograms["request_params_n"].observe(choices)

    def answered(self, method: str, handler: str, status: int) -> None:
        """An HTTP answer was given."""
        self._http[labels(handler=handler, method=method, status=f"{status // 100}xx")] += 1

    def late(self, seconds: float) -> None:
        """The last token of a step was handed out this long after it was due."""
        self._lateness.observe(max(0.0, seconds))
        self._latest = max(self._latest, seconds)

    def _finish(self, done: Finished) -> None:
        self._ends[done.finish] += 1
        steps = max(1, done.reply_tokens - 1)
        for name, value in {
            "request_prompt_tokens": done.prompt_tokens,
            "request_generation_tokens": done.reply_tokens,
            "request_time_per_output_token_seconds": (done.last - done.first) / steps,
            "e2e_request_latency_seconds": done.last - done.arrival,
            "request_queue_time_seconds": done.scheduled - done.queued,
            "request_inference_time_seconds": done.last - done.scheduled,
            "request_prefill_time_seconds": done.first - done.scheduled,
            "request_decode_time_seconds": done.last - done.first,
            "request_num_preemptions": done.preemptions,
            "request_prefill_kv_computed_tokens": done.prompt_tokens - done.cached_tokens,
        }.items():
            self._histograms[name].observe(value)

    def render(self) -> str:
        """The whole exposition."""
        own = labels(**self._own)
        lines = [*self._gauges(own), *self._counts(own)]
        for name, text in HISTOGRAMS.items():
            lines += histogram(f"vllm:{name}", text, own, self._histograms[name], self._created)
        config = labels(engine="0", **cache_config(self._profile))
        lines += gauge("vllm:cache_config_info", "Configuration of the KV cache", {config: 1})
        lines += counter("http_requests", "HTTP requests by handler, method and status", self._http, self._created)
        lines += gauge("process_start_time_seconds", "Unix time of the start", {(): self._created})
        text = "How late the last token of each step was handed to its socket"
        lines += histogram("probe_sim_lateness_seconds", text, (), self._lateness, self._created)
        lines += gauge("probe_sim_lateness_max_seconds", "Longest lateness since the start", {(): self._latest})
        return "\n".join(lines) + "\n"

    def _gauges(self, own: Labels) -> list[str]:
        now = self._snapshot
        waiting = {
            labels(reason="capacity", **self._own): float(now.waiting),
            labels(reason="deferred", **self._own): 0.0,
        }
        states = {"awake": 1.0, "weights_offloaded": 0.0, "discard_all": 0.0}
        sleeping = {labels(sleep_state=state, **self._own): value for state, value in states.items()}
        return [
            *gauge("vllm:num_requests_running", "Requests in the batch", {own: now.running}),
            *gauge("vllm:num_requests_waiting", "Requests that wait, preempted ones among them", {own: now.waiting}),
            *gauge("vllm:num_requests_waiting_by_reason", "Waiting requests by reason", waiting),
            *gauge("vllm:engine_sleep_state", "Sleep state of the engine", sleeping),
            *gauge("vllm:kv_cache_usage_perc", "Used share of the KV cache; 1 is all of it", {own: now.kv_usage}),
        ]

    def _counts(self, own: Labels) -> list[str]:
        lines: list[str] = []
        for name, text in ENGINE_COUNTERS.items():
            lines += counter(f"vllm:{name}", text, {own: self._counters[name]}, self._created)
        cached = self._counters["prompt_tokens_cached"]
        computed = self._counters["prompt_tokens"] - cached
        for name, by_source in SOURCES.items():
            amounts = {"local_compute": computed, "local_cache_hit": cached, "device": cached}
            values = {labels(source=source, **self._own): float(amounts.get(source, 0)) for source in by_source}
            lines += counter(f"vllm:{name}", "Prompt tokens by where they came from", values, self._created)
        ends = {labels(finished_reason=reason, **self._own): float(self._ends[reason]) for reason in FINISHED_REASONS}
        lines += counter("vllm:request_success", "Requests that ended, by reason", ends, self._created)
        refused = {
            labels(model_name=self._own["model_name"], reason=f"max_num_queued_{limit}"): 0.0
            for limit in ("reqs", "tokens")
        }
        text = "Requests refused by a queue limit"
        return [*lines, *counter("vllm:admission_rejections", text, refused, self._created)]

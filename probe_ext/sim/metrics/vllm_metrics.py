"""The server's metrics, with the names, labels, types and bucket edges of vLLM 0.32.0.

They follow vLLM's ``v1/metrics/stats.py``: gauges show the last step; prompt tokens are counted when a prefill ends,
generated tokens at every step, latencies of whole requests when they finish; there is one inter-token latency per
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
    """All metrics since one start of the server."""

    def __init__(self, profile: Profile, model: str, created: float) -> None:
        self._profile = profile
        self._created = created
        self._labels = {"engine": "0", "model_name": model}
        self._counters: Counter[str] = Counter()
        self._finish_reasons: Counter[str] = Counter()
        self._http: Counter[Labels] = Counter()
        self._snapshot = Snapshot(0, 0, 0.0)
        self._histograms = {name: Histogram(histogram_edges(name, profile.max_model_len)) for name in HISTOGRAMS}
        self._lateness = Histogram(LATENESS_EDGES)
        self._max_lateness = 0.0

    def observe_step(self, step: Step) -> None:
        """Add a step."""
        tally = step.tally
        self._snapshot = step.snapshot
        self._counters.update(
            prefix_cache_queries=tally.prefix_queries,
            prefix_cache_hits=tally.prefix_hits,
            num_preemptions=tally.preemptions,
            prompt_tokens=tally.prompt_tokens,
            prompt_tokens_cached=tally.cached_tokens,
            generation_tokens=tally.reply_tokens,
        )
        self._histograms["iteration_tokens_total"].observe(
            tally.prompt_tokens - tally.cached_tokens + tally.reply_tokens
        )
        for ttft in tally.ttfts:
            self._histograms["time_to_first_token_seconds"].observe(ttft)
        for previous, count in tally.previous_tokens.items():
            self._histograms["inter_token_latency_seconds"].observe(step.end - previous, count)
        for finished in step.finished:
            self._observe_finished(finished)

    def set_gauges(self, snapshot: Snapshot) -> None:
        """Update the gauges outside a step, when a request was aborted."""
        self._snapshot = snapshot

    def observe_parameters(self, max_tokens: int, choices: int) -> None:
        """Add a request's parameters; call it when the request finishes, as vLLM does."""
        self._histograms["request_params_max_tokens"].observe(max_tokens)
        self._histograms["request_max_num_generation_tokens"].observe(max_tokens)
        self._histograms["request_params_n"].observe(choices)

    def count_response(self, method: str, handler: str, status: int) -> None:
        """Count an HTTP response."""
        self._http[labels(handler=handler, method=method, status=f"{status // 100}xx")] += 1

    def observe_lateness(self, seconds: float) -> None:
        """Add how long after it was due a step's last token was sent."""
        self._lateness.observe(max(0.0, seconds))
        self._max_lateness = max(self._max_lateness, seconds)

    def _observe_finished(self, done: Finished) -> None:
        self._finish_reasons[done.finish_reason] += 1
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
        """Return the text exposition."""
        labelset = labels(**self._labels)
        lines = [*self._gauge_lines(labelset), *self._counter_lines(labelset)]
        for name, text in HISTOGRAMS.items():
            lines += histogram(f"vllm:{name}", text, labelset, self._histograms[name], self._created)
        config = labels(engine="0", **cache_config(self._profile))
        lines += gauge("vllm:cache_config_info", "Configuration of the KV cache", {config: 1})
        lines += counter("http_requests", "HTTP requests by handler, method and status", self._http, self._created)
        lines += gauge("process_start_time_seconds", "Unix time of the start", {(): self._created})
        text = "Lateness of the last token of each step"
        lines += histogram("probe_sim_lateness_seconds", text, (), self._lateness, self._created)
        lines += gauge("probe_sim_lateness_max_seconds", "Maximum lateness since the start", {(): self._max_lateness})
        return "\n".join(lines) + "\n"

    def _gauge_lines(self, labelset: Labels) -> list[str]:
        now = self._snapshot
        waiting = {
            labels(reason="capacity", **self._labels): float(now.waiting),
            labels(reason="deferred", **self._labels): 0.0,
        }
        states = {"awake": 1.0, "weights_offloaded": 0.0, "discard_all": 0.0}
        sleep_states = {labels(sleep_state=state, **self._labels): value for state, value in states.items()}
        return [
            *gauge("vllm:num_requests_running", "Requests in the batch", {labelset: now.running}),
            *gauge("vllm:num_requests_waiting", "Waiting requests, including preempted ones", {labelset: now.waiting}),
            *gauge("vllm:num_requests_waiting_by_reason", "Waiting requests by reason", waiting),
            *gauge("vllm:engine_sleep_state", "Sleep state of the engine", sleep_states),
            *gauge("vllm:kv_cache_usage_perc", "Fraction of the KV cache in use", {labelset: now.kv_usage}),
        ]

    def _counter_lines(self, labelset: Labels) -> list[str]:
        lines: list[str] = []
        for name, text in ENGINE_COUNTERS.items():
            lines += counter(f"vllm:{name}", text, {labelset: self._counters[name]}, self._created)
        cached = self._counters["prompt_tokens_cached"]
        computed = self._counters["prompt_tokens"] - cached
        for name, by_source in SOURCES.items():
            amounts = {"local_compute": computed, "local_cache_hit": cached, "device": cached}
            values = {labels(source=source, **self._labels): float(amounts.get(source, 0)) for source in by_source}
            lines += counter(f"vllm:{name}", "Prompt tokens by source", values, self._created)
        reasons = {
            labels(finished_reason=reason, **self._labels): float(self._finish_reasons[reason])
            for reason in FINISHED_REASONS
        }
        lines += counter("vllm:request_success", "Finished requests by reason", reasons, self._created)
        rejections = {
            labels(model_name=self._labels["model_name"], reason=f"max_num_queued_{limit}"): 0.0
            for limit in ("reqs", "tokens")
        }
        text = "Requests rejected by a queue limit"
        return [*lines, *counter("vllm:admission_rejections", text, rejections, self._created)]

"""What the server would tell at `/metrics`, under the canonical names of `server.csv`, sampled about once a second."""

from collections import defaultdict
from typing import Protocol

from probe_ext.measure.table_rows import ServerRow
from probe_ext.sim.engine.step_types import Finished, Snapshot, Step

URL = "http://virtual/metrics"


class Gauges(Protocol):
    """What an engine tells at any moment."""

    def snapshot(self) -> Snapshot: ...


class ServerBook:
    """Adds up what the engine's steps tell; as vLLM does, latencies of whole requests when they finish."""

    def __init__(self, engine: Gauges) -> None:
        self._engine = engine
        self._counts: defaultdict[str, float] = defaultdict(float)

    def observe(self, step: Step) -> None:
        """Add one step."""
        tally, counts = step.tally, self._counts
        counts["preemptions"] += tally.preemptions
        counts["prompt_tokens"] += tally.prompt_tokens
        counts["prompt_tokens_cached"] += tally.cached_tokens
        counts["generation_tokens"] += tally.reply_tokens
        counts["prefix_queries"] += tally.prefix_queries
        counts["prefix_hits"] += tally.prefix_hits
        for wait in tally.ttfts:
            self._took("ttft", wait)
        for before, times in tally.previous_tokens.items():
            counts["itl_sum"] += times * (step.end - before)
            counts["itl_count"] += times
        for done in step.finished:
            self._finish(done)

    def observe_quiet(self, before: float, end: float, tokens: int) -> None:
        """Add a step in which every request that runs had a token, as in the step before, and nothing else happened."""
        self._counts["generation_tokens"] += tokens
        self._counts["itl_sum"] += tokens * (end - before)
        self._counts["itl_count"] += tokens

    def sample(self, t: float) -> list[ServerRow]:
        """All quantities as they stand."""
        now = self._engine.snapshot()
        gauges = {"running": now.running, "waiting": now.waiting, "kv_usage": now.kv_usage, "process_start": 0.0}
        return [ServerRow(t, URL, "0", name, float(value)) for name, value in {**gauges, **self._counts}.items()]

    def _finish(self, done: Finished) -> None:
        self._counts["requests_finished"] += 1
        self._took("e2e", done.last - done.arrival)
        self._took("queue", done.scheduled - done.queued)
        self._took("prefill", done.first - done.scheduled)
        self._took("decode", done.last - done.first)
        if done.reply_tokens > 1:
            self._took("tpot", (done.last - done.first) / (done.reply_tokens - 1))

    def _took(self, name: str, seconds: float) -> None:
        self._counts[f"{name}_sum"] += seconds
        self._counts[f"{name}_count"] += 1

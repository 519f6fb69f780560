"""The load of each level on the server, as the rules of the diagnosis see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.diagnosis.concurrency import Crowd, crowd
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.server.gauges import Gauges, gauges, growth, mean_of
from probe_ext.verdict.server.server_series import Metrics
from probe_ext.verdict.values.columns import Bools, Floats, numbers
from probe_ext.verdict.values.evidence import Columns, Evidence, quantile
from probe_ext.verdict.values.level_result import LevelResult

_NOT_FAILED = {Outcome.COMPLETE, Outcome.ENDED_BY_US}
THROUGHPUT_BLOCKS = 10
"""Blocks of time per level that show how steady its throughput was."""


@dataclass(frozen=True)
class Load:
    """One level, in seconds and tokens; None where something is not known."""

    users: int
    served: bool
    """whether the level held, or the band seemed to"""
    crowd: Crowd
    tokens_per_s: float | None
    """output tokens per second, all users together"""
    tokens_error: float | None
    """relative standard error of `tokens_per_s`, from blocks of time"""
    replies_per_s: float
    """first tokens per second"""
    ttft: float | None
    """median"""
    tpot: float | None
    """median seconds per token"""
    prompt: float | None
    """mean prompt tokens per reply that were not cached"""
    prompt_whole: float | None
    """mean prompt tokens per reply, cached or not"""
    prefill: float | None
    """mean seconds from scheduled to first token, as the server reports"""
    gauges: Gauges
    preemptions: int | None
    longest_gap: float | None
    failing: bool = False
    """whether failed replies, more than anything else, cost users"""

    @property
    def prompt_per_s(self) -> float | None:
        """Prompt tokens per second that were not cached; None where that is not known."""
        return None if self.prompt is None else self.prompt * self.replies_per_s

    @property
    def prompt_per_s_most(self) -> float | None:
        """The same, as if nothing had been cached."""
        return None if self.prompt_whole is None else self.prompt_whole * self.replies_per_s

    @property
    def batch(self) -> float:
        """Mean batch size: the smaller of replies typing and requests running by the server's gauge.

        A preempted reply still seems to be typing, and a request in prefill is already running.
        """
        running = self.gauges.running[~np.isnan(self.gauges.running)]
        return min(self.crowd.typing, float(running.mean())) if len(running) else self.crowd.typing

    @property
    def running_max(self) -> float | None:
        """Peak of requests running, by the server's gauge."""
        return quantile(self.gauges.running, 1.0)

    @property
    def kv_max(self) -> float | None:
        """Peak usage of the KV cache."""
        return quantile(self.gauges.kv, 1.0)


def loads(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics) -> tuple[Load, ...]:
    """Return the loads in order of rising users; bands of a ramp only if no level was measured."""
    steady = [level for level in levels if not level.band] or list(levels)
    measured = (_load(evidence, level, metrics) for level in sorted(steady, key=lambda level: level.users))
    return tuple(load for load in measured if load is not None)


def _load(evidence: Evidence, result: LevelResult, metrics: Metrics) -> Load | None:
    level = Level(result.users, result.users_low, result.users_high, result.t_start, result.t_end, result.band)
    together = crowd(evidence.replies, level)
    if together is None:
        return None
    sent, first = numbers(evidence.replies, "sent"), numbers(evidence.replies, "first")
    begun: Bools = (first >= level.t_start) & (first <= level.t_end)
    return Load(
        users=result.users,
        served=result.appears == "held",
        crowd=together,
        tokens_per_s=result.total_tokens_per_s,
        tokens_error=_relative_error(token_windows(evidence.windows), level),
        replies_per_s=float(begun.sum()) / level.seconds,
        ttft=quantile((first - sent)[begun], 0.5),
        tpot=quantile(numbers(evidence.replies, "tpot")[begun], 0.5),
        prompt=_computed(evidence.replies, begun, metrics, level),
        prompt_whole=mean(numbers(evidence.replies, "tokens_in")[begun]),
        prefill=mean_of(metrics, "prefill", level),
        gauges=gauges(metrics, level),
        preemptions=result.preemptions,
        longest_gap=result.longest_gap_max,
        failing=result.why[:1] == ("answer",) and bool(set(result.outcomes) - _NOT_FAILED),
    )


def _computed(replies: Columns, begun: Bools, metrics: Metrics, level: Level) -> float | None:
    """Return the mean uncached prompt tokens per reply: by the usage of replies, otherwise by the server's counters."""
    given, cached = numbers(replies, "tokens_in")[begun], numbers(replies, "tokens_cached")[begun]
    known = ~np.isnan(given) & ~np.isnan(cached)
    if known.any():
        return float((given[known] - cached[known]).mean())
    total, hits = growth(metrics, "prompt_tokens", level), growth(metrics, "prompt_tokens_cached", level)
    if total is None or hits is None or not total[0] or np.isnan(given).all():
        return None
    return float(np.nanmean(given)) * max(0.0, 1 - hits[0] / total[0])


def mean(values: Floats) -> float | None:
    """Return the mean of the known values; None without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _relative_error(tokens: Floats | None, level: Level) -> float | None:
    """Return the standard error of the throughput over its mean, from the spread between blocks of the level."""
    if tokens is None or level.seconds < 1:
        return None
    start, count = tokens[:, 0], tokens[:, 2]
    inside = (start >= level.t_start) & (start + tokens[:, 1] <= level.t_end)
    seconds = np.floor(start[inside] - level.t_start).astype(np.int64)
    whole = np.bincount(seconds, weights=count[inside], minlength=max(1, int(level.seconds)))[: int(level.seconds)]
    blocks = [float(block.mean()) for block in np.array_split(whole, min(THROUGHPUT_BLOCKS, len(whole))) if len(block)]
    if len(blocks) < 2 or not np.mean(blocks):
        return None
    return float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)) / np.mean(blocks))

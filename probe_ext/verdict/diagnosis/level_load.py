"""What each number of users did to the server: the judged levels as the rules of the diagnosis see them."""

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

_WITHOUT_FAULT = {Outcome.COMPLETE, Outcome.ENDED_BY_US}
"""outcomes of replies that did not fail"""
BLOCKS = 10
"""into so many stretches of time a level is cut to see how steady its throughput was"""


@dataclass(frozen=True)
class Load:
    """One level. Seconds, tokens; None where it is not known."""

    users: int
    served: bool
    """whether it held; of a band, whether it seemed to"""
    crowd: Crowd
    tokens_per_s: float | None
    """generated, all users together"""
    tokens_error: float | None
    """standard error of that, as a share of it, from stretches of time"""
    replies_per_s: float
    """first words that came"""
    ttft: float | None
    """median"""
    tpot: float | None
    """median seconds a token"""
    prompt: float | None
    """prompt tokens of a reply that the server had to compute, mean"""
    prompt_whole: float | None
    """prompt tokens of a reply, cached or not, mean"""
    prefill: float | None
    """seconds from scheduled to the first token, as the server tells, mean"""
    gauges: Gauges
    preemptions: int | None
    longest_gap: float | None
    failing: bool = False
    """whether it was replies that failed, more than anything else, that cost people"""

    @property
    def prompt_per_s(self) -> float | None:
        """Prompt tokens a second that had to be computed; where that is not known, None."""
        return None if self.prompt is None else self.prompt * self.replies_per_s

    @property
    def prompt_per_s_most(self) -> float | None:
        """The same; where caches are not known, as if they had held nothing."""
        return None if self.prompt_whole is None else self.prompt_whole * self.replies_per_s

    @property
    def batch(self) -> float:
        """Replies worked on at once, mean: that typed, or that the server says it ran, whichever is less.

        A preempted reply still seems to type, and one whose prompt is being read already runs.
        """
        running = self.gauges.running[~np.isnan(self.gauges.running)]
        return min(self.crowd.typing, float(running.mean())) if len(running) else self.crowd.typing

    @property
    def running_max(self) -> float | None:
        """The most replies that the server said it ran at once."""
        return quantile(self.gauges.running, 1.0)

    @property
    def kv_max(self) -> float | None:
        """The fullest that the KV cache was seen."""
        return quantile(self.gauges.kv, 1.0)


def loads(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics) -> tuple[Load, ...]:
    """By rising number of users; bands of a climb only where nothing better was measured."""
    steady = [level for level in levels if not level.band] or list(levels)
    found = (_load(evidence, level, metrics) for level in sorted(steady, key=lambda one: one.users))
    return tuple(load for load in found if load is not None)


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
        tokens_per_s=result.figures.total_tokens_per_s,
        tokens_error=_unsteady(token_windows(evidence.windows), level),
        replies_per_s=float(begun.sum()) / level.seconds,
        ttft=quantile((first - sent)[begun], 0.5),
        tpot=quantile(numbers(evidence.replies, "tpot")[begun], 0.5),
        prompt=_computed(evidence.replies, begun, metrics, level),
        prompt_whole=mean(numbers(evidence.replies, "tokens_in")[begun]),
        prefill=mean_of(metrics, "prefill", level),
        gauges=gauges(metrics, level),
        preemptions=result.server.preemptions,
        longest_gap=result.figures.longest_gap_max,
        failing=result.why[:1] == ("answer",) and bool(set(result.outcomes) - _WITHOUT_FAULT),
    )


def _computed(replies: Columns, begun: Bools, metrics: Metrics, level: Level) -> float | None:
    """Mean prompt tokens of a reply that no cache held: as its replies say, else as the server counts them."""
    given, cached = numbers(replies, "tokens_in")[begun], numbers(replies, "tokens_cached")[begun]
    known = ~np.isnan(given) & ~np.isnan(cached)
    if known.any():
        return float((given[known] - cached[known]).mean())
    asked, found = growth(metrics, "prompt_tokens", level), growth(metrics, "prompt_tokens_cached", level)
    if asked is None or found is None or not asked[0] or np.isnan(given).all():
        return None
    return float(np.nanmean(given)) * max(0.0, 1 - found[0] / asked[0])


def mean(values: Floats) -> float | None:
    """Of what is known; None without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _unsteady(tokens: Floats | None, level: Level) -> float | None:
    """The standard error of the throughput over its mean, from the spread between stretches of the level."""
    if tokens is None or level.seconds < 1:
        return None
    start, count = tokens[:, 0], tokens[:, 2]
    inside = (start >= level.t_start) & (start + tokens[:, 1] <= level.t_end)
    seconds = np.floor(start[inside] - level.t_start).astype(np.int64)
    whole = np.bincount(seconds, weights=count[inside], minlength=max(1, int(level.seconds)))[: int(level.seconds)]
    blocks = [float(block.mean()) for block in np.array_split(whole, min(BLOCKS, len(whole))) if len(block)]
    if len(blocks) < 2 or not np.mean(blocks):
        return None
    return float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)) / np.mean(blocks))

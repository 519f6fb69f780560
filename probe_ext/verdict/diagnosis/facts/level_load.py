"""The load of each level on the server, as the rules of the diagnosis see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.diagnosis.facts.concurrency import Crowd, crowd
from probe_ext.verdict.diagnosis.facts.gpu_signs import GpuLoad
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, numbers, text_codes
from probe_ext.verdict.evidence.evidence import Columns, Evidence, quantile
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.results.slo_metrics import token_windows
from probe_ext.verdict.server.gauges import (
    MIN_QUEUED_SAMPLES,
    Gauges,
    gauges,
    gauges_by_engine,
    growth,
    mean_of,
    of_engine,
)
from probe_ext.verdict.server.gpu_series import Gpu, read_gpus, state
from probe_ext.verdict.server.server_series import Engine, Metrics
from probe_ext.verdict.values.level_result import LevelResult

_NOT_FAILED = {Outcome.COMPLETE, Outcome.ENDED_BY_US}
COMPARABLE = 1.3
"""Ratio of two loads above which their difference may show something."""
NEARLY_FULL = 0.9
"""KV-cache usage below which no request waits for memory."""
TOO_MANY_REQUESTS = 429
NO_GPUS = GpuLoad({})
MIN_REPLIES_OF_USER = 3
"""Replies of a user at a level whose mean tells something."""
THROUGHPUT_BLOCKS = 10
"""Blocks of time per level that show how steady its throughput was."""


@dataclass(frozen=True)
class EngineLoad:
    """One engine in a level."""

    gauges: Gauges
    itl: float | None
    """mean seconds between the tokens of a reply, as the engine reports"""

    @property
    def queued(self) -> int:
        """Number of samples with requests waiting."""
        return int(self.gauges.queued.sum())

    @property
    def room(self) -> float | None:
        """Median number of further replies that the KV cache had room for while requests waited."""
        return quantile(self.gauges.room[self.gauges.queued], 0.5)

    @property
    def no_room(self) -> bool:
        """Whether requests waited while the cache could not have held another reply, most of the time."""
        return self.queued >= MIN_QUEUED_SAMPLES and self.room is not None and self.room < 1


@dataclass(frozen=True)
class ServerLoad:
    """What the server itself reports of a level; None where it does not."""

    in_flight: float | None
    """mean of requests running and waiting"""
    running: float | None
    """mean"""
    tokens_per_s: float | None
    """tokens generated"""
    ttft: float | None
    """mean"""


@dataclass(frozen=True)
class Load:
    """One level, in seconds and tokens; None where something is not known."""

    users: int
    t_start: float
    t_end: float
    served: bool
    """whether enough replies were served, proven or not"""
    held: bool
    """whether it is proven that this many users are served"""
    failed: bool
    """whether it is proven that they are not"""
    served_share: float | None
    """of the replies, as seen"""
    crowd: Crowd
    tokens_per_s: float | None
    """output tokens per second, all users together"""
    tokens_error: float | None
    """relative standard error of `tokens_per_s`, from blocks of time"""
    replies_per_s: float
    """first tokens per second"""
    ttft: float | None
    """median"""
    ttft_mean: float | None
    tpot: float | None
    """median seconds per token"""
    tpot_high: float | None
    """95th percentile of the time that users read: of an engine that is slow, replies are few"""
    prompt: float | None
    """mean prompt tokens per reply that were not cached"""
    prompt_whole: float | None
    """mean prompt tokens per reply, cached or not"""
    prefill: float | None
    """mean seconds from scheduled to first token, as the server reports"""
    gauges: Gauges
    """over all engines"""
    engines: Mapping[Engine, EngineLoad]
    server: ServerLoad
    preemptions: int | None
    longest_gap: float | None
    rejected: float
    """share of the replies sent that were rejected with HTTP 429"""
    asked: int
    """replies sent"""
    ttft_nearest: float | None
    """mean of the user who waited least"""
    gpus: GpuLoad = NO_GPUS
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
    def out_of_memory(self) -> bool:
        """Whether memory ran out: replies were preempted, or requests waited for room in an engine's KV cache."""
        return bool(self.preemptions) or any(engine.no_room for engine in self.engines.values())

    @property
    def running_max(self) -> float | None:
        """Peak of requests running, by the server's gauge."""
        return quantile(self.gauges.running, 1.0)

    @property
    def kv_max(self) -> float | None:
        """Peak usage of the KV cache."""
        return quantile(self.gauges.kv, 1.0)


def loads(evidence: Evidence, levels: Sequence[LevelResult], metrics: Metrics, served_share: float) -> tuple[Load, ...]:
    """Return the loads in order of rising users; bands of a ramp only if no level was measured."""
    steady = [level for level in levels if not level.band] or list(levels)
    gpus = read_gpus(evidence.gpu)
    measured = (
        _load(evidence, level, metrics, served_share, gpus) for level in sorted(steady, key=lambda level: level.users)
    )
    return tuple(load for load in measured if load is not None)


def _load(
    evidence: Evidence, result: LevelResult, metrics: Metrics, served_share: float, gpus: Mapping[Engine, Gpu]
) -> Load | None:
    level = Level(result.users, result.users_low, result.users_high, result.t_start, result.t_end, result.band)
    together = crowd(evidence.replies, level)
    if together is None:
        return None
    sent, first = numbers(evidence.replies, "sent"), numbers(evidence.replies, "first")
    summed = gauges(metrics, level)
    begun: Bools = (first >= level.t_start) & (first <= level.t_end)
    asked: Bools = (sent >= level.t_start) & (sent <= level.t_end)
    return Load(
        users=result.users,
        t_start=level.t_start,
        t_end=level.t_end,
        held=result.state == "held",
        failed=result.state == "failed",
        served_share=result.served_share,
        served=result.state != "failed" and (result.served_share_fit or 0.0) >= served_share,
        crowd=together,
        tokens_per_s=result.total_tokens_per_s,
        tokens_error=_relative_error(token_windows(evidence.windows), level),
        replies_per_s=float(begun.sum()) / level.seconds,
        ttft=quantile((first - sent)[begun], 0.5) if result.ttft_p50 is None else result.ttft_p50,
        ttft_mean=mean((first - sent)[begun]),
        tpot=_median_tpot(evidence.replies, begun, result),
        tpot_high=_slow_reading(evidence.replies, begun),
        prompt=_computed(evidence.replies, begun, metrics, level),
        prompt_whole=mean(numbers(evidence.replies, "tokens_in")[begun]),
        prefill=mean_of(metrics, "prefill", level),
        gauges=summed,
        engines={
            engine: EngineLoad(found, mean_of(of_engine(metrics, engine), "itl", level))
            for engine, found in gauges_by_engine(metrics, level).items()
        },
        server=_server(metrics, level, summed),
        preemptions=result.preemptions,
        longest_gap=result.longest_gap_max,
        rejected=_rejected(evidence.replies, asked),
        asked=int(asked.sum()),
        ttft_nearest=_least_by_user(text_codes(evidence.replies, "user")[0][begun], (first - sent)[begun]),
        gpus=GpuLoad({name: state(gpu, level) for name, gpu in gpus.items()}),
        failing=result.why[:1] == ("answer",) and bool(set(result.outcomes) - _NOT_FAILED),
    )


def _median_tpot(replies: Columns, begun: Bools, result: LevelResult) -> float | None:
    """Return the median time per token, as the level's typing speed has it if it is known."""
    speed = result.decode_rate_p50
    return 1 / speed if speed else quantile(numbers(replies, "tpot")[begun], 0.5)


def _least_by_user(user: Ints, seconds: Floats) -> float | None:
    """Return the least of the users' means; None where no user has MIN_REPLIES_OF_USER."""
    known = (user >= 0) & ~np.isnan(seconds)
    counts = np.bincount(user[known])
    enough = counts >= MIN_REPLIES_OF_USER
    if not enough.any():
        return None
    return float((np.bincount(user[known], weights=seconds[known])[enough] / counts[enough]).min())


def _slow_reading(replies: Columns, begun: Bools) -> float | None:
    """Return the time per token below which users spent 95 % of the time that replies were typed."""
    tpot, tokens = (numbers(replies, name)[begun] for name in ("tpot", "tokens_out"))
    spent = tpot * tokens
    known = np.flatnonzero(spent > 0)
    if not len(known):
        return None
    order = known[np.argsort(tpot[known])]
    passed = np.cumsum(spent[order])
    return float(tpot[order[np.searchsorted(passed, 0.95 * passed[-1])]])


def _rejected(replies: Columns, sent: Bools) -> float:
    status = numbers(replies, "status")[sent]
    return float((status == TOO_MANY_REQUESTS).mean()) if len(status) else 0.0


def _server(metrics: Metrics, level: Level, summed: Gauges) -> ServerLoad:
    running, waiting = mean(summed.running), mean(summed.waiting)
    generated = growth(metrics, "generation_tokens", level)
    return ServerLoad(
        in_flight=None if running is None or waiting is None else running + waiting,
        running=running,
        tokens_per_s=generated[0] / generated[1] if generated and generated[1] else None,
        ttft=mean_of(metrics, "ttft", level),
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


def tokens_by_block(tokens: Floats, start: float, end: float, blocks: int) -> tuple[Floats, Floats]:
    """Return the middle of each block of a stretch and the mean tokens per second in it; none in less than a second."""
    if end - start < 1:
        return np.zeros(0), np.zeros(0)
    begin, count = tokens[:, 0], tokens[:, 2]
    inside = (begin >= start) & (begin + tokens[:, 1] <= end)
    seconds = np.floor(begin[inside] - start).astype(np.int64)
    whole = np.bincount(seconds, weights=count[inside], minlength=max(1, int(end - start)))[: int(end - start)]
    parts = [part for part in np.array_split(np.arange(len(whole)), max(1, min(blocks, len(whole)))) if len(part)]
    middle = np.array([start + float(part.mean()) + 0.5 for part in parts])
    return middle, np.array([float(whole[part].mean()) for part in parts])


def _relative_error(tokens: Floats | None, level: Level) -> float | None:
    """Return the standard error of the throughput over its mean, from the spread between blocks of the level."""
    if tokens is None or level.seconds < 1:
        return None
    _, blocks = tokens_by_block(tokens, level.t_start, level.t_end, THROUGHPUT_BLOCKS)
    if len(blocks) < 2 or not np.mean(blocks):
        return None
    return float(np.std(blocks, ddof=1) / np.sqrt(len(blocks)) / np.mean(blocks))

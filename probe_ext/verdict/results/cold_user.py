"""The extra wait of users with a cold prompt, one that is not in the server's prefix cache.

Two arms with prompts of equal length run under one load, distinguished by the rows' `scenario`: `warm` prompts share a
prefix, `cold` ones begin with their own data. Compared are the median waits for the first word, counted as the profile
says; a reply without one waited longer than all others. The interval of their ratio resamples blocks of time with both
arms in them, because the replies of one moment share a queue.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe_ext.measure.findings import FindingName
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import COLD, WARM
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import Bools, Codes, Floats, is_any, numbers, text_counts
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.phrasing.formats import count, percent
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.server.server_series import Metrics, server_hit_rate
from probe_ext.verdict.values.cold_user_gap import ColdUserGap
from probe_ext.verdict.values.finding import Finding

Statistic = Callable[[Floats], float]

MIN_REPLIES = 5
"""Of each arm."""
MAX_OUTPUT_DIFFERENCE = 0.10
"""Between the arms' mean output lengths, if chance does not explain more."""
MAX_PROMPT_DIFFERENCE = 0.05
MAX_COLD_CACHED, MIN_WARM_CACHED = 0.10, 0.50
"""Shares of prompt tokens from the cache beyond which an arm is not what its name says."""
CONFIDENCE, REPLICATES, SEED = 0.95, 400, 20_240_607
"""Of the bootstrap of the ratio."""
REPLIES_PER_BLOCK, MIN_BLOCKS, MAX_BLOCKS = 3, 4, 400
"""Blocks of time to resample: about three replies of each user in a block."""
HOW_TO_MEASURE = (
    "`probe run cold_user` measures it: under one load, half of the prompts share a prefix that the server can cache, "
    "and half begin with each user's own data; all have the same length."
)


@dataclass(frozen=True)
class Arms:
    """The replies of both arms, in no particular order; NaN where something is not known."""

    cold: Bools
    sent: Floats
    waited: Floats
    """seconds until the first word; infinite where none came"""
    tokens_in: Floats
    tokens_cached: Floats
    tokens_out: Floats
    people: int

    def select(self, values: Floats, *, cold: bool) -> Floats:
        """Return the known values of one arm."""
        known: Floats = values[(self.cold == cold) & ~np.isnan(values)]
        return known


def arms_of(replies: Columns, waited: Floats, level_of: Codes) -> Arms:
    """Select the replies of both arms: those sent in a level if there are any, without open ones."""
    chosen = is_any(replies, "scenario", {COLD, WARM})
    if (chosen & (level_of >= 0)).any():
        chosen &= level_of >= 0
    aborted = is_any(replies, "outcome", {Outcome.ENDED_BY_US, Outcome.CLIENT_ERROR})
    chosen &= ~(aborted & np.isnan(waited))
    sent, due = numbers(replies, "sent"), numbers(replies, "due")
    return Arms(
        cold=is_any(replies, "scenario", {COLD})[chosen],
        sent=np.where(np.isnan(sent), due, sent)[chosen],
        waited=np.where(np.isnan(waited), np.inf, waited)[chosen],
        tokens_in=numbers(replies, "tokens_in")[chosen],
        tokens_cached=numbers(replies, "tokens_cached")[chosen],
        tokens_out=numbers(replies, "tokens_out")[chosen],
        people=max(1, len(text_counts(replies, "user", chosen))),
    )


def cold_user(arms: Arms, metrics: Metrics, profile: SloProfile) -> ColdUserGap:
    """Measure the gap, if the run has enough replies of both arms."""
    replies = int(arms.cold.sum()), int((~arms.cold).sum())
    if min(replies) < MIN_REPLIES:
        warm_replies = things(replies[1], "warm reply", "warm replies")
        few = f" This run has {replies[0]} cold and {warm_replies}." if max(replies) else ""
        return ColdUserGap(measured=False, how=f"Not measured.{few} {HOW_TO_MEASURE}")
    cold, warm = (_median(arms.select(arms.waited, cold=arm)) for arm in (True, False))
    bound = profile.first_word.served if profile.first_word else None
    low, high = interval(arms, arms.waited, _median_of)
    rate, source = hit_rate(arms, metrics)
    return ColdUserGap(
        measured=True,
        how=_how(rate, source),
        cold_p50=cold,
        warm_p50=warm,
        ratio=cold / warm if cold and warm else None,
        ratio_low=low,
        ratio_high=high,
        served=None if bound is None else cold is not None and cold <= bound,
        cold_replies=replies[0],
        warm_replies=replies[1],
        hit_rate=rate,
        hit_rate_from=source,
        cold_cached=_share(arms, cold=True),
        warm_cached=_share(arms, cold=False),
        cold_tokens_out=_mean(arms.select(arms.tokens_out, cold=True)),
        warm_tokens_out=_mean(arms.select(arms.tokens_out, cold=False)),
    )


def _how(rate: float | None, source: str | None) -> str:
    if rate is None:
        return "Cold and warm prompts were mixed under one load. The cache hit rate is not known."
    by = "by the server's counters" if source == "server" else "by the usage of the replies"
    return f"Cold and warm prompts were mixed under one load; {percent(rate)} of all prompt tokens were cached ({by})."


def _median(values: Floats) -> float | None:
    median = float(np.median(values)) if len(values) else np.inf
    return median if np.isfinite(median) else None


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def interval(arms: Arms, values: Floats, statistic: Statistic) -> tuple[float | None, float | None]:
    """Return the interval at CONFIDENCE of the ratio of a statistic, cold over warm; None where there is no ratio."""
    blocks = int(np.clip(round(len(arms.sent) / (arms.people * REPLIES_PER_BLOCK)), MIN_BLOCKS, MAX_BLOCKS))
    since = arms.sent - arms.sent.min()
    block = np.minimum((since / max(float(since.max()), 1e-9) * blocks).astype(np.int64), blocks - 1)
    members = [np.flatnonzero(block == number) for number in range(blocks)]
    rng = np.random.default_rng(SEED)
    draws = (np.concatenate([members[n] for n in rng.integers(0, blocks, blocks)]) for _ in range(REPLICATES))
    ratios = np.array([_ratio(values[drawn], arms.cold[drawn], statistic) for drawn in draws])
    known = ratios[np.isfinite(ratios)]
    if len(known) < REPLICATES / 2:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    return float(np.quantile(known, tail)), float(np.quantile(known, 1 - tail))


def _ratio(values: Floats, cold: Bools, statistic: Statistic) -> float:
    cold_values, warm_values = (arm[~np.isnan(arm)] for arm in (values[cold], values[~cold]))
    warm = statistic(warm_values) if len(warm_values) else 0.0
    return statistic(cold_values) / warm if len(cold_values) and 0 < warm < np.inf else np.nan


def hit_rate(arms: Arms, metrics: Metrics) -> tuple[float | None, Literal["server", "client"] | None]:
    """Return the share of prompt tokens that came from the cache, and its source: `server`, `client` or None.

    By the server's counters over the whole run if they are usable, otherwise by the usage of both arms' replies.
    """
    counted = server_hit_rate(metrics)
    if counted is not None:
        return counted, "server"
    known = ~np.isnan(arms.tokens_cached) & ~np.isnan(arms.tokens_in)
    total = float(arms.tokens_in[known].sum())
    return (min(1.0, float(arms.tokens_cached[known].sum()) / total), "client") if total else (None, None)


def _share(arms: Arms, *, cold: bool) -> float | None:
    """Return the share of an arm's prompt tokens that came from the cache, by the usage of its replies."""
    known = (arms.cold == cold) & ~np.isnan(arms.tokens_cached) & ~np.isnan(arms.tokens_in)
    total = float(arms.tokens_in[known].sum())
    return float(arms.tokens_cached[known].sum()) / total if total else None


def cold_user_checks(arms: Arms, gap: ColdUserGap) -> Iterator[Finding]:
    """Check that the arms differ only in the cache; nothing to check where the gap was not measured."""
    if not gap.measured:
        return
    yield _output(arms, gap)
    yield _lengths(arms)
    yield _cached(gap)


def _output(arms: Arms, gap: ColdUserGap) -> Finding:
    name: FindingName = "cold_user_output"
    cold, warm = gap.cold_tokens_out, gap.warm_tokens_out
    if cold is None or warm is None:
        return Finding(name, "unproven", False, "The output lengths of the two arms are not known.")
    low, high = interval(arms, arms.tokens_out, _mean_of)
    lengths = f"Cold replies had {things(round(cold), 'token')} on average, warm ones {count(warm)}"
    if low is None or high is None or abs(cold - warm) <= MAX_OUTPUT_DIFFERENCE * max(cold, warm) or low <= 1 <= high:
        return Finding(name, "pass", False, f"{lengths}: both arms did the same work.")
    why = f"{lengths}: the arms did different work, so only their waits for the first word are comparable."
    advice = "Request replies of one length (--ignore-eos, if the server supports it) to compare more."
    return Finding(name, "fail", False, why, advice)


def _lengths(arms: Arms) -> Finding:
    name: FindingName = "cold_user_prompts"
    cold, warm = (_median(arms.select(arms.tokens_in, cold=arm)) for arm in (True, False))
    if not cold or not warm:
        return Finding(name, "unproven", False, "The prompt lengths of the two arms are not known.")
    lengths = f"Cold prompts had a median of {things(round(cold), 'token')}, warm ones {count(warm)}"
    if abs(cold - warm) <= MAX_PROMPT_DIFFERENCE * max(cold, warm):
        return Finding(name, "pass", False, f"{lengths}: equally long.")
    why = f"{lengths}: the difference in waits may come from the length."
    return Finding(name, "fail", False, why, "Make the prompts of both arms equally long.")


def _cached(gap: ColdUserGap) -> Finding:
    name: FindingName = "cold_user_cache"
    cold, warm = gap.cold_cached, gap.warm_cached
    if cold is None or warm is None:
        why = "The server does not report cached tokens per reply."
        return Finding(name, "unproven", False, why, "vLLM does so with --enable-prompt-tokens-details.")
    shares = f"{percent(cold)} of cold and {percent(warm)} of warm prompt tokens came from the cache"
    if cold <= MAX_COLD_CACHED and warm >= MIN_WARM_CACHED:
        return Finding(name, "pass", False, f"{shares}.")
    why = f"{shares}: the gap is not that between cold and warm users."
    advice = "Check that prefix caching is on, and that the shared prefix is longer than a block and stays cached."
    return Finding(name, "fail", False, why, advice)


def _mean_of(values: Floats) -> float:
    return float(values.mean())


def _median_of(values: Floats) -> float:
    return float(np.median(values))

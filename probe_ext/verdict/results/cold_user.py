"""The gap between users whose prompt the server has in its cache, and those it has not.

Two arms of prompts of one length under one load, told apart by the rows' `scenario`: `warm` prompts begin alike, `cold`
ones have their own data in front. Medians of the wait for the first word, as the profile counts it; a reply that never
had one waited longer than any that had. The interval of their ratio resamples blocks of time with both arms in them,
since the replies of one moment share one queue (see `bootstrap`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import COLD, WARM
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.inference.blocks import block_count
from probe_ext.verdict.inference.bootstrap import CONFIDENCE, REPLICATES, SEED
from probe_ext.verdict.server.server_series import Metrics, server_hit_rate
from probe_ext.verdict.values.columns import Bools, Floats, Ints, numbers, texts
from probe_ext.verdict.values.dimension_result import ColdUser
from probe_ext.verdict.values.evidence import Columns
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import count, percent

Figure = Callable[[Floats], float]

FEWEST = 5
"""replies that each arm must have"""
UNEQUAL = 0.10
"""output of the two arms further apart than this share is worth a word, if chance does not explain it"""
UNLIKE_LENGTHS = 0.05
COLD_CACHED, WARM_CACHED = 0.10, 0.50
"""shares of prompt tokens from the cache: more in the cold arm, or less in the warm one, and the arms are not what
they are called"""
HOW = (
    "`probe run cold_user` measures it: under one load, half of the prompts begin alike, so that the server may take "
    "that part from its cache, and half begin with each user's own data; all are equally long."
)


@dataclass(frozen=True)
class Arms:
    """The replies of both arms, in no order; NaN where something is not known."""

    cold: Bools
    sent: Floats
    waited: Floats
    """seconds; infinite where no first word ever came"""
    tokens_in: Floats
    tokens_cached: Floats
    tokens_out: Floats
    people: int

    def of(self, values: Floats, *, cold: bool) -> Floats:
        """Known values of one arm."""
        chosen: Floats = values[(self.cold == cold) & ~np.isnan(values)]
        return chosen


def arms_of(replies: Columns, waited: Floats, level_of: Ints) -> Arms:
    """The two arms: of what was sent in a level, where any was; open replies are left out."""
    scenario, outcome = texts(replies, "scenario"), texts(replies, "outcome")
    chosen = np.array([name in (COLD, WARM) for name in scenario], dtype=np.bool_)
    if (chosen & (level_of >= 0)).any():
        chosen &= level_of >= 0
    ours = np.array([how in (Outcome.ENDED_BY_US, Outcome.CLIENT_ERROR) for how in outcome], dtype=np.bool_)
    chosen &= ~(ours & np.isnan(waited))
    sent, due = numbers(replies, "sent"), numbers(replies, "due")
    users = texts(replies, "user")
    return Arms(
        cold=np.array([name == COLD for name in scenario], dtype=np.bool_)[chosen],
        sent=np.where(np.isnan(sent), due, sent)[chosen],
        waited=np.where(np.isnan(waited), np.inf, waited)[chosen],
        tokens_in=numbers(replies, "tokens_in")[chosen],
        tokens_cached=numbers(replies, "tokens_cached")[chosen],
        tokens_out=numbers(replies, "tokens_out")[chosen],
        people=max(1, len({user for user, of in zip(users, chosen, strict=True) if of})),
    )


def cold_user(arms: Arms, metrics: Metrics, profile: SloProfile) -> ColdUser:
    """What the run says of the gap."""
    replies = int(arms.cold.sum()), int((~arms.cold).sum())
    if min(replies) < FEWEST:
        few = f" There were {replies[0]} cold and {replies[1]} warm replies." if max(replies) else ""
        return ColdUser(measured=False, how=f"Not measured.{few} {HOW}")
    cold, warm = (_median(arms.of(arms.waited, cold=arm)) for arm in (True, False))
    bound = profile.first_word.served if profile.first_word else None
    low, high = interval(arms, arms.waited, _median_of)
    rate, source = hit_rate(arms, metrics)
    return ColdUser(
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
        cold_tokens_out=_mean(arms.of(arms.tokens_out, cold=True)),
        warm_tokens_out=_mean(arms.of(arms.tokens_out, cold=False)),
    )


def _how(rate: float | None, source: str | None) -> str:
    if rate is None:
        return "Cold and warm prompts mixed, under one load. How much came from the cache is not known."
    said = "as the server counts it" if source == "server" else "as its replies say"
    of_all = f"{percent(rate)} of all prompt tokens came from the cache, {said}"
    return f"Cold and warm prompts mixed, under one load; {of_all}."


def _median(values: Floats) -> float | None:
    found = float(np.median(values)) if len(values) else np.inf
    return found if np.isfinite(found) else None


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def interval(arms: Arms, values: Floats, figure: Figure) -> tuple[float | None, float | None]:
    """Between what the ratio of a figure, cold to warm, lies at CONFIDENCE; None where no ratio can be given."""
    blocks = block_count(len(arms.sent), arms.people)
    since = arms.sent - arms.sent.min()
    block = np.minimum((since / max(float(since.max()), 1e-9) * blocks).astype(np.int64), blocks - 1)
    members = [np.flatnonzero(block == number) for number in range(blocks)]
    rng = np.random.default_rng(SEED)
    draws = (np.concatenate([members[n] for n in rng.integers(0, blocks, blocks)]) for _ in range(REPLICATES))
    ratios = np.array([_ratio(values[drawn], arms.cold[drawn], figure) for drawn in draws])
    known = ratios[np.isfinite(ratios)]
    if len(known) < REPLICATES / 2:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    return float(np.quantile(known, tail)), float(np.quantile(known, 1 - tail))


def _ratio(values: Floats, cold: Bools, figure: Figure) -> float:
    first, second = (arm[~np.isnan(arm)] for arm in (values[cold], values[~cold]))
    below = figure(second) if len(second) else 0.0
    return figure(first) / below if len(first) and 0 < below < np.inf else np.nan


def hit_rate(arms: Arms, metrics: Metrics) -> tuple[float | None, str | None]:
    """The share of all prompt tokens that came from the cache, and who says so: `server`, `client`, or nobody.

    The server's counters over the whole run, unless they have run away; else what the replies of both arms tell.
    """
    counted = server_hit_rate(metrics)
    if counted is not None:
        return counted, "server"
    known = ~np.isnan(arms.tokens_cached) & ~np.isnan(arms.tokens_in)
    total = float(arms.tokens_in[known].sum())
    return (min(1.0, float(arms.tokens_cached[known].sum()) / total), "client") if total else (None, None)


def _share(arms: Arms, *, cold: bool) -> float | None:
    """The share of an arm's prompt tokens that came from the cache, as its replies say."""
    known = (arms.cold == cold) & ~np.isnan(arms.tokens_cached) & ~np.isnan(arms.tokens_in)
    total = float(arms.tokens_in[known].sum())
    return float(arms.tokens_cached[known].sum()) / total if total else None


def cold_user_checks(arms: Arms, found: ColdUser) -> Iterator[Finding]:
    """Whether the arms differ in the cache alone. Nothing where the gap was not measured."""
    if not found.measured:
        return
    yield _output(arms, found)
    yield _lengths(arms)
    yield _cached(found)


def _output(arms: Arms, found: ColdUser) -> Finding:
    name = "cold_user_output"
    cold, warm = found.cold_tokens_out, found.warm_tokens_out
    if cold is None or warm is None:
        return Finding(name, "unproven", False, "Nowhere is said how much the two arms answered.")
    low, high = interval(arms, arms.tokens_out, _mean_of)
    told = f"A cold reply had {count(cold)} tokens, a warm one {count(warm)}"
    if low is None or high is None or abs(cold - warm) <= UNEQUAL * max(cold, warm) or low <= 1 <= high:
        return Finding(name, "pass", False, f"{told}: both arms did the same work.")
    why = f"{told}: the arms did not do the same work, so only the waits for the first word may be compared."
    advice = "Ask for replies of one length (--ignore-eos, where the server knows it) to compare more."
    return Finding(name, "fail", False, why, advice)


def _lengths(arms: Arms) -> Finding:
    name = "cold_user_prompts"
    cold, warm = (_median(arms.of(arms.tokens_in, cold=arm)) for arm in (True, False))
    if not cold or not warm:
        return Finding(name, "unproven", False, "The server does not say how long the prompts of the two arms were.")
    told = f"Cold prompts had {count(cold)} tokens, warm ones {count(warm)}"
    if abs(cold - warm) <= UNLIKE_LENGTHS * max(cold, warm):
        return Finding(name, "pass", False, f"{told}: they are of one length.")
    why = f"{told}: what the longer ones waited more, their length may explain."
    return Finding(name, "fail", False, why, "Make the prompts of both arms equally long.")


def _cached(found: ColdUser) -> Finding:
    name = "cold_user_cache"
    cold, warm = found.cold_cached, found.warm_cached
    if cold is None or warm is None:
        why = "The server does not say of each reply what came from its cache."
        return Finding(name, "unproven", False, why, "vLLM does with --enable-prompt-tokens-details.")
    told = f"{percent(cold)} of the cold prompts and {percent(warm)} of the warm ones came from the cache"
    if cold <= COLD_CACHED and warm >= WARM_CACHED:
        return Finding(name, "pass", False, f"{told}.")
    why = f"{told}: the gap is not that between cold and warm."
    advice = (
        "Is prefix caching on, and the shared beginning longer than a block? Does the cache hold it under this load?"
    )
    return Finding(name, "fail", False, why, advice)


def _mean_of(values: Floats) -> float:
    return float(values.mean())


def _median_of(values: Floats) -> float:
    return float(np.median(values))

"""KV-cache headroom: the level closest to saturation, and saturation as measured and as forecast.

Everything looks fine just before saturation: nothing waits, nothing is preempted, and one more user tips it over, so
the last level before it is named. The forecast is arithmetic: the cache's tokens, less a prefix shared by all prompts,
over the tokens that a reply holds: at its end the whole prompt and answer, rounded up to blocks; on average half of the
answer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.measure.table_rows import COLD
from probe_ext.verdict.diagnosis.facts.level_load import COMPARABLE, NEARLY_FULL, Load, mean
from probe_ext.verdict.evidence.columns import Bools, Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns, Evidence, quantile
from probe_ext.verdict.evidence.manifest_view import mapping, number, servers, who_uses
from probe_ext.verdict.phrasing.formats import count, percent
from probe_ext.verdict.phrasing.plurals import Who, people, things
from probe_ext.verdict.server.server_series import Metrics, server_hit_rate, total_rise
from probe_ext.verdict.values.ruling_types import Agreement, Forecast, KvHeadroom

MIN_SHARED = 0.5
"""Share of the common prefix that must come from the cache for it to count as stored only once."""
MIN_COUNTED = 0.9
"""Share of the common prefix that the server's counters must show for all of it to count."""
TOLERANCE = 1.15
"""Ratio of forecast and measurement that still counts as agreement."""
MAX_GAUGE_RATIO = 1.5
"""The same for the extrapolated usage, which is a mean and not a peak."""
FLUCTUATION_SIGMA = 2.0
"""Standard deviations of the tokens held by many replies together."""


def kv_headroom(evidence: Evidence, loads: Sequence[Load], metrics: Metrics) -> KvHeadroom:
    """Measure and forecast the headroom; None where the server reports neither usage nor size of its cache."""
    reported = [load for load in loads if load.kv_max is not None]
    saturated = next((load for load in reported if load.out_of_memory), None)
    below = [load for load in reported if saturated is None or load.users < saturated.users]
    best = below[-1] if below else None
    fullest = max(below, key=lambda load: load.kv_max or 0.0, default=None)
    active = _active_share(best or (reported[0] if reported else None))
    tokens = _kv_tokens(evidence.manifest)
    forecasts = _forecasts(evidence, tokens, active, _hit_share(metrics))
    ran, full_at = _ran(below), _ran([saturated] if saturated else [])
    by_gauge = _replies_by_gauge(below)
    agreement = _agreement(forecasts[-1] if forecasts else None, active, ran, full_at, by_gauge)
    near = None if best is None else _near_saturation(best)
    saturated_at = saturated.users if saturated else None
    return KvHeadroom(
        sentence=_sentence(
            *(best, fullest, near, saturated_at, forecasts, _Measured(agreement, ran, full_at, by_gauge)),
            who_uses(evidence.manifest.get("workload")),
        ),
        users=best.users if best else None,
        kv_usage_max=best.kv_max if best else None,
        near_saturation=near,
        saturation=(best.users if best else None, saturated_at),
        kv_tokens=tokens,
        forecasts=forecasts,
        users_by_gauge=None if by_gauge is None else math.floor(by_gauge / active),
        replies=_replies(forecasts, active, agreement, by_gauge),
        agreement=agreement,
    )


def _near_saturation(load: Load) -> bool:
    """Tell whether the cache is nearly full, or one more user of the same kind would fill it."""
    usage, users = load.kv_max or 0.0, _at_once(load)
    return usage >= NEARLY_FULL or usage * (users + 1) / users > 1


def _at_once(load: Load) -> float:
    """Return how many users share the cache; of an open stream, how many replies are in flight."""
    return max(1.0, load.crowd.in_flight or 0.0) if isinstance(load.users, Rate) else float(load.users)


def _active_share(load: Load | None) -> float:
    """Return the share of users with a reply in flight; the others read and think."""
    return min(1.0, load.crowd.in_flight / _at_once(load)) if load and load.crowd.in_flight else 1.0


def _caches(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    caches = [server.get("cache") for server in servers(manifest)]
    return [cache for cache in caches if isinstance(cache, Mapping)]


def _kv_tokens(manifest: Mapping[str, Any]) -> int | None:
    """Return the cache size of all servers together; None where one of them does not report it."""
    caches = _caches(manifest)
    sizes = [number(cache, "kv_tokens") for cache in caches]
    if not sizes or None in sizes:
        return None
    return int(sum(size or 0.0 for size in sizes))


def _usable(manifest: Mapping[str, Any], tokens: int) -> tuple[int, int]:
    """Return the tokens that requests can use (vLLM keeps one block per engine empty), and the block size."""
    caches = _caches(manifest)
    block = max((int(number(cache, "block_size", 1)) for cache in caches), default=1)
    empty_blocks = sum(
        int(number(cache, "engines", 1))
        for cache, server in zip(caches, servers(manifest), strict=False)
        if server.get("kind") == "vllm" and number(cache, "num_gpu_blocks")
    )
    return tokens - empty_blocks * block, max(1, block)


def _forecasts(evidence: Evidence, tokens: int | None, active: float, hit_share: float | None) -> tuple[Forecast, ...]:
    """Forecast with every prompt stored separately, and with a common prefix stored once if the cache did so."""
    replies = evidence.replies
    whole = is_any(replies, "outcome", {Outcome.COMPLETE})
    prompt, reply = mean(numbers(replies, "tokens_in")[whole]), mean(numbers(replies, "tokens_out")[whole])
    if tokens is None or not prompt or not reply:
        return ()
    usable, block = _usable(evidence.manifest, tokens)
    spread = float(np.nanstd(numbers(replies, "tokens_out")[whole]))
    prefix = _shared_prefix(replies, whole, evidence.manifest, block, hit_share)

    def forecast(kind: Literal["distinct", "shared"], shared: float) -> Forecast:
        at_end = math.ceil((prompt + reply) / block) * block - shared
        on_average = prompt + reply / 2 + block / 2 - shared
        sd = math.hypot(reply, spread) / math.sqrt(12)
        return Forecast(
            prompts=kind,
            prompt_tokens=prompt,
            shared_tokens=shared,
            reply_tokens=reply,
            resident_tokens=at_end,
            users_low=max(0, math.floor((usable - shared) / at_end)),
            users_high=max(0, math.floor(_replies_that_fit(usable - shared, on_average, sd) / active)),
        )

    distinct = forecast("distinct", 0.0)
    return (distinct, forecast("shared", float(prefix))) if prefix else (distinct,)


def _replies_that_fit(room: float, tokens: float, sd: float) -> float:
    """Solve n·tokens + FLUCTUATION_SIGMA·sd·√n = room for n."""
    margin = FLUCTUATION_SIGMA * sd
    root = (math.sqrt(margin**2 + 4 * tokens * max(room, 0.0)) - margin) / (2 * tokens)
    return root * root


def _hit_share(metrics: Metrics) -> float | None:
    """Return the share of prompt tokens that the server's counters say came from the cache."""
    cached, prompts = total_rise(metrics, "prompt_tokens_cached"), total_rise(metrics, "prompt_tokens")
    return cached / prompts if cached is not None and prompts else server_hit_rate(metrics)


def _shared_prefix(
    replies: Columns, whole: Bools, manifest: Mapping[str, Any], block: int, hit_share: float | None
) -> int:
    """Return the tokens, in whole blocks, of the prompts' common prefix that came from the cache.

    In a run with a cold and a warm arm only the warm one counts: cold prompts share nothing. Where replies do not tell
    cached tokens, the server's counters do.
    """
    asked = number(mapping(manifest.get("prompts")), "shared_prefix_tokens", 0.0)
    warm = ~is_any(replies, "scenario", {COLD})
    from_cache = quantile(numbers(replies, "tokens_cached")[whole & warm], 0.5)
    if from_cache is None and hit_share is not None:
        prompt = mean(numbers(replies, "tokens_in")[whole]) or 0.0
        # The first prompts fill the cache, so the counters stay below what later prompts share.
        from_cache = asked if hit_share * prompt >= MIN_COUNTED * asked else hit_share * prompt
    if not asked or from_cache is None or from_cache < MIN_SHARED * asked:
        return 0
    return int(min(asked, from_cache) // block) * block


def _ran(loads: Sequence[Load]) -> float | None:
    """Return the most requests that ran at the same time, on average over a level."""
    return max((load.server.running for load in loads if load.server.running is not None), default=None)


def _replies_by_gauge(below: Sequence[Load]) -> float | None:
    """Extrapolate the cache usage over the running requests, at the levels below saturation, to a full cache.

    Of several engines, the mean usage counts: all of them together fill all caches.
    """
    points = [
        (load.server.running, usage)
        for load in below
        if load.server.running and (usage := mean(np.array([_usage(e.gauges.kv) for e in load.engines.values()])))
    ]
    if not points:
        return None
    (few, low), (many, high) = points[0], points[-1]
    per_request = (high - low) / (many - few) if many >= COMPARABLE * few else high / many
    return many + (1 - high) / per_request if per_request > 0 else None


def _usage(kv: Floats) -> float:
    return float(np.nanmean(kv)) if not np.isnan(kv).all() else math.nan


def _agreement(
    forecast: Forecast | None, active: float, ran: float | None, full_at: float | None, by_gauge: float | None
) -> Agreement | None:
    """Compare a forecast with what ran without running out of memory, what did not fit, and the usage."""
    if forecast is None or (ran is None and full_at is None):
        return None
    low, high = forecast.users_low, forecast.users_high * active
    if ran is not None and ran > TOLERANCE * max(high, low):
        return "too_low"
    if full_at is not None and full_at * TOLERANCE < low:
        return "too_high"
    if by_gauge is not None and not low / MAX_GAUGE_RATIO <= by_gauge <= MAX_GAUGE_RATIO * max(high, low) + 1:
        return "too_low" if by_gauge > high else "too_high"
    return "agrees"


def _replies(
    forecasts: Sequence[Forecast], active: float, agreement: Agreement | None, by_gauge: float | None
) -> tuple[int, int] | None:
    if forecasts and agreement in ("agrees", None):
        low, high = forecasts[-1].users_low, round(forecasts[-1].users_high * active)
        return low, max(low, high)
    return None if by_gauge is None else (math.floor(by_gauge), math.floor(by_gauge))


@dataclass(frozen=True)
class _Measured:
    """What the run itself saw of the room in the cache."""

    agreement: Agreement | None
    ran: float | None
    full_at: float | None
    by_gauge: float | None


def _sentence(
    best: Load | None,
    fullest: Load | None,
    near: bool | None,
    saturated: int | None,
    forecasts: Sequence[Forecast],
    measured: _Measured,
    who: Who,
) -> str:
    sentences = [_measured(best, fullest, near, saturated, who)]
    if forecasts:
        forecast = forecasts[-1]
        low, high = forecast.users_low, forecast.users_high
        fits = f"{low:,} to {people(high, who)}" if high > low else people(low, who)
        tokens = f"{count(forecast.resident_tokens)} tokens per user when replies end"
        shared = f", plus {count(forecast.shared_tokens)} shared by all" if forecast.shared_tokens else ""
        if measured.agreement in ("too_low", "too_high"):
            sentences.append(_disagreement(forecast, fits, f"{tokens}{shared}", measured))
        else:
            not_full = "; it was not the limit in this run" if near is False and saturated is None else ""
            sentences.append(f"By its size the KV cache has room for {fits} ({tokens}{shared}){not_full}.")
        sentences.append(_queued_users(best, who))
    elif measured.by_gauge is not None:
        replies = things(math.floor(measured.by_gauge), "reply", "replies")
        sentences.append(f"Extrapolated from its usage, the KV cache is full with about {replies} at once.")
    return " ".join(filter(None, sentences))


def _disagreement(forecast: Forecast, fits: str, tokens: str, measured: _Measured) -> str:
    """Say how far the arithmetic is from what the run saw, which counts."""
    seen, why = [], "prompts may share more than is known"
    if measured.agreement == "too_high":
        why = "requests may hold more than their own tokens"
        if measured.full_at is not None and measured.full_at < forecast.users_low:
            seen.append(f"it was full with {things(round(measured.full_at), 'request')}")
    elif measured.ran is not None and measured.ran > forecast.users_high:
        seen.append(f"{things(round(measured.ran), 'request')} ran at once without filling it")
    if measured.by_gauge is not None:
        seen.append(f"its usage suggests room for about {count(math.floor(measured.by_gauge))}")
    return f"By arithmetic it would have room for {fits} ({tokens}), but in this run {' and '.join(seen)}: {why}."


def _measured(best: Load | None, fullest: Load | None, near: bool | None, saturated: int | None, who: Who) -> str:
    """`best`: the highest level below saturation; `fullest`: that of them with the highest usage, maybe a lower one."""
    if best is None:
        if saturated is None:
            return "The KV-cache usage is not known."
        return f"The KV cache ran out of memory at {people(saturated, who)} already."
    if fullest is not None and not near and saturated is None:
        best = fullest
    usage = f"The KV cache was at most {percent(best.kv_max or 0.0)} full at {people(best.users, who)}"
    then = f"; at {saturated:,} it ran out of memory" if saturated is not None else ""
    if not near:
        return f"{usage}{then}."
    fine = "all users are served" if best.held else "nothing is preempted yet"
    return f"{usage}, near saturation, and {fine}{then or '; one more user may fill it'}."


def _queued_users(best: Load | None, who: Who) -> str:
    """Explain why many users fill little of the cache: requests in the queue hold nothing."""
    if best is None:
        return ""
    ran, waited = (quantile(gauge, 1.0) for gauge in (best.gauges.running, best.gauges.waiting))
    if ran is None or not waited or isinstance(best.users, Rate) or not ran < best.users:
        return ""
    return f"Of {people(best.users, who)} no more than {count(ran)} ran at once; the others waited in the queue."

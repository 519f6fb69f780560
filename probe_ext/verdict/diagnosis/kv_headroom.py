"""Where the KV cache runs full: the level that stands on the edge, and the wall forecast beside the measured one.

All seems fine just before the wall: nothing waits, nothing is put on hold, and one user more tips it over. So the level
below it is named. The forecast is arithmetic: the cache's tokens, less what all prompts share, over the tokens that a
reply holds. When it ends it holds its whole prompt and answer, rounded up to blocks; on average half of its answer.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import COLD
from probe_ext.verdict.diagnosis.batch_limit import LIKE
from probe_ext.verdict.diagnosis.kv_cache import CALM, at_wall
from probe_ext.verdict.diagnosis.level_load import Load, mean
from probe_ext.verdict.values.columns import Bools, numbers, texts
from probe_ext.verdict.values.evidence import Columns, Evidence, quantile
from probe_ext.verdict.values.formats import count, percent
from probe_ext.verdict.values.manifest_view import number, servers
from probe_ext.verdict.values.plurals import people
from probe_ext.verdict.values.ruling_types import Edge, Forecast

FOUND = 0.5
"""of what all prompts share: so much of it must have come from the cache to be counted as held only once"""
USUAL = 2.0
"""standard deviations: the fluctuation of what many replies hold together that is to be expected"""


def edge(evidence: Evidence, loads: Sequence[Load]) -> Edge:
    """What is known of it; None and nothing where the server tells neither use nor size of its cache."""
    told = [load for load in loads if load.kv_max is not None]
    walled = next((load for load in told if at_wall(load)), None)
    below = [load for load in told if walled is None or load.users < walled.users]
    best = below[-1] if below else None
    active = _active(best or (told[0] if told else None))
    tokens = _kv_tokens(evidence.manifest)
    forecasts = _forecasts(evidence, tokens, active)
    by_gauge = _by_gauge(below, active)
    on_edge = None if best is None else _on_edge(best)
    wall = (best.users if best else None, walled.users if walled else None)
    return Edge(
        sentence=_sentence(best, on_edge, wall[1], forecasts, by_gauge),
        users=wall[0],
        kv_usage_max=best.kv_max if best else None,
        on_edge=on_edge,
        wall=wall,
        kv_tokens=tokens,
        forecasts=forecasts,
        users_by_gauge=by_gauge,
    )


def _on_edge(load: Load) -> bool:
    """As full as can be, or so that one user more of the same kind would fill it."""
    full = load.kv_max or 0.0
    return full >= CALM or full * (load.users + 1) / load.users > 1


def _active(load: Load | None) -> float:
    """The share of the users who have a reply in flight; the others read and think."""
    return min(1.0, load.crowd.in_flight / load.users) if load and load.crowd.in_flight else 1.0


def _caches(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    told = [one.get("cache") for one in servers(manifest)]
    return [cache for cache in told if isinstance(cache, Mapping)]


def _kv_tokens(manifest: Mapping[str, Any]) -> int | None:
    """Of all servers; None where one of them does not tell. One of vLLM's blocks holds nobody's tokens."""
    caches = _caches(manifest)
    sizes = [number(cache, "kv_tokens") for cache in caches]
    if not sizes or None in sizes:
        return None
    return int(sum(size or 0.0 for size in sizes))


def _usable(manifest: Mapping[str, Any], tokens: int) -> tuple[int, int]:
    """Tokens that requests can hold, and the size of a block."""
    caches = _caches(manifest)
    block = max((int(number(cache, "block_size", 1)) for cache in caches), default=1)
    empty = sum(int(number(cache, "engines", 1)) for cache, of in zip(caches, servers(manifest), strict=False)
                if of.get("kind") == "vllm" and number(cache, "num_gpu_blocks"))  # fmt: skip
    return tokens - empty * block, max(1, block)


def _forecasts(evidence: Evidence, tokens: int | None, active: float) -> tuple[Forecast, ...]:
    """With every prompt held by itself; and with what all share held once, where the cache was seen to share it."""
    replies = evidence.replies
    whole = np.array([outcome == Outcome.COMPLETE for outcome in texts(replies, "outcome")], dtype=np.bool_)
    prompt, reply = mean(numbers(replies, "tokens_in")[whole]), mean(numbers(replies, "tokens_out")[whole])
    if tokens is None or not prompt or not reply:
        return ()
    usable, block = _usable(evidence.manifest, tokens)
    spread = float(np.nanstd(numbers(replies, "tokens_out")[whole]))
    shared = _shared(replies, whole, evidence.manifest, block)

    def forecast(kind: Literal["distinct", "shared"], once: float) -> Forecast:
        ends = math.ceil((prompt + reply) / block) * block - once
        middle = prompt + reply / 2 + block / 2 - once
        sd = math.hypot(reply, spread) / math.sqrt(12)
        return Forecast(
            prompts=kind, prompt_tokens=prompt, shared_tokens=once, reply_tokens=reply, resident_tokens=ends,
            users_low=max(0, math.floor((usable - once) / ends)),
            users_high=max(0, math.floor(_filling(usable - once, middle, sd) / active)),
        )  # fmt: skip

    found = [forecast("distinct", 0.0)]
    return (*found, forecast("shared", float(shared))) if shared else tuple(found)


def _filling(room: float, each: float, sd: float) -> float:
    """The most that fit with their usual fluctuation: n·each + 2·sd·√n = room."""
    root = (math.sqrt((USUAL * sd) ** 2 + 4 * each * max(room, 0.0)) - USUAL * sd) / (2 * each)
    return root * root


def _shared(replies: Columns, whole: Bools, manifest: Mapping[str, Any], block: int) -> int:
    """Whole blocks at the beginning of all prompts that were asked to be alike and came from the cache.

    Of a run with both arms, the warm one's: the cold one shares nothing.
    """
    prompts = manifest.get("prompts")
    asked = number(prompts, "shared_prefix_tokens", 0.0) if isinstance(prompts, Mapping) else 0.0
    warm = np.array([name != COLD for name in texts(replies, "scenario")], dtype=np.bool_)
    cached = numbers(replies, "tokens_cached")[whole & warm]
    cached = cached[~np.isnan(cached)]
    if not asked or not len(cached) or float(np.median(cached)) < FOUND * asked:
        return 0
    return int(min(asked, float(np.median(cached))) // block) * block


def _by_gauge(below: Sequence[Load], active: float) -> int | None:
    """A line through the use of the cache over the replies that ran, at the levels below the wall, up to 1."""
    points = [(float(np.nanmean(load.gauges.running)), float(np.nanmean(load.gauges.kv))) for load in below
              if not np.isnan(load.gauges.running).all()]  # fmt: skip
    points = [(running, kv) for running, kv in points if running > 0 and kv > 0]
    if not points:
        return None
    (few, low), (many, high) = points[0], points[-1]
    each = (high - low) / (many - few) if many >= LIKE * few else high / many
    if each <= 0:
        return None
    return math.floor((many + (1 - high) / each) / active)


def _sentence(
    best: Load | None, on_edge: bool | None, walled: int | None, forecasts: Sequence[Forecast], by_gauge: int | None
) -> str:
    said = [_standing(best, on_edge, walled)]
    if forecasts:
        one = forecasts[-1]
        fits = f"{one.users_low:,} to {one.users_high:,}" if one.users_high > one.users_low else f"{one.users_low:,}"
        held = f"{count(one.resident_tokens)} tokens a user when replies end"
        shared = f" and {count(one.shared_tokens)} that all share" if one.shared_tokens else ""
        said.append(f"By its size it holds {fits} people: {held}{shared}.{_fewer_ran(best)}")
    elif by_gauge is not None:
        said.append(f"As its use grew, it would be full with about {people(by_gauge)}.")
    return " ".join(said)


def _standing(best: Load | None, on_edge: bool | None, walled: int | None) -> str:
    behind = f"; at {walled:,} memory ran out" if walled is not None else ""
    if best is None:
        unknown = "How full the KV cache was is not known."
        return unknown if walled is None else f"Already at {people(walled)} memory ran out."
    full = f"{people(best.users)} fill {percent(best.kv_max or 0.0)} of the KV cache"
    full = full.replace("person fill", "person fills")
    if not on_edge:
        return f"{full}{behind}."
    fine = "all is still fine" if best.served else "nobody is put on hold yet"
    return f"{full} and {fine}: this is the edge{behind or ', one user more may tip it over'}."


def _fewer_ran(best: Load | None) -> str:
    """Why so many people fill so little: those who wait in the queue hold nothing."""
    ran, waited = (quantile(told, 1.0) for told in (best.gauges.running, best.gauges.waiting)) if best else (None, None)
    if best is None or ran is None or not waited or not ran < best.users:
        return ""
    return f" Of {people(best.users)} no more than {count(ran)} at once had a place there; the others waited."

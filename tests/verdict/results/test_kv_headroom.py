"""KV-cache headroom, measured and forecast, with the figures of a published test of Llama-2 7B."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from regimes import evidence_of, judged
from worlds import CHAT, columns, evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.ruling_types import KvHeadroom
from scripts.study.diagnosis.diagnoses import blind

POOL, BLOCK, SHARED, OWN, ANSWER = 13_216, 16, 1_872, 20, 430
"""Tokens; one block of the pool stays empty."""
HOLD = 60
PUBLISHED = ((4, 0.28, 0, 0), (8, 0.45, 0, 0), (16, 0.65, 0, 0), (24, 0.97, 0, 0), (32, 1.0, 11, 6))
"""Users, peak KV-cache usage, preemptions, waiting requests."""


def article(
    *, cached: int = SHARED, rows: tuple[tuple[int, float, int, int], ...] = PUBLISHED, **cache: Any
) -> Evidence:
    """Return a run in which every user always has a reply of 20 s in flight."""
    replies: list[ReplyRow] = []
    server: list[ServerRow] = []
    preempted = 0
    for step, (users, kv, preemptions, waiting) in enumerate(rows):
        start = float(step * HOLD)
        for user in range(users):
            for n in range(3):
                at = start + 20.0 * n + 0.01 * user
                replies.append(reply(user, at, first=at + 0.2, tpot=19.7 / ANSWER, tokens_out=ANSWER,
                                     tokens_in=SHARED + OWN, tokens_cached=cached))  # fmt: skip
        for t in range(HOLD):
            preempted += preemptions if t == HOLD // 2 else 0
            values = {"running": users - waiting, "waiting": waiting, "kv_usage": kv, "preemptions": preempted}
            server += [ServerRow(start + t, "u", "0", name, float(value)) for name, value in values.items()]
    config = {"kv_tokens": POOL, "block_size": BLOCK, "num_gpu_blocks": POOL // BLOCK, "engines": 1, **cache}
    stated = manifest(
        workers=[worker(started=len(replies))],
        server=[{"url": "u", "kind": "vllm", "metrics": "ok", "cache": config}],
        prompts={"input_tokens": SHARED + OWN, "shared_prefix_tokens": SHARED},
    )
    return evidence(replies, staircase(*((row[0], HOLD) for row in rows)), server=server, manifest=stated)


def headroom_of(run: Evidence) -> KvHeadroom:
    return judge(run, CHAT).kv_headroom


def test_the_level_before_saturation_is_named() -> None:
    headroom = headroom_of(article())
    assert (headroom.users, headroom.kv_usage_max, headroom.near_saturation, headroom.saturation) == (
        24,
        0.97,
        True,
        (24, 32),
    )
    assert "The KV cache was at most 97 % full at 24 people, near saturation" in headroom.sentence
    assert "near saturation, and nothing is preempted yet; at 32 it ran out of memory" in headroom.sentence


def test_queued_users_hold_no_memory() -> None:
    queued = headroom_of(article(rows=((4, 0.28, 0, 0), (64, 0.65, 0, 48)))).sentence
    assert "Of 64 people no more than 16 ran at once" in queued
    assert "ran at once" not in headroom_of(article()).sentence


def test_a_level_far_from_saturation_is_not_near_it() -> None:
    headroom = headroom_of(article(rows=PUBLISHED[:3]))
    assert (headroom.users, headroom.near_saturation, headroom.saturation) == (16, False, (16, None))
    assert "shared by all); it was not the limit in this run." in headroom.sentence
    assert "not the limit" not in headroom_of(article()).sentence


def test_one_more_user_matters_where_there_are_few() -> None:
    assert headroom_of(article(rows=((2, 0.70, 0, 0),))).near_saturation is True, "a third would need 105 %"
    assert headroom_of(article(rows=((8, 0.70, 0, 0),))).near_saturation is False


def test_the_forecast_agrees_with_the_measurement() -> None:
    distinct, shared = headroom_of(article()).forecasts
    # 2,322 tokens are 146 blocks; less 117 shared ones, 29 blocks of 16 are a user's own.
    assert (shared.prompts, shared.shared_tokens, shared.resident_tokens) == ("shared", 1872, 464)
    assert shared.users_low == (POOL - BLOCK - SHARED) // 464 == 24
    assert 24 < 32 < shared.users_high == 40
    assert (distinct.prompts, distinct.resident_tokens, distinct.users_low) == ("distinct", 2336, 5)


def test_a_prefix_that_did_not_come_from_the_cache_is_not_counted_as_shared() -> None:
    assert [one.prompts for one in headroom_of(article(cached=0)).forecasts] == ["distinct"]


def without_cached_tokens(run: Evidence, hit_share: float | None = None) -> Evidence:
    """Replies that do not tell what came from the cache; perhaps counters that do."""
    replies = {**run.replies, "tokens_cached": np.full(len(run.replies["sent"]), np.nan)}
    if hit_share is None:
        return replace(run, replies=replies)
    shares = {"prompt_tokens": 1.0, "prefix_queries": 1.0, "prefix_hits": hit_share}
    rows = [
        ServerRow(float(t), "u", "0", name, 100.0 * t * share) for t in range(300) for name, share in shares.items()
    ]
    counters = columns(rows, ServerRow)
    server = {name: np.concatenate([values, counters[name]]) for name, values in run.server.items()}
    return replace(run, replies=replies, server=server)


def test_a_shared_prefix_is_known_from_the_servers_counters_as_well() -> None:
    """As with vLLM 0.32, which tells cached tokens in its metrics only."""
    _, shared = headroom_of(without_cached_tokens(article(), hit_share=0.96)).forecasts
    assert (shared.shared_tokens, shared.users_low) == (1872, 24)
    (distinct,) = headroom_of(without_cached_tokens(article(), hit_share=0.1)).forecasts
    assert distinct.shared_tokens == 0


def test_a_forecast_that_the_run_contradicts_says_so() -> None:
    headroom = headroom_of(without_cached_tokens(article()))
    assert headroom.agreement == "too_low"
    assert "By arithmetic it would have room for 5 people" in headroom.sentence
    assert "but in this run 24 requests ran at once without filling it" in headroom.sentence
    assert headroom.replies == (24, 24), "what the run saw counts"
    assert headroom_of(article()).agreement == "agrees"


def test_room_for_twice_the_users_if_half_of_them_are_thinking() -> None:
    run = article()
    pensive = replace(run, replies={**run.replies, "end": run.replies["sent"] + 10.0})
    assert headroom_of(pensive).forecasts[1].users_low == 24, "all of them may ask at once"
    assert headroom_of(pensive).forecasts[1].users_high == pytest.approx(2 * 40, rel=0.08)


def test_without_the_cache_size_its_gauge_is_extrapolated() -> None:
    headroom = headroom_of(article(kv_tokens=None))
    assert (headroom.kv_tokens, headroom.forecasts) == (None, ())
    assert headroom.users_by_gauge == pytest.approx(24, abs=2)


def test_without_metrics_nothing_is_known() -> None:
    headroom = headroom_of(blind(article()))
    assert (headroom.users, headroom.near_saturation, headroom.saturation, headroom.forecasts) == (
        None,
        None,
        (None, None),
        (),
    )
    assert headroom.sentence == "The KV-cache usage is not known."


@pytest.mark.untraced
def test_simulated_saturation_lies_within_forecast_and_measurement() -> None:
    headroom = judged("wall").kv_headroom
    held, failed = headroom.saturation
    assert (held, failed, headroom.agreement) == (8, 16, "agrees")
    (forecast,) = headroom.forecasts
    assert held <= forecast.users_low <= forecast.users_high < failed
    assert held <= (headroom.users_by_gauge or 0) < failed


def test_a_shared_prefix_is_found_in_a_simulated_run() -> None:
    headroom = headroom_of(evidence_of("edge"))
    assert headroom.forecasts[1].shared_tokens == SHARED
    assert headroom.forecasts[1].users_low == 24


def test_only_the_warm_arm_shows_what_is_shared() -> None:
    run = article()
    arms = np.array(["cold", "cold", "warm"] * (len(run.replies["sent"]) // 3), dtype=object)
    cached = np.where(arms == "cold", 0.0, SHARED)
    both = replace(run, replies={**run.replies, "scenario": arms, "tokens_cached": cached})
    distinct, shared = headroom_of(both).forecasts
    assert (distinct.shared_tokens, shared.shared_tokens) == (0, SHARED)


def test_a_forecast_that_promises_too_much_says_so() -> None:
    """Full with 6 to 8 requests, although their tokens would leave room for 24."""
    headroom = headroom_of(article(rows=((4, 0.7, 0, 0), (8, 1.0, 20, 2))))
    assert headroom.agreement == "too_high"
    assert "but in this run it was full with 6 requests and its usage suggests room for about 5" in headroom.sentence

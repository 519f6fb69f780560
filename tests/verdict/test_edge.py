"""The level on the edge of the KV cache, and the wall by arithmetic: as a published test of Llama-2 7B had it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from regimes import evidence_of, judged
from worlds import CHAT, evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.ruling_types import KvHeadroom
from scripts.study.diagnoses import blind

POOL, BLOCK, SHARED, OWN, ANSWER = 13_216, 16, 1_872, 20, 430
"""tokens; one block of the pool holds nobody's"""
HOLD = 60
PUBLISHED = ((4, 0.28, 0, 0), (8, 0.45, 0, 0), (16, 0.65, 0, 0), (24, 0.97, 0, 0), (32, 1.0, 11, 6))
"""users, peak use of the cache, preemptions, waiting"""


def article(
    *, cached: int = SHARED, rows: tuple[tuple[int, float, int, int], ...] = PUBLISHED, **cache: Any
) -> Evidence:
    """Every user has a reply in flight all the time, each of 20 s."""
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
            told = {"running": users - waiting, "waiting": waiting, "kv_usage": kv, "preemptions": preempted}
            server += [ServerRow(start + t, "u", "0", name, float(value)) for name, value in told.items()]
    config = {"kv_tokens": POOL, "block_size": BLOCK, "num_gpu_blocks": POOL // BLOCK, "engines": 1, **cache}
    stated = manifest(
        workers=[worker(started=len(replies))],
        server=[{"url": "u", "kind": "vllm", "metrics": "ok", "cache": config}],
        prompts={"input_tokens": SHARED + OWN, "shared_prefix_tokens": SHARED},
    )
    return evidence(replies, staircase(*((row[0], HOLD) for row in rows)), server=server, manifest=stated)


def edge_of(run: Evidence) -> KvHeadroom:
    return judge(run, CHAT).edge


def test_the_edge_is_named_before_anything_is_put_on_hold() -> None:
    edge = edge_of(article())
    assert (edge.users, edge.kv_usage_max, edge.on_edge, edge.wall) == (24, 0.97, True, (24, 32))
    assert "24 people fill 97 % of the KV cache" in edge.sentence
    assert "this is the edge; at 32 memory ran out" in edge.sentence


def test_people_who_wait_in_the_queue_are_said_to_hold_nothing() -> None:
    queued = edge_of(article(rows=((4, 0.28, 0, 0), (64, 0.65, 0, 48)))).sentence
    assert "Of 64 people no more than 16 at once had a place there" in queued
    assert "had a place" not in edge_of(article()).sentence


def test_a_level_far_from_the_wall_is_no_edge() -> None:
    edge = edge_of(article(rows=PUBLISHED[:3]))
    assert (edge.users, edge.on_edge, edge.wall) == (16, False, (16, None))


def test_one_user_more_counts_where_users_are_few() -> None:
    assert edge_of(article(rows=((2, 0.70, 0, 0),))).on_edge is True, "a third would need 105 %"
    assert edge_of(article(rows=((8, 0.70, 0, 0),))).on_edge is False


def test_the_wall_by_arithmetic_lies_where_it_was_measured() -> None:
    distinct, shared = edge_of(article()).forecasts
    # 2,322 tokens are 146 blocks; less 117 shared ones, 29 blocks of 16 are a user's own.
    assert (shared.prompts, shared.shared_tokens, shared.resident_tokens) == ("shared", 1872, 464)
    assert shared.users_low == (POOL - BLOCK - SHARED) // 464 == 24
    assert 24 < 32 < shared.users_high == 40
    assert (distinct.prompts, distinct.resident_tokens, distinct.users_low) == ("distinct", 2336, 5)


def test_prompts_that_were_not_seen_to_be_shared_are_not_counted_as_shared() -> None:
    assert [one.prompts for one in edge_of(article(cached=0)).forecasts] == ["distinct"]


def test_half_of_the_users_thinking_makes_room_for_twice_as_many() -> None:
    run = article()
    pensive = replace(run, replies={**run.replies, "end": run.replies["sent"] + 10.0})
    assert edge_of(pensive).forecasts[1].users_low == 24, "all of them may ask at once"
    assert edge_of(pensive).forecasts[1].users_high == pytest.approx(2 * 40, rel=0.08)


def test_without_the_size_of_the_cache_its_gauge_still_tells() -> None:
    edge = edge_of(article(kv_tokens=None))
    assert (edge.kv_tokens, edge.forecasts) == (None, ())
    assert edge.users_by_gauge == pytest.approx(24, abs=2)


def test_what_is_not_told_is_not_known() -> None:
    edge = edge_of(blind(article()))
    assert (edge.users, edge.on_edge, edge.wall, edge.forecasts) == (None, None, (None, None), ())
    assert edge.sentence == "How full the KV cache was is not known."


@pytest.mark.untraced
def test_the_simulated_wall_lies_within_its_forecast_and_what_was_measured() -> None:
    edge = judged("wall").edge
    held, failed = edge.wall
    assert (held, failed, edge.on_edge) == (8, 16, True)
    (forecast,) = edge.forecasts
    assert held <= forecast.users_low <= forecast.users_high < failed
    assert held <= (edge.users_by_gauge or 0) < failed


def test_a_shared_beginning_is_found_in_a_run_of_the_simulated_server() -> None:
    edge = edge_of(evidence_of("edge"))
    assert edge.forecasts[1].shared_tokens == SHARED
    assert edge.forecasts[1].users_low == 24


def test_of_two_arms_the_warm_one_tells_what_is_shared() -> None:
    run = article()
    arms = np.array(["cold", "cold", "warm"] * (len(run.replies["sent"]) // 3), dtype=object)
    cached = np.where(arms == "cold", 0.0, SHARED)
    both = replace(run, replies={**run.replies, "scenario": arms, "tokens_cached": cached})
    distinct, shared = edge_of(both).forecasts
    assert (distinct.shared_tokens, shared.shared_tokens) == (0, SHARED)

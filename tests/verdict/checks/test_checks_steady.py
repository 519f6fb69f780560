"""Checks of a shared machine, a warm-up in the measured part, a decline at constant load, and reply counts."""

from typing import Any

import numpy as np
import pytest
from worlds import CHAT, evidence, manifest, reply, staircase, steady, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.checks.stationarity import decline
from probe_ext.verdict.evidence.evidence import Evidence, Window
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.finding import Finding

USERS, HOLD = 2, 125


def run(rows: list[ReplyRow] | None = None, **changes: Any) -> Evidence:
    return evidence(rows or steady(USERS, 0, HOLD), staircase((USERS, HOLD)), **changes)


def finding(check: str, of: Evidence) -> Finding:
    (found,) = [one for one in judge(of, CHAT).findings if one.check == check]
    assert not found.invalidates
    assert found.why
    assert found.advice or found.state != "fail"
    return found


def result(check: str, of: Evidence) -> str:
    return finding(check, of).state


# --- where the load comes from ---


@pytest.mark.parametrize(
    ("url", "state"),
    [
        ("http://127.0.0.1:8000", "fail"),
        ("http://127.8.9.1", "fail"),
        ("http://[::1]:8000/v1", "fail"),
        ("https://localhost", "fail"),
        ("http://gpu.localhost:1", "fail"),
        ("http://generator-7:8000", "fail"),
        ("http://GENERATOR-7:8000", "fail"),
        ("http://gpu-box:8000", "pass"),
        ("http://10.0.0.7:8000", "pass"),
        ("https://models.example.org/a", "pass"),
        ("http://[::1", "unproven"),
        ("", "unproven"),
        (None, "unproven"),
    ],
)
def test_load_from_the_servers_own_machine(url: str | None, state: str) -> None:
    there = [worker(started=len(run().replies["due"]), host="generator-7")]
    assert result("own_machine", run(manifest=manifest(target={"host": url}, workers=there))) == state


def test_an_unknown_server_address_is_unproven() -> None:
    assert result("own_machine", run(manifest=manifest(target=None))) == "unproven"


# --- warm-up inside the measured part ---


def first_words(early: float, rest: float) -> list[ReplyRow]:
    """The first fifth of the measured part (from 5 s to 125 s) ends at 29 s."""
    asked = [(u, t) for t in np.arange(6.0, 124.0, 3).tolist() for u in range(USERS)]
    return [reply(u, t, first=t + (early if t < 29 else rest)) for u, t in asked]


@pytest.mark.parametrize(
    ("early", "rest", "state"),
    [(0.9, 0.2, "fail"), (0.2, 0.2, "pass"), (0.3, 0.12, "pass"), (0.9, 0.6, "pass"), (0.2, 0.9, "pass")],
)
def test_a_slow_start_of_the_first_level(early: float, rest: float, state: str) -> None:
    assert result("still_warming", run(first_words(early, rest))) == state


def test_only_the_first_level_can_warm_up() -> None:
    rows = first_words(0.2, 0.2)
    rows += [
        reply(u, 130.5 + 3 * i, first=130.5 + 3 * i + (0.9 if i < 3 else 0.2)) for i in range(16) for u in range(4)
    ]
    assert result("still_warming", evidence(rows, staircase((USERS, HOLD), (4, 50)))) == "pass"


def test_without_replies_to_compare_a_warm_up_is_unproven() -> None:
    late = [reply(0, 60.0 + t) for t in range(9)]
    assert result("still_warming", run(late)) == "unproven"
    assert result("still_warming", evidence([], [])) == "unproven"


# --- a decline at constant load ---


def token_windows(rates: list[float]) -> list[Window]:
    """Return token counts from one rate for each ten seconds of the measured part."""
    return [Window("tokens", float(s), 1.0, int(rates[(s - 5) // 10]), None) for s in range(5, 5 + 10 * len(rates))]


FALLING = [1000.0 - 25 * k for k in range(12)]


@pytest.mark.parametrize(
    ("rates", "state"),
    [
        (FALLING, "fail"),
        ([1000.0] * 12, "pass"),
        (FALLING[::-1], "pass"),
        ([1000.0 - 5 * k for k in range(12)], "pass"),  # 5 % in total
        ([1000.0, 700.0] * 6, "pass"),  # fluctuates
        ([1000.0] * 11 + [300.0], "pass"),  # once, at the end
    ],
)
def test_throughput_that_falls_at_constant_load(rates: list[float], state: str) -> None:
    assert result("steady", run(windows=token_windows(rates))) == state


def test_a_decline_states_its_size_and_level() -> None:
    why = finding("steady", run(windows=token_windows(FALLING))).why
    assert "28 % at 2 users" in why or "27 % at 2 users" in why


def test_short_levels_conversations_and_missing_counts_show_no_decline() -> None:
    short = evidence(steady(2, 0, 60), staircase((2, 60)), windows=token_windows(FALLING))
    assert result("steady", short) == "unproven"
    turns = [reply(u, 6.0 + 3 * t, kind="turn") for t in range(39) for u in range(2)]
    assert result("steady", run(turns, windows=token_windows(FALLING))) == "unproven"
    assert result("steady", run(windows=())) == "unproven"


def test_chance_seldom_looks_like_a_decline() -> None:
    random = np.random.default_rng(7)
    found = [decline(random.normal(1000, 200, 12)) for _ in range(300)]
    assert sum(lost is not None for lost in found) <= 12, "one in a hundred is expected, of which few lose a tenth"


# --- replies by the server's count ---


def finished(count: float) -> list[ServerRow]:
    return [ServerRow(float(t), "u", "0", "requests_finished", v) for t, v in ((0, 3.0), (130, 3.0 + count))]


def test_the_servers_reply_count() -> None:
    rows = steady(USERS, 0, HOLD)
    ours = len(rows)
    assert result("server_replies", run(rows, server=finished(ours))) == "pass"
    assert result("server_replies", run(rows, server=finished(ours + 5))) == "pass"
    assert "Others used" in finding("server_replies", run(rows, server=finished(ours + 6))).advice
    assert "cache" in finding("server_replies", run(rows, server=finished(ours - 30))).advice
    cut = [*rows, reply(0, 50.0, outcome=Outcome.ENDED_BY_US), reply(1, 51.0, outcome=Outcome.HTTP_ERROR)]
    assert result("server_replies", run(cut, server=finished(ours))) == "pass"


def test_without_counts_on_both_sides_nothing_is_compared() -> None:
    rows = steady(USERS, 0, HOLD)
    assert result("server_replies", run(rows)) == "unproven"
    several = [reply(u, 6.0 + 3 * t, choices=2) for t in range(39) for u in range(2)]
    assert result("server_replies", run(several, server=finished(3))) == "unproven"
    failed = [reply(0, 6.0, outcome=Outcome.HTTP_ERROR)]
    assert result("server_replies", run(failed, server=finished(3))) == "unproven"


# --- prompts that repeat, by the server's own counters ---


def cached(hits: float, queries: float = 1000.0) -> list[ServerRow]:
    total = {"prefix_queries": queries, "prefix_hits": hits, "prompt_tokens": 1000.0}
    return [ServerRow(t, "u", "0", name, v) for name, n in total.items() for t, v in ((0.0, 0.0), (130.0, n))]


@pytest.mark.parametrize(("shared", "status"), [(60, "pass"), (0, "fail")])
def test_prompts_of_a_trace_are_meant_to_share_what_they_shared_when_recorded(shared: int, status: str) -> None:
    rows = [
        reply(u, 6.0 + 3 * t, tokens_in=100, tokens_cached=60, tokens_shared=shared) for t in range(39) for u in (0, 1)
    ]
    assert result("prompt_cache", run(rows)) == status


def test_repeated_prompts_show_in_the_servers_counters() -> None:
    rows = [reply(u, 6.0 + 3 * t, tokens_cached=None) for t in range(39) for u in range(2)]
    assert result("prompt_cache", run(rows, server=cached(900.0))) == "fail"
    assert result("prompt_cache", run(rows, server=cached(100.0))) == "pass"
    assert result("prompt_cache", run(rows, server=cached(900.0, queries=5000.0))) == "unproven", (
        "counted at every scheduling attempt"
    )
    turns = [*rows, reply(0, 123.0, kind="turn", tokens_cached=None)]
    assert result("prompt_cache", run(turns, server=cached(900.0))) == "unproven", "later turns are meant to hit"

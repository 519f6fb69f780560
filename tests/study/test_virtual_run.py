"""Runs on virtual time: the same for the same seed, whole, and with the truth that the server was built with."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from probe_ext.bundled import folder
from probe_ext.settings.slo import load_profile as load_slo
from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.judge import judge
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run, drive, hold_levels

DEMO = load_profile("demo")
CHAT = load_slo("chat", folder("configs") / "slo")


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    runs = [hold_levels(DEMO, People(), (2, 4), seed=seed, hold=10.0) for seed in (1, 1, 2)]
    assert runs[0].replies == runs[1].replies
    assert runs[0].server == runs[1].server
    assert runs[0].replies != runs[2].replies


def test_every_reply_that_was_started_has_a_row_and_every_token_a_second() -> None:
    run = hold_levels(DEMO, People(reply_spread=0.5), (4, 10), seed=3, hold=10.0)
    assert len(run.replies) == run.started == len({row.reply_id for row in run.replies})
    assert sum(run.tokens.values()) == sum(row.tokens_out or 0 for row in run.replies)
    told = {row.quantity: row.value for row in run.server}
    assert told["generation_tokens"] == sum(run.tokens.values())
    assert told["requests_finished"] == run.started
    findings = {finding.check: finding.state for finding in judge(run.evidence, CHAT).findings}
    too_short = {"steady": "unproven", "drift": "unproven", "levels": "unproven"}
    unrecorded = dict.fromkeys(("held_back", "held_in_events", "not_streamed", "prompt_lengths"), "unproven")
    assert {check: state for check, state in findings.items() if state != "pass"} == {**too_short, **unrecorded}


def test_a_batch_limit_is_where_it_was_put() -> None:
    """Four at once are typed to at 40 tokens a second; the fifth waits for a whole answer of three seconds."""
    verdict = judge(hold_levels(replace(DEMO, max_num_seqs=4), People(reply=120), (4, 5, 6), seed=1).evidence, CHAT)
    assert (verdict.served_users, verdict.bracket, verdict.breaks_first) == (4, (4, 5), "first_word")
    assert verdict.levels[2].waiting_max == 2


def test_a_server_that_answers_one_after_another() -> None:
    alone = Personality(sequential=True).applied(DEMO)
    verdict = judge(hold_levels(alone, People(reply=120), (1, 2), seed=1).evidence, CHAT)
    assert verdict.bracket == (None, 2)
    assert verdict.suggestion is not None
    assert verdict.suggestion.users == 1
    assert verdict.levels[1].ttft_p50 == pytest.approx(120 / 50, rel=0.2)


def test_memory_runs_out_and_users_see_it() -> None:
    run = hold_levels(load_profile("demo-wall"), People(reply=100, reply_spread=0.4), (4, 24), seed=1)
    low, high, *_ = judge(run.evidence, CHAT).levels
    assert (low.preemptions, low.state) == (0, "held")
    assert (high.preemptions or 0) > 5
    assert run.gaps


@pytest.mark.untraced
def test_what_stands_in_front_of_the_server_is_not_in_its_counters() -> None:
    cached = hold_levels(DEMO, People(cached=1.0), (2,), seed=1, hold=5.0)
    assert dict.fromkeys(["stop"]) == dict.fromkeys(row.finish_reason for row in cached.replies)
    assert "generation_tokens" not in {row.quantity for row in cached.server if row.value}
    cut = hold_levels(DEMO, People(first_token_only=True), (2,), seed=1, hold=5.0)
    assert {row.tokens_out for row in cut.replies} == {1}


def test_shared_prompts_are_found_in_the_prefix_cache() -> None:
    run = hold_levels(DEMO, People(prompt=320, shared=256), (4,), seed=1, hold=10.0)
    cached = np.array([row.tokens_cached for row in run.replies])
    assert np.median(cached) == 256


def test_people_who_leave_end_their_replies_and_people_who_think_ask_less() -> None:
    def target(steps: dict[int, int]) -> Callable[[float, int], int | None]:
        return lambda t, _: None if t >= 30 else steps[max(s for s in steps if s <= t)]

    run = drive(Run(DEMO, People()), 1, target({0: 8, 15: 2}), lambda _: None)
    left = [row for row in run.replies if row.outcome == "ended_by_us"]
    assert 4 <= len(left) <= 6, "six leave, most of them in mid-reply"
    assert all(15 <= row.end < 20 for row in left)
    assert len(run.replies) == run.started
    assert [row.users for row in run.users if row.t in (14, 29)] == [8, 2]
    pensive = hold_levels(DEMO, People(think=10.0), (8,), seed=1, hold=30.0)
    assert pensive.started < hold_levels(DEMO, People(), (8,), seed=1, hold=30.0).started / 2

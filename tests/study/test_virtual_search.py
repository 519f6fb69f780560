"""The search on virtual servers of known capacity."""

from dataclasses import replace
from typing import Any

import pytest

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.judge import judge
from scripts.study.adapter import estimate_run
from scripts.study.truth import chat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import search

DEMO = load_profile("demo")
PLAN = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=1800.0)
LONG = People(reply=120)
"""replies of three seconds: whoever has to wait for one is not served"""


@pytest.mark.untraced
@pytest.mark.parametrize("slots", [1, 3, 6])
def test_it_finds_how_many_a_server_answers_at_once(slots: int) -> None:
    run = search(replace(DEMO, max_num_seqs=slots), LONG, chat(), PLAN, seed=slots)
    told = run.plan["search"]
    low, high = told["interval"]
    assert told["outcome"] == "precise"
    assert low <= slots <= high <= low + 2


@pytest.mark.untraced
@pytest.mark.parametrize("hold", [3.0, 30.0])
def test_the_report_counts_every_reply_that_the_search_counted(hold: float) -> None:
    plan = replace(PLAN, hold=hold, settle=min(5.0, hold), longest=400.0)
    run = search(DEMO, People(), chat(), plan, seed=40_002)
    known: Any = run.search
    counts = [[(level.users, level.visits, level.replies) for level in of.levels] for of in
              (known.latest, estimate_run(run.evidence))]  # fmt: skip
    assert counts[0] == counts[1]
    assert min(step.until - step.measured_from for step in known.steps if step.measured_from) < 10 or hold == 30


@pytest.mark.untraced
def test_a_visit_cut_short_by_the_end_of_time_is_judged_like_any_other() -> None:
    shortest = 10.0
    for longest in range(30, 48):
        run = search(DEMO, People(), chat(), replace(PLAN, longest=float(longest)), seed=7)
        levels = judge(run.evidence, chat()).levels
        shortest = min(shortest, *(level.t_end - level.t_start for level in levels))
        known: Any = run.search
        measured = [step.users for step in known.steps if step.measured_from and step.until > step.measured_from]
        assert [level.users for level in levels] == measured
    assert shortest <= 1


@pytest.mark.untraced
def test_search_and_report_agree() -> None:
    """The demo profile: an estimate with an interval within 3 minutes, and its end within 6."""
    run = search(DEMO, People(), chat(), PLAN, seed=40_001)
    told, report = run.plan["search"], estimate_run(run.evidence)
    assert report.interval is not None
    assert report.interval[0] <= told["estimate"] <= (report.interval[1] or 0) + 1
    assert 8 <= told["estimate"] <= 10
    assert run.seconds <= 8 * 60


@pytest.mark.untraced
def test_the_same_seed_searches_in_the_same_way() -> None:
    runs = [search(replace(DEMO, max_num_seqs=2), LONG, chat(), PLAN, seed=5) for _ in range(2)]
    assert runs[0].plan == runs[1].plan
    assert runs[0].replies == runs[1].replies

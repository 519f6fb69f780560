"""A search that goes on after its precision: the same steps up to there, then narrower, and an honest end."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.open_ended_search import OpenEndedSteps, open_ended
from probe_ext.sim.profile import load_profile
from probe_ext.swarm.master.run_facts import search_position
from probe_ext.swarm.master.search_finding import search_finding
from scripts.study.truth import chat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run, search

PLAN = SearchPlan(hold=20.0, settle=3.0, min_replies=3, max_users=512, longest=1800.0, precision=0.9)
SERVER, REPLIES = replace(load_profile("demo"), max_num_seqs=6), People(reply=120)


def searched(plan: SearchPlan) -> Run:
    return search(SERVER, REPLIES, chat(), plan, seed=1)


def steps_of(run: Run) -> OpenEndedSteps:
    assert isinstance(run.search, OpenEndedSteps)
    return run.search


@pytest.fixture(scope="module")
def ended() -> Run:
    return searched(PLAN)


@pytest.mark.untraced
def test_goes_on_where_the_plain_search_ends_until_its_time_is_up(ended: Run) -> None:
    on = searched(replace(open_ended(PLAN), longest=ended.seconds + 400))
    assert ended.plan["search"]["outcome"] == "precise"
    assert on.replies[: len(ended.replies) // 2] == ended.replies[: len(ended.replies) // 2]
    assert on.seconds >= ended.seconds + 400
    assert next(t for t, *interval in on.progress if interval == list(on.progress[-1][1:])) > ended.seconds
    (low, high), (lower, higher) = on.plan["search"]["interval"], ended.plan["search"]["interval"]
    assert high - low < higher - lower
    assert on.plan["search"]["outcome"] == "precise"
    assert on.plan["search"]["precision"] == PLAN.precision


@pytest.mark.untraced
def test_ended_after_its_precision_it_reached_it_and_before_it_did_not(ended: Run) -> None:
    after = searched(replace(open_ended(PLAN), longest=ended.seconds + 5))
    before = searched(replace(open_ended(PLAN), longest=ended.seconds - 5))
    assert (steps_of(after).goes_on, after.plan["search"]["outcome"]) == (True, "precise")
    assert (steps_of(before).goes_on, before.plan["search"]["outcome"]) == (False, "time")
    assert [search_finding(steps_of(run))["state"] for run in (after, before)] == ["pass", "unproven"]
    json.dumps(after.plan)


def test_stopped_by_hand_it_is_precise_unless_the_last_replies_widened_it() -> None:
    def seen(interval: tuple[int, int]) -> Any:
        return SimpleNamespace(interval=interval, estimate=9.0, bracket=(8, 11), level=lambda _users: None)

    for interval, outcome in (((8, 10), "precise"), ((2, 40), "widened")):
        steps = open_ended(replace(PLAN, precision=0.1)).begin()
        steps.latest, steps.goes_on = seen((8, 10)), True
        steps.plan = replace(steps.plan, scale=0.25)
        late: Any = seen(interval)
        monitor: Any = SimpleNamespace(estimate=lambda _now, late=late: late)
        steps.review(100.0, monitor)
        assert steps.outcome == outcome


@pytest.mark.parametrize(
    ("left", "limit", "said"),
    [
        (200.0, 3000.0, "search, about 4 more minutes"),
        (17_000.0, 3300.0, "search, at most 55 more minutes"),
        (30.0, 3300.0, "search, about 1 more minute"),
        (None, 3300.0, "search"),
        (100.0, -2.0, "search"),
    ],
)
def test_no_search_promises_more_time_than_it_has(left: float | None, limit: float, said: str) -> None:
    assert search_position(left, limit) == said


@pytest.mark.parametrize(
    ("least", "limit", "said"),
    [
        (59.0, 3000.0, "search"),
        (150.0, 3000.0, "search, at least 2 more minutes"),
        (4000.0, 3000.0, "search, at most 50 more minutes"),
    ],
)
def test_a_time_of_which_only_a_lower_limit_is_known_is_rounded_down(least: float, limit: float, said: str) -> None:
    assert search_position(None, limit, least) == said


@pytest.mark.parametrize("left", [5.0, 60.0, 61.0, 330.0])
def test_live_view_and_report_say_the_same_time(left: float, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=64, longest=1800.0).begin()
    monkeypatch.setattr(type(steps), "seconds_left", property(lambda _steps: left))
    minutes = search_position(left, steps.plan.longest).removeprefix("search, about ")
    assert search_finding(steps)["why"].endswith(f" About {minutes} would be enough.")

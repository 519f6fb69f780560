"""Comparisons of runs whose difference is known."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from probe_ext.compare.compare_set_ups import compare
from probe_ext.compare.replies import OVERALL, joined, run_replies
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.compare.values import Comparison
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.visits import criteria_of
from scripts.study.truth import chat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import hold_levels
from tests.tracing import untraced

LEVELS = (4, 8, 10, 12, 16)


@cache
@untraced
def run(seed: int, places: int = 8, reply: int = 80) -> Run:
    """A whole run on virtual time, of a server with so many places."""
    profile = replace(load_profile("demo"), max_num_seqs=places)
    evidence = hold_levels(profile, People(reply=reply), LEVELS, seed=seed, hold=25.0).evidence
    judged = judge(evidence, chat()).to_json()
    return Run(f"run {seed}", judged, evidence.manifest, chat(), run_replies(evidence, chat()))


def compared(*runs: Run, waived: tuple[str, ...] = ()) -> Comparison:
    return compare([SetUp(f"s{number}", [one]) for number, one in enumerate(runs)], waived)


def with_manifest(one: Run, **changes: Any) -> Run:
    return replace(one, manifest={**(one.manifest or {}), **changes})


def outcome(comparison: Comparison, quantity: str = "capacity", users: int | None = None) -> str:
    return next(row.outcome for row in comparison.rows if (row.quantity, row.users) == (quantity, users))


def test_equal_servers_are_not_told_apart() -> None:
    found = compared(run(1), run(2))
    assert found.winner is None
    assert {row.outcome for row in found.rows} == {"cannot_tell"}
    assert "can't be told" in found.sentence


def test_a_server_with_twice_the_places_serves_more() -> None:
    found = compared(run(1), run(3, places=16))
    assert found.winner == "s1"
    assert found.sentence.startswith("“s1” serves more people at once than “s0”")
    assert outcome(found, "served", 12) == "better"
    assert outcome(found, "throughput", 12) == "better"
    assert outcome(found, "ttft_p50", 12) == "better"
    assert outcome(found, "silence", 4) == "cannot_tell"


def test_agents_are_called_agents() -> None:
    both = [replace(one, capacity={**one.capacity, "who": "agents"}) for one in (run(1), run(2, places=16))]
    found = compared(*both)
    assert (found.who, "more agents at once" in found.sentence, "people" in found.sentence) == ("agents", True, False)
    assert compared(run(1), both[1]).who == "people"


def test_another_number_of_workers_on_the_same_machine_is_shown_but_may_differ() -> None:
    one, two = ([{"id": f"w{n}", "host": "box"} for n in range(count)] for count in (1, 2))
    found = compared(with_manifest(run(1), workers=one), with_manifest(run(3, places=16), workers=two))
    (difference,) = (aspect for aspect in found.meant if aspect.aspect == "client")
    assert difference.values == ("1 worker process", "2 worker processes")
    assert (found.must_be_equal, found.winner) == ((), "s1")


def test_any_difference_is_called_small_only_within_narrow_limits() -> None:
    for row in compared(run(1), run(2)).rows:
        low, high = (end if end is not None else math.inf for end in (row.low, row.high))
        wide = high - low > 0.1 if row.scale == "difference" else high / low > 1.1**2
        assert row.reason != "too_close" or not wide, row


def test_the_reverse_is_worse_and_names_the_other() -> None:
    found = compared(run(3, places=16), run(1))
    assert found.winner == "s0"
    assert outcome(found) == "worse"


def test_limits_and_outcome_agree_in_every_row() -> None:
    for row in compared(run(1), run(3, places=16)).rows:
        none = 1.0 if row.scale == "ratio" else 0.0
        apart = (row.low is not None and row.low > none) or (row.high is not None and row.high < none)
        assert apart == (row.outcome in {"better", "worse"}) or row.reason == "server_changed", row


def test_capacity_is_that_of_the_report() -> None:
    (first, _) = compared(run(1), run(2)).set_ups
    report = run(1).capacity
    assert [first.served_users, list(first.interval or ())] == [report["served_users"], report["interval"]]
    replies = run(1).replies
    assert replies is not None
    again = estimate(replies.visits[OVERALL], criteria_of(chat()))
    assert (again.served_users, again.bracket) == (report["served_users"], tuple(report["bracket"]))


def test_longer_replies_name_no_winner_unless_they_are_meant() -> None:
    found = compared(run(1), run(4, reply=100))
    assert [one.aspect for one in found.must_be_equal] == ["output_lengths"]
    assert found.winner is None
    assert {row.outcome for row in found.rows} == {"no_verdict"}
    allowed = compared(run(1), run(4, reply=100), waived=("output_lengths",))
    assert not allowed.must_be_equal
    assert "output_lengths" in {one.aspect for one in allowed.meant}


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"plan": {"levels": [4, 8, 10, 12]}}, "levels"),
        ({"locustfile": "own.py"}, "workload"),
        ({"options": {"max_tokens": 64}}, "workload"),
        ({"options": {"think_time": 30.0}}, "workload"),
        ({"prompts": {"input_tokens": 400, "shared_prefix_tokens": 0}}, "prompts"),
        ({"warm_up": {"most": 8}}, "cache"),
        ({"workers": [{"id": "w", "host": "another"}]}, "client"),
    ],
)
def test_what_must_be_equal_and_differs_is_named(changes: dict[str, Any], aspect: str) -> None:
    found = compared(run(1), with_manifest(run(3, places=16), **changes))
    assert [one.aspect for one in found.must_be_equal] == [aspect]
    assert found.sentence.startswith("No winner is named")
    assert found.winner is None


def test_another_profile_names_no_winner() -> None:
    other = run(3, places=16)
    stricter = {**other.capacity["profile"], "silence": {"served": 1.0, "strained": 5.0}}
    found = compared(run(1), replace(other, capacity={**other.capacity, "profile": stricter}))
    assert [one.aspect for one in found.must_be_equal] == ["slo"]


def test_an_invalid_run_names_no_winner_even_if_it_were_meant() -> None:
    bad = {"check": "accounting", "state": "fail", "invalidates": True, "why": "Rows are missing."}
    capacity = {**run(3, places=16).capacity, "verdict": "invalid", "findings": [bad]}
    found = compared(run(1), replace(run(3, places=16), capacity=capacity), waived=("validity",))
    assert found.winner is None
    assert "Rows are missing" in found.sentence


def test_answers_from_a_cache_name_no_winner() -> None:
    capacity = run(3, places=16).capacity
    altered = {**capacity, "diagnosis": {**capacity["diagnosis"], "bounds": ["response_cache"]}}
    found = compared(run(1), replace(run(3, places=16), capacity=altered))
    assert [one.aspect for one in found.must_be_equal] == ["altered_replies"]


def test_a_server_that_changed_during_its_run_is_not_told() -> None:
    drifting = replace(run(3, places=16), capacity={**run(3, places=16).capacity, "drift": (8,)})
    found = compared(run(1), drifting)
    assert outcome(found) == "cannot_tell"
    assert "seemed to change during its run; measure again" in found.sentence
    (capacity,) = (row for row in found.rows if row.quantity == "capacity")
    assert capacity.minutes_more == pytest.approx(sum(one.minutes or 0.0 for one in found.set_ups))
    unlike = compared(run(1), replace(run(2), capacity=drifting.capacity))
    assert "a server changed during its run" in unlike.sentence


@pytest.mark.untraced
def test_of_many_runs_one_that_seems_to_change_does_not_spoil_the_others() -> None:
    drifting = replace(run(1), capacity={**run(1).capacity, "drift": (8,)})
    larger = SetUp("b", [run(3, places=16), run(5, places=16)])
    assert outcome(compare([SetUp("a", [drifting, run(2)]), larger])) == "cannot_tell"
    assert outcome(compare([SetUp("a", [drifting, run(2), run(6)]), larger])) == "better"


def test_what_is_meant_to_differ_is_read_from_the_server() -> None:
    server = {**(run(2).manifest or {})["server"][0], "version": "9.9", "cache": {"num_gpu_blocks": 5}}
    found = compared(run(1), with_manifest(run(2), server=[server], target={"host": "http://b", "model": "m2"}))
    assert {"host", "model", "version", "server_setting"} <= {one.aspect for one in found.meant}
    assert not found.must_be_equal


def test_repeated_runs_pool_and_their_spread_counts() -> None:
    a, b = SetUp("a", [run(1), run(2)]), SetUp("b", [run(3, places=16), run(5, places=16)])
    found = compare([a, b])
    assert found.between_runs
    assert found.winner == "b"
    first = joined([one.replies for one in a.runs if one.replies])
    assert len(first.visits[OVERALL]) == sum(len(one.replies.visits[OVERALL]) for one in a.runs if one.replies)
    people = [set(visit.user.tolist()) for visit in first.visits[OVERALL]]
    assert not people[0] & people[-1]
    assert not compared(run(1), run(2)).between_runs


def test_runs_of_two_servers_are_no_repetitions() -> None:
    (server,) = (run(2).manifest or {})["server"]
    other = with_manifest(run(2), server=[{**server, "version": "9.9"}])
    found = compare([SetUp("a", [run(1), other]), SetUp("b", [run(3, places=16)])])
    assert [one.aspect for one in found.must_be_equal] == ["runs"]


def test_three_set_ups_share_the_error_and_name_a_winner_only_against_all() -> None:
    found = compared(run(1), run(3, places=16), run(2))
    assert found.winner is None
    assert [row.outcome for row in found.rows if row.quantity == "capacity"] == ["better", "cannot_tell"]
    best_first = compared(run(3, places=16), run(1), run(2))
    assert best_first.winner == "s0"


def test_where_only_capacity_json_is_left_it_says_what_was_not_checked() -> None:
    left = [replace(one, manifest=None, profile=None, replies=None) for one in (run(1), run(3, places=16))]
    found = compared(*left)
    assert {row.quantity for row in found.rows} == {"capacity", "served"}
    assert outcome(found) == "better"
    assert "client machine" in found.not_checked
    assert compared(left[0], run(3, places=16)).winner == "s1"


def test_cost_is_compared_where_prices_are_known() -> None:
    cheap, dear = (replace(run(seed), price_per_hour=price) for seed, price in ((1, 1.0), (2, 4.0)))
    found = compared(cheap, dear)
    assert outcome(found, "cost_per_million_tokens", 8) == "worse"
    assert outcome(found, "cost_per_user_hour") == "worse"
    row = next(row for row in found.rows if row.quantity == "cost_per_user_hour")
    assert row.value / row.baseline == pytest.approx(4 * cheap.capacity["served_users"] / dear.capacity["served_users"])


def test_time_is_announced_where_more_of_it_would_tell() -> None:
    rows = [row for row in compared(run(1), run(2)).rows if row.minutes_more is not None]
    assert rows
    assert all(row.minutes_more and row.minutes_more >= 1 and row.outcome == "cannot_tell" for row in rows)


def of_kinds(one: Run, served: int, interval: tuple[int, int]) -> Run:
    """The run of a workload with kinds of user, whose report says this."""
    kinds = [{"name": name, "source": "workload"} for name in ("chat", "review")]
    says = {"served_users": served, "interval": list(interval), "bracket": [interval[0], interval[1] + 1]}
    return replace(one, capacity={**one.capacity, "kinds": kinds, **says})


def test_of_several_kinds_capacity_is_that_of_the_reports_of_all_runs() -> None:
    once = SetUp("a", [of_kinds(run(1), 8, (7, 9))])
    twice = SetUp("b", [of_kinds(run(2), 12, (10, 13)), of_kinds(run(3), 9, (9, 11))])
    found = compare([once, twice])
    (capacity,) = (row for row in found.rows if row.quantity == "capacity")
    assert (capacity.outcome, capacity.reason) == ("cannot_tell", "too_few")
    assert (found.set_ups[1].served_users, found.set_ups[1].interval) == (9, (9, 13))
    apart = compare([once, SetUp("b", [of_kinds(run(2), 12, (10, 13))])])
    assert outcome(apart) == "better"

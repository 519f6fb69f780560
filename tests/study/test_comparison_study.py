"""The study of comparisons: pairs of known difference, and what its page says of them."""

from typing import Any

import pytest

from scripts.comparisons.__main__ import make_row
from scripts.comparisons.comparison_study_page import figures, page
from scripts.comparisons.pairs import Pair, pairs


def row(outcome: str = "cannot_tell", wrong: str = "", **more: Any) -> dict[str, Any]:
    usual = {"outcome": outcome, "wrong": wrong, "refused": False, "others_wrong": [], "minutes": 10.0}
    return {**usual, "ten_percent": None, **more}


def named(name: str) -> Pair:
    return next(pair for pair in pairs() if pair.name == name)


def test_every_kind_of_pair_has_a_name_of_its_own() -> None:
    names = [pair.name for pair in pairs()]
    assert len(set(names)) == len(names)
    assert {"steep, 0 %", "medium, 25 %", "clustered, 100 %", "output length only"} <= set(names)


@pytest.mark.parametrize(("name", "outcome"), [("steep, 100 %", "better"), ("steep, 0 %", "cannot_tell")])
def test_a_pair_of_stated_servers_comes_out_as_it_should(name: str, outcome: str) -> None:
    made = make_row((name, 0))
    assert (made["outcome"], made["wrong"]) == (outcome, "")
    assert make_row((name, 0)) == made


def test_wrong_calls_are_counted_each_way_and_marked_beyond_chance() -> None:
    rows = [row("better", "better")] * 30 + [row()] * 70
    found = figures("p", rows)
    assert (found["wrongly_better"], found["wrongly_worse"], found["told_at_once"]) == (30, 0, 30)
    assert "**30.0 %" in page([found])
    assert "**" not in page([figures("p", [row("better", "better"), *[row()] * 99])]).partition("| pair |")[2]


def test_what_is_told_within_the_time_announced_counts_with_its_minutes() -> None:
    found = figures(
        "p", [row("better"), row(then="better", then_minutes=30.0), row(then="cannot_tell", then_minutes=40.0)]
    )
    assert (found["told_at_once"], found["told_in_time"], found["announced"]) == (1, 2, 2)
    assert found["minutes_median"] == 20.0


def test_promises_told_are_counted_where_promises_differ() -> None:
    rows = [row("worse", differing_told=True), row(differing_told=False)]
    assert figures("p", rows)["promises_told"] == 1
    assert figures("p", [*rows, row(differing_told=None)])["promises_told"] is None


def test_a_drift_over_four_runs_in_turns_is_no_difference() -> None:
    pair = named("drift only, in turns A B B A")
    assert (pair.repeats, pair.more, pair.equal_people) == (2, False, True)
    assert make_row((pair.name, 0))["outcome"] == "cannot_tell"

"""The study's own arithmetic, and that it can be made again; the page that lies in the repository is what it says."""

import itertools

import pytest
from scripts.study.coverage import Answer, holds, one_run, row

from scripts.study import coverage, effort
from scripts.study.page import wilson
from scripts.study.servers import cases

TRUTH = {
    "held": {"users": 9, "state": "held", "served": 0.97},
    "failed": {"users": 10, "state": "failed", "served": 0.8},
}


def test_what_a_row_counts() -> None:
    answers = [
        Answer(8, (8, 9), again=True),
        Answer(8, (6, 8), again=True),  # too low
        Answer(10, (10, None), again=False),  # too high
        Answer(None, None, again=True),
    ]
    told = row(cases()[1], 30.0, TRUTH, answers)
    assert cases()[1].sweep == (4, 7, 8, 9, 10, 11)
    assert (told["runs"], told["answered"], told["covered"], told["above"], told["below"]) == (4, 3, 1, 1, 1)
    assert (told["exact"], told["too_many"], told["pairs"], told["overlap"]) == (0, 1, 1, 1)
    assert told["width"] == pytest.approx((2 + 3 + 2) / 3)
    assert (told["lower_later"], told["upper_sooner"]) == (1, 0), (
        "(9, 9) and (7, 8), (8, 8) and (6, 7), (11, –) and (10, 10)"
    )


@pytest.mark.parametrize(
    ("interval", "inside"), [((8, 9), True), ((9, 9), True), ((9, None), True), ((10, None), False), ((1, 8), False)]
)
def test_whether_an_interval_holds_a_number(interval: coverage.Interval, inside: bool) -> None:
    assert holds(interval, 9) is inside


def test_a_run_can_be_made_again_and_judged_again() -> None:
    first, second = (one_run(0, 77, 10.0, True) for _ in range(2))
    assert first == second
    assert first.again


def test_sweeps_reach_beyond_the_truth() -> None:
    assert effort.doubling(9) == (1, 2, 4, 8, 16)
    assert effort.fine(3) == (1, 2, 3, 4, 5)
    levels = effort.fine(40)
    assert sum(users > 40 for users in levels) == 2
    assert all(b - a <= max(1, a // 10) for a, b in itertools.pairwise(levels))


def test_wilsons_range() -> None:
    low, high = wilson(190, 200)
    assert (low, high) == (pytest.approx(0.9104, abs=1e-3), pytest.approx(0.9726, abs=1e-3))
    assert wilson(200, 200)[1] == pytest.approx(1.0)

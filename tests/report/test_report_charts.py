"""Charts by level are in order of users, in whatever order a search visited them."""

from typing import Any

import pytest

from probe_ext.report.charts.level_chart import Marks, Span, levels
from probe_ext.report.charts.sparklines import Figure, sparkline
from probe_ext.verdict.values.formats import seconds


def level(users: int, wait: float) -> dict[str, Any]:
    kinds = {"users_served": users, "users_strained": 0, "users_broken": 0, "users_undecided": 0, "users_unheard": 0}
    return {"users": users, "users_low": users, "users_high": users, "first_word_p95": wait, **kinds}


SEARCHED = [level(1, 0.1), level(2, 0.2), level(4, 3.0), level(3, 0.4), level(4, 2.0)]


def test_bars_are_in_order_of_users_with_the_answer_between_them() -> None:
    picture = levels(SEARCHED, Marks(capacity=3, interval=(2, 3)))
    assert [point.partition(" ")[0] for point in picture.plot.points] == ["1", "2", "3", "4", "4"]
    assert picture.capacity_x == pytest.approx(60)
    assert picture.interval == Span(pytest.approx(30), pytest.approx(50), False, "95 %")


def test_a_repeated_level_is_in_the_middle_of_its_bars() -> None:
    picture = levels(SEARCHED, Marks(capacity=3, interval=(3, 4)))
    assert picture.interval == Span(pytest.approx(50), pytest.approx(80), False, "95 %")


def test_sparklines_are_in_order_of_users() -> None:
    plot = sparkline(SEARCHED, Figure("wait", "first_word_p95", seconds, str), None)
    assert plot is not None
    assert [point.partition(" ")[0] for point in plot.points] == ["1", "2", "3", "4", "4"]

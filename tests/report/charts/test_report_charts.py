"""Charts by level are in order of users, in whatever order a search visited them."""

from typing import Any

import pytest

from probe_ext.report.charts import svg
from probe_ext.report.charts.level_chart import Marks, Span, levels
from probe_ext.report.charts.sparklines import Figure, sparkline
from probe_ext.verdict.phrasing.formats import seconds


def level(users: int, wait: float) -> dict[str, Any]:
    judged = {"served_share": 0.9, "served_share_fit": 0.9, "broken_share": 0.0, "state": "held"}
    counted = {"replies_judged": 100, "outcomes": {"complete": 100}}
    counted |= {"replies_served": 90, "replies_strained": 10, "replies_broken": 0}
    return {"users": users, "users_low": users, "users_high": users, "first_word_p95": wait, **judged, **counted}


SEARCHED = [level(1, 0.1), level(2, 0.2), level(4, 3.0), level(3, 0.4), level(4, 2.0)]


def test_one_bar_for_each_number_of_users_with_the_answer_between_them() -> None:
    picture = levels(SEARCHED, 0.9, Marks(users=3, text="about 3", interval=(2, 3)))
    assert [point.split(":")[0] for point in picture.plot.points] == [
        "1 user",
        "2 users",
        "3 users",
        "4 users, 2 visits together",
    ]
    assert picture.users == [1, 2, 3, 4]
    assert "4 (2×)" in [label.text for label in picture.plot.labels]
    assert picture.mark_x == pytest.approx(62.5)
    assert picture.interval == Span(pytest.approx(37.5), pytest.approx(62.5), False)


def test_the_interval_reaches_the_edge_where_it_is_open_and_is_never_invisible() -> None:
    assert levels(SEARCHED, 0.9, Marks(interval=(3, None))).interval == Span(pytest.approx(62.5), 100, True)
    narrow = levels(SEARCHED, 0.9, Marks(interval=(3, 3))).interval
    assert narrow is not None
    assert narrow.width > 1
    assert narrow.start < 62.5 < narrow.end
    assert levels(SEARCHED, 0.9, Marks(interval=(0, 1))).interval == Span(0, pytest.approx(12.5), False)


def test_a_percentage_in_a_bar_says_what_it_is_of() -> None:
    bad = {**level(8, 9.0), "served_share": 0.0, "state": "failed"}
    labels = levels([level(1, 0.1), bad], 0.9, Marks()).plot.labels
    inside = [label.text for label in labels if label.kind.startswith("inb")]
    assert inside == ["90 %", "served", "10 %", "100 %", "strained"], "the small part has no room for a word"
    many = levels([level(users, 0.1) for users in range(1, 8)], 0.9, Marks()).plot.labels
    assert not any(label.text == "served" for label in many)


def test_a_percentage_takes_ten_finished_replies() -> None:
    """Of nine replies, seven were open: those two that were served are no 100 %."""
    of_two = {"replies_served": 2, "replies_strained": 0}
    early = {**level(8, 0.1), "served_share": 1.0, "state": "unproven", **of_two}
    picture = levels([level(4, 0.1), early], 0.9, Marks())
    inside = [label.text for label in picture.plot.labels if label.kind.startswith("inb")]
    assert inside == ["90 %", "served", "10 %", "2 of 2", "served"]
    assert picture.bars[-1].parts[0][4] == "8 users: 2 of 2 finished replies served"
    assert picture.plot.points[-1] == "8 users: 2 of 2 served (unproven)"
    more = levels([early, {**early, "replies_served": 7, "replies_strained": 1}], 0.9, Marks())
    assert more.plot.points == ["8 users, 2 visits together: 100 % served (unproven)"], "ten of both visits"


def test_a_level_without_a_judged_reply_has_no_bar() -> None:
    unknown = dict.fromkeys(("served_share", "served_share_fit", "broken_share"))
    silent = {**level(8, 0.1), **unknown, "state": "unproven"}
    picture = levels([*SEARCHED, silent], 0.9, Marks())
    assert picture.bars[-1].parts == []
    assert picture.plot.points[-1] == "8 users: no judged reply (unproven)"


def test_a_percentile_of_too_few_replies_is_not_drawn() -> None:
    few = {**level(8, 9.0), "replies_judged": 19}
    plot = sparkline([*SEARCHED, few], Figure("wait", "first_word_p95", seconds, str), None, {})
    assert plot is not None
    assert plot.points[-1] == "8 users: – (p95 needs 20 replies with text, there are 19)"
    assert "8 users" not in plot.description


def test_sparklines_are_in_order_of_users() -> None:
    plot = sparkline(SEARCHED, Figure("wait", "first_word_p95", seconds, str), None, {})
    assert plot is not None
    assert [point.partition(" ")[0] for point in plot.points] == ["1", "2", "3", "4"]


def test_visits_to_one_number_of_users_stand_above_each_other() -> None:
    """The line goes through their median, once, and does not run to and fro between them."""
    visits = [level(1, 1.0), *(level(4, wait) for wait in (8.0, 2.0, 4.0)), level(8, 6.0)]
    plot = sparkline(visits, Figure("wait", "first_word_p95", seconds, str), None, {})
    assert plot is not None
    line, *points = plot.shapes
    places = [tuple(map(float, place.split())) for place in line.d.removeprefix("M").split("L")]
    assert [x for x, _ in places] == pytest.approx([svg.WIDTH / 6, svg.WIDTH / 2, 5 * svg.WIDTH / 6], abs=0.01)
    dots = [float(dot.partition("h")[0].split()[1]) for dot in points[1].d.split("M")[1:]]
    assert len(dots) == 3
    assert places[1][1] == sorted(dots)[1]
    assert plot.points[1] == "4 users: 8.0 s, 2.0 s, 4.0 s in 3 visits"

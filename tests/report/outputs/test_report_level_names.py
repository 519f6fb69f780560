"""Levels by rising users, in whatever order they were held."""

import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from report_views import viewed

from probe_ext.measure.rate import Rate
from probe_ext.report import report_command
from probe_ext.report.outputs import terminal
from probe_ext.report.sections.level_table import figures_table, results_table
from probe_ext.report.wording.level_names import (
    by_number,
    by_users,
    in_time,
    label,
    merged_visits,
    order_note,
    users_label,
)

HELD = (1, 2, 4, 2, 3, 2)


def level(users: int, high: int | None = None) -> dict[str, int]:
    return {"users": users, "users_low": users, "users_high": high or users}


def test_order_and_names_of_repeated_levels() -> None:
    levels = [level(n) for n in HELD]
    assert [label(one) for one in by_users(levels)] == ["1", "2 (1st)", "2 (2nd)", "2 (3rd)", "3", "4"]
    assert by_users(by_users(levels)) == by_users(levels)
    assert [label(one) for one in in_time(levels)] == ["1", "2 (1st)", "4", "2 (2nd)", "3", "2 (3rd)"]
    assert order_note(levels) == "In order of time: 1, 2 (1st), 4, 2 (2nd), 3, 2 (3rd) users."
    assert order_note([level(1), level(2), level(2)]) == ""
    assert label(level(1200, 1300)) == "1,200–1,300"
    pooled = [merged_visits(visits) for visits in by_number(levels)]
    assert [label(one) for one in pooled] == ["1", "2 (3 visits)", "3", "4"]
    assert [users_label(one) for one in pooled][:2] == ["1 user", "2 users (3 visits)"]
    assert users_label({**level(2), "visit": 2, "visits": 3}) == "2 users (2nd visit)"
    assert users_label(level(6, 8)) == "6–8 users"


def test_a_rate_of_one_is_in_the_singular() -> None:
    one, two = (level(Rate.of(number)) for number in (1.0, 2.0))
    assert [users_label(rate) for rate in (one, two)] == ["1 request/s", "2 requests/s"]


def test_visits_of_a_long_search_have_their_ordinals() -> None:
    names = [label(one) for one in by_users([level(8)] * 23)]
    assert names[3::7] == ["8 (4th)", "8 (11th)", "8 (18th)"]
    assert names[-4:] == ["8 (20th)", "8 (21st)", "8 (22nd)", "8 (23rd)"]
    assert names[11:13] == ["8 (12th)", "8 (13th)"]


def test_what_all_visits_together_count() -> None:
    """Of an open stream: 100 s at 2 requests/s and 50 s at 5 are 3 requests/s."""
    visit = {**level(2), "t_start": 0.0, "replies_judged": 7, "replies_open": 1, "unsent": 0, "delayed": 3}
    visits = [{**visit, "t_end": 100.0, "sent_rate": 2.0}, {**visit, "t_end": 50.0, "sent_rate": 5.0}]
    both = merged_visits(visits)
    assert (both["replies_judged"], both["replies_open"], both["delayed"], both["unsent"]) == (14, 2, 6, 0)
    assert both["sent_rate"] == pytest.approx(3.0)


@pytest.fixture
def to_and_fro(whole_run: Path, tmp_path: Path) -> Path:
    """Return a run whose third level has two users again."""
    run = Path(shutil.copytree(whole_run, tmp_path / "run"))
    users = pd.read_csv(run / "users.csv")
    users.loc[users["users"] == 4, ["users", "target"]] = 2
    users.loc[users.index[users["t"] == 80.0], ["users", "target"]] = 3
    users.to_csv(run / "users.csv", index=False)
    return run


def test_every_output_uses_this_order(to_and_fro: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["1", "2 (1st)", "2 (2nd)", "8"]
    page = viewed(to_and_fro)
    assert [row.head for row in page.results.rows] == ["1", "2 (2 visits)", "8"]
    assert [row.head for row in page.figures.rows] == names
    assert page.facts[2].startswith("3 levels in 4 visits, ")
    assert page.by_reply
    assert [row[0] for row in page.by_reply.rows] == names
    assert page.distributions
    assert [row.head for row in page.distributions.shown[0].rows] == names
    assert [re.split(" users?[:,]", point)[0] for point in page.stack.plot.points] == ["1", "2", "8"]
    assert "2 (2×)" in [label.text for label in page.stack.plot.labels]
    assert page.cards[1].plot
    read = [point.partition(":")[0] for point in page.cards[1].plot.points]
    assert read == ["1 user", "2 users", "8 users"]
    assert page.cards[1].plot.points[1].endswith(" in 2 visits")
    assert page.axis
    assert [stretch.name for stretch in page.axis.stretches] == names
    built = report_command.build(to_and_fro)
    terminal.show(built.judgement.to_json(), built.gate, built.page, sys.stdout)
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()[1:6]]
    rows = [names[0], "2 (2 visits)", *names[1:]]
    assert [line.startswith(name) for line, name in zip(shown, rows, strict=True)] == [True] * 5
    ends = [line.rpartition("  ")[2] for line in shown]
    assert [end in {"holds", "fails", "unproven"} for end in ends] == [True, True, False, False, True]
    cases = [case.get("name") for case in ET.parse(to_and_fro / "junit.xml").getroot().iter("testcase")]
    assert cases == ["the run is valid", "1 user", "2 users", "8 users"]


def test_a_row_is_one_visit_or_all_of_them(to_and_fro: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No row has the share of all visits beside the figures of one, on which it does not rest."""
    built = report_command.build(to_and_fro)
    content = built.judgement.to_json()
    first, second = (level for level in content["levels"] if level["users"] == 2)
    first |= {"slo_attainment": 0.5, "replies_judged": 10, "replies_broken": 1, "replies_open": 2}
    second |= {"slo_attainment": 1.0, "replies_judged": 30, "replies_broken": 0, "replies_open": 0}
    for level in (first, second):
        level["served_share"] = 0.875
    terminal.show(content, None, built.page, sys.stdout)
    cells = {line.split("  ")[0]: line.split() for line in map(str.strip, capsys.readouterr().out.splitlines()[1:6])}
    assert cells["2 (2 visits)"][3:5] == ["88", "%"]
    assert cells["2 (2 visits)"][-2:] == ["40", cells["2 (2 visits)"][-1]], "no figure of a single visit"
    assert cells["2 (1st)"][2:7] == ["50", "%", "10", "%", "10"]
    assert cells["2 (2nd)"][2:7] == ["100", "%", "0", "%", "30"]
    results, figures = results_table(content["levels"]), figures_table(content["levels"], "")
    judged = {row.head: row.cells[6] for row in results.rows}["2 (2 visits)"]
    assert (judged.text, judged.why) == ("40", "2 of them open, counted as served")
    assert [row.cells[0].text for row in figures.rows][1:3] == ["50 %", "100 %"]

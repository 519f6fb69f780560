"""Levels by rising users, in whatever order they were held."""

import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from report_views import viewed

from probe_ext.report import report_command
from probe_ext.report.outputs import terminal
from probe_ext.report.wording.level_names import by_users, in_time, label, order_note

HELD = (1, 2, 4, 2, 3, 2)


def level(users: int, high: int | None = None) -> dict[str, int]:
    return {"users": users, "users_low": users, "users_high": high or users}


def test_order_and_names_of_repeated_levels() -> None:
    levels = [level(n) for n in HELD]
    assert [label(one) for one in by_users(levels)] == ["1", "2", "2 (2nd)", "2 (3rd)", "3", "4"]
    assert by_users(by_users(levels)) == by_users(levels)
    assert [label(one) for one in in_time(levels)] == ["1", "2", "4", "2 (2nd)", "3", "2 (3rd)"]
    assert order_note(levels) == "In order of time: 1, 2, 4, 2 (2nd), 3, 2 (3rd) users."
    assert order_note([level(1), level(2), level(2)]) == ""
    assert label(level(1200, 1300)) == "1,200–1,300"


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
    names = ["1", "2", "2 (2nd)", "8"]
    page = viewed(to_and_fro)
    assert [row.head for row in page.results.rows] == [row.head for row in page.figures.rows] == names
    assert page.by_reply
    assert [row[0] for row in page.by_reply.rows] == names
    assert page.distributions
    assert [row.head for row in page.distributions.shown[0].rows] == names
    assert [re.split(" users?[:,]", point)[0] for point in page.stack.plot.points] == ["1", "2", "8"]
    assert "2 (2×)" in [label.text for label in page.stack.plot.labels]
    assert page.cards[1].plot
    read = [point.partition(":")[0] for point in page.cards[1].plot.points]
    assert read == ["1 user", "2 users", "2 users (2nd visit)", "8 users"]
    assert page.axis
    assert [stretch.name for stretch in page.axis.stretches] == names
    built = report_command.build(to_and_fro)
    terminal.show(built.judgement.to_json(), built.gate, built.page, sys.stdout)
    shown = [line.lstrip() for line in capsys.readouterr().out.splitlines()[1:5]]
    assert [line.startswith(name) for line, name in zip(shown, names, strict=True)] == [True] * 4
    cases = [case.get("name") for case in ET.parse(to_and_fro / "junit.xml").getroot().iter("testcase")]
    assert cases == ["the run is valid", "1 user", "2 users", "8 users"]

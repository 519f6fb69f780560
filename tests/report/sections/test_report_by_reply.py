"""SLO attainment, goodput and fluidity index on the page, under their own names."""

from pathlib import Path

import synthetic_run
from report_views import viewed

from probe_ext.report.sections.by_reply import by_reply


def test_the_table(whole_run: Path) -> None:
    table = viewed(whole_run).by_reply
    assert table is not None
    assert [row[0] for row in table.rows] == [str(users) for users in synthetic_run.LEVELS]
    assert table.rows[0][1] == "100 %"
    assert table.notes[0].startswith("Highest goodput with 90 % of replies served, DistServe's goal: ")
    assert table.notes[0].endswith("at 4 users.")
    html = (whole_run / "capacity.html").read_text(encoding="utf-8")
    assert "fluidity index" in html


def test_without_deadlines_the_reason_is_stated(whole_run: Path) -> None:
    table = viewed(whole_run).by_reply
    assert table is not None
    assert {row[3] for row in table.rows} == {"–"}
    assert "is recorded during the run" in table.notes[1]


def test_formats_and_no_table_without_levels() -> None:
    level = {"users": 4, "users_low": 4, "users_high": 4, "slo_attainment": 0.5, "goodput_rps": 1.25}
    level |= {"fluidity_index": 0.91234, "fluid_share": 0.75}
    level |= {"replies_served": 5, "replies_strained": 5, "replies_broken": 0}
    table = by_reply({"levels": [level], "goodput": None, "load": "users"})
    assert table is not None
    assert table.rows == [["4", "50 %", "1.2", "0.912", "75 %"]]
    goal = "90 % of the replies served, DistServe's goal, and at least 10 finished"
    assert table.notes == [f"At no number of users were {goal}, so no goodput is named for the run."]
    assert by_reply({"levels": [], "goodput": None}) is None

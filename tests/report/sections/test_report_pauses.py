"""Silent pauses on the page, in the short texts and in their own file."""

import csv
import shutil
from pathlib import Path

import pytest
import synthetic_run
from report_views import viewed

from probe_ext.report import report_command
from probe_ext.report.sections import pauses


def held() -> list[float]:
    return [hold for _, hold in synthetic_run.replies() if hold]


def test_every_pause_is_in_its_file(whole_run: Path) -> None:
    with (whole_run / "pauses.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == pauses.CSV_COLUMNS
    assert len(rows) == len(held())
    assert all(float(row["end"]) - float(row["start"]) >= synthetic_run.PAUSE - 1e-6 for row in rows)
    assert {row["users"] for row in rows} == {"8"}
    assert {row["kv_usage"] for row in rows} == {"1.0"}
    assert {row["resumed"] for row in rows} == {"1"}


def test_the_page_compares_overlap_with_chance(whole_run: Path) -> None:
    section = viewed(whole_run).silence
    assert section is not None
    assert section.sentence.startswith(f"{len(held())} silent pauses of 2 s or more. ")
    assert [one.what.split()[0] for one in section.compared] == ["overlap", "end", "start"]
    assert len(section.rows) == min(pauses.MAX_ROWS, len(held()))
    assert all(len(row) == len(section.heads) for row in section.rows)
    html = (whole_run / "capacity.html").read_text(encoding="utf-8")
    assert "Overlap is not proof of a cause." in html
    assert section.sentence in (whole_run / "summary.md").read_text(encoding="utf-8")


def test_without_metrics_nothing_is_compared(run: Path) -> None:
    (run / "server.csv").unlink()
    section = viewed(run).silence
    assert section is not None
    assert section.compared == []
    assert "is not known" in section.sentence
    assert {tuple(row[4:]) for row in section.rows} == {("–", "–", "–", "–")}


def test_without_pauses_there_is_no_section_and_no_sentence(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "calm"))
    header = (copy / "gaps.csv").read_text(encoding="utf-8").splitlines()[0]
    for path in copy.glob("gaps*.csv"):
        path.write_text(header + "\n", encoding="utf-8")
    assert viewed(copy).silence is None
    report_command.build(copy)
    assert "of 2 s or more" not in (copy / "summary.md").read_text(encoding="utf-8")
    assert (copy / "pauses.csv").read_text(encoding="utf-8").splitlines() == [",".join(pauses.CSV_COLUMNS)]
    lane = next(lane for lane in (viewed(copy).axis or pytest.fail("no axis")).lanes if lane.term == "silent")
    assert lane.plot is None
    assert lane.why_empty == "no reply paused for 2 s or more"


def test_the_lane_counts_replies_that_are_silent_at_once(whole_run: Path) -> None:
    axis = viewed(whole_run).axis
    assert axis is not None
    (series,) = next(lane for lane in axis.lanes if lane.term == "silent").series
    assert 1 <= max(series.v) <= 8
    assert series.v[0] == series.v[-1] == 0

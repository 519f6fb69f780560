"""What a server said is text in the tables, and writing follows no link."""

import csv
import gc
import json
import os
from pathlib import Path

import pytest

from probe_ext.cli import main
from probe_ext.measure.table_rows import GapRow, ServerRow
from probe_ext.run import manifest, worker_files
from probe_ext.run.tables import TableWriter


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_is_written_as_text(tmp_path: Path, text: str) -> None:
    table = TableWriter(tmp_path / "server.csv", ServerRow)
    table.append([ServerRow(-1.5, "http://s", text, "running", -2.0)])
    table.close()
    with (tmp_path / "server.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["engine"] == f"'{text}".replace("\t", " ").replace("\r", " ")
    assert (row["t"], row["value"]) == ("-1.5", "-2.0")  # numbers stay numbers


@pytest.mark.parametrize("make", [lambda path, to: path.symlink_to(to), lambda path, _: os.mkfifo(path)])
def test_a_table_is_never_written_through_a_link_or_pipe(tmp_path: Path, make: object) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    make(tmp_path / "gaps.csv", precious)  # type: ignore[operator]
    with pytest.raises(OSError):  # noqa: PT011 - ELOOP or ENXIO
        TableWriter(tmp_path / "gaps.csv", GapRow)
    assert precious.read_text() == "mine"


def test_replacing_a_file_removes_a_link_of_its_temporary_name(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "run.json.new").symlink_to(precious)
    manifest.write(tmp_path, {"schema": 2})
    assert precious.read_text() == "mine"
    assert json.loads((tmp_path / "run.json").read_text()) == {"schema": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    worker = {"id": "w1", "clock_offset": 0.0, "clock_line": [], "started": 0}
    manifest.write(made, {"schema": 2, "run_id": "r1", "workers": [worker]})
    worker_files.write_label(tmp_path, "w1", "r1")
    table = TableWriter(tmp_path / "gaps-w1.csv", GapRow)
    table.append([GapRow("w1:1", 1.0, 2.0, 3)])
    table.close()
    return made


def merged(run: Path) -> int:
    return main(["merge", str(run), str(run.parent / "gaps-w1.csv")])


def test_a_merge_follows_no_link(run: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (run / "gaps.csv.new").symlink_to(precious)
    assert merged(run) == 0
    assert precious.read_text() == "mine"
    assert "w1:1" in (run / "gaps.csv").read_text()


@pytest.mark.parametrize("what", ["fifo", "huge field", "nested label", "damaged worker", "nested manifest", "device"])
def test_what_cannot_be_merged_is_one_line(run: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = run.parent / "gaps-w1.csv"
    match what:
        case "fifo":
            table.unlink()
            os.mkfifo(table)
        case "device":
            (run / "requests.csv").symlink_to("/dev/zero")
        case "huge field":
            table.write_text(table.read_text() + "w1:2,1.0," + '"' + "9" * 50_000_000 + '",3\n')
        case "nested label":
            (run.parent / "worker-w1.json").write_text("[" * 5000 + "]" * 5000)
        case "damaged worker":
            content = json.loads((run / "run.json").read_text())
            content["workers"][0]["started"] = {"a": [1]}
            (run / "run.json").write_text(json.dumps(content))
        case "nested manifest":
            (run / "run.json").write_text("[" * 100_000)
    before = (run / "run.json").read_text()
    gc.collect()
    gc.disable()  # what it ends in the depth of a nested text would fail there, and say so on stderr
    try:
        assert merged(run) == 2
    finally:
        gc.enable()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) < 600
    assert (run / "run.json").read_text() == before

"""Loading damaged run directories: what can be read is read, the rest is reported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_run

from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.inputs import frames
from probe_ext.run.manifest import ManifestError
from probe_ext.run.tables import TableWriter
from probe_ext.verdict.evidence.evidence import LocustCounts


def line_of(path: Path, number: int) -> bytes:
    return path.read_bytes().split(b"\n")[number - 1]


def put_line(path: Path, number: int, line: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines))


def test_a_complete_run_has_no_damage_and_no_duplicates(run: Path) -> None:
    evidence = frames.load(run)
    made = list(synthetic_run.replies())
    assert evidence.damage == ()
    assert sorted(evidence.replies["reply_id"]) == sorted(row.reply_id for row, _ in made)
    assert len(evidence.gaps["start"]) == sum(hold > 0 for _, hold in made)
    assert evidence.locust is not None
    assert evidence.locust.requests == sum(row.outcome == "complete" for row, _ in made)


def test_values_come_back_as_written(run: Path) -> None:
    replies = frames.load(run).replies
    row, _ = next(iter(synthetic_run.replies()))
    at = list(replies["reply_id"]).index(row.reply_id)
    assert replies["first"][at] == pytest.approx(row.first)
    assert replies["streamed"].dtype == bool
    assert bool(replies["streamed"][at]) is True
    assert replies["tpot"].dtype == np.float64
    assert np.isnan(replies["tls"][at])
    assert replies["message"][at] == ""
    assert replies["outcome"][at] == "complete"


def test_text_that_looks_missing_stays_text(run: Path) -> None:
    row = replace(synthetic_run.reply(9999, 0, 1.0, 1), message="NA", finish_reason="null", user="nan")
    writer = TableWriter(run / "requests.csv", ReplyRow)
    writer.append([row])
    writer.close()
    replies = frames.load(run).replies
    at = list(replies["reply_id"]).index(row.reply_id)
    assert (replies["message"][at], replies["finish_reason"][at], replies["user"][at]) == ("NA", "null", "nan")


def test_windows_of_all_workers_are_merged(run: Path) -> None:
    windows = frames.load(run).windows
    tokens = sum(w.count or 0 for w in windows if w.metric == "tokens")
    finished = [row for row, _ in synthetic_run.replies() if row.outcome == "complete"]
    assert tokens == len(finished) * synthetic_run.TOKENS
    ttfts = sum(w.sketch.count for w in windows if w.metric == "ttft" and w.sketch)
    assert ttfts == len(finished)
    assert len({(w.metric, w.start) for w in windows}) == len(windows)


def test_rows_that_only_a_worker_has_are_taken_from_it(run: Path) -> None:
    before = frames.load(run)
    lines = (run / "requests.csv").read_bytes().splitlines(keepends=True)
    (run / "requests.csv").write_bytes(b"".join(lines[:-20]))
    after = frames.load(run)
    assert sorted(after.replies["reply_id"]) == sorted(before.replies["reply_id"])


def test_a_cut_off_last_line_is_ignored_and_reported(run: Path) -> None:
    path = run / "users.csv"
    path.write_bytes(path.read_bytes() + b"999.5,8")
    evidence = frames.load(run)
    assert evidence.users["t"].max() < 999
    assert evidence.damage == ("users.csv: line 163: cut off (no line end), ignored",)


def test_cut_off_master_row_is_found_in_the_workers_table(run: Path) -> None:
    path = run / "requests.csv"
    path.write_bytes(path.read_bytes()[:-30])
    evidence = frames.load(run)
    assert len(evidence.replies["end"]) == len(list(synthetic_run.replies()))
    assert len(evidence.damage) == 1
    assert "cut off" in evidence.damage[0]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"1.0,eight,8,running", 7),
        (b"1.0,8", 7),
        (b"1.0,8,8,running,more,and,more", 7),
        (b",8,8,running", 7),
        (b"", 7),
    ],
)
def test_a_bad_line_is_ignored_and_reported(run: Path, line: bytes, number: int) -> None:
    path = run / "users.csv"
    whole = len(frames.load(run).users["t"])
    put_line(path, number, line)
    evidence = frames.load(run)
    assert evidence.damage == (f"users.csv: line {number}: not valid rows of this table, ignored",)
    assert len(evidence.users["t"]) == whole - 1


def test_an_unclosed_quote_costs_only_its_line(run: Path) -> None:
    path = run / "users.csv"
    whole = len(frames.load(run).users["t"])
    put_line(path, 100, b'99.0,"8,8,running')
    evidence = frames.load(run)
    assert evidence.damage == ("users.csv: line 100: not valid rows of this table, ignored",)
    assert len(evidence.users["t"]) == whole - 1


def test_line_numbers_include_skipped_lines(run: Path) -> None:
    path = run / "users.csv"
    put_line(path, 5, b"1,2,3,4,5,6,7")
    put_line(path, 9, b"1,x,3,running")
    damage = frames.load(run).damage
    assert damage == ("users.csv: lines 5, 9: not valid rows of this table, ignored",)


def test_invalid_utf8_is_replaced_and_reported(run: Path) -> None:
    path = run / "server.csv"
    put_line(path, 3, line_of(path, 3).replace(b"all", b"a\xff\xfe"))
    evidence = frames.load(run)
    assert evidence.damage == ("server.csv: line 3: not UTF-8; invalid characters are replaced by \ufffd",)
    assert "a\ufffd\ufffd" in set(evidence.server["engine"])


@pytest.mark.parametrize(
    "name", ["requests.csv", "gaps.csv", "users.csv", "server.csv", "sketches.jsonl", "locust_stats.csv"]
)
def test_a_missing_file_is_reported(run: Path, name: str) -> None:
    (run / name).unlink()
    damage = frames.load(run).damage
    if name in {"requests.csv", "gaps.csv"}:  # the workers' own tables stand in
        assert damage == ()
    else:
        assert damage == (f"{name}: missing",)


def test_run_without_replies_is_read_with_all_columns(run: Path) -> None:
    for path in run.iterdir():
        if path.name != "run.json":
            path.unlink()
    evidence = frames.load(run)
    assert len(evidence.replies["end"]) == 0
    assert evidence.replies["streamed"].dtype == bool
    assert evidence.locust is None
    assert len(evidence.damage) == 6


def test_an_empty_file_is_reported(run: Path) -> None:
    (run / "server.csv").write_bytes(b"")
    assert frames.load(run).damage == ("server.csv: no complete line, not even a header",)


def test_a_header_alone_is_not_damage(run: Path) -> None:
    (run / "server.csv").write_bytes(line_of(run / "server.csv", 1) + b"\n")
    evidence = frames.load(run)
    assert evidence.damage == ()
    assert len(evidence.server["t"]) == 0


def test_a_file_with_an_invalid_header_is_ignored(run: Path) -> None:
    put_line(run / "server.csv", 1, b"time,where,engine,quantity,value")
    evidence = frames.load(run)
    assert evidence.damage == ("server.csv: line 1: invalid header (t, url missing); file ignored",)
    assert len(evidence.server["t"]) == 0


def test_a_missing_column_is_missing_and_not_zero(run: Path) -> None:
    put_line(run / "users.csv", 1, b"t,users,goal,state")
    evidence = frames.load(run)
    assert evidence.damage == ("users.csv: line 1: target missing; treated as not measured",)
    assert np.isnan(evidence.users["target"]).all()


def test_bad_sketch_lines_are_reported(run: Path) -> None:
    path = run / "sketches.jsonl"
    put_line(path, 2, b"not json")
    put_line(path, 4, b'{"worker": "w1", "metric": "gap", "start": 0, "seconds": 5, "sketch": {"accuracy": 0.5}}')
    path.write_bytes(path.read_bytes() + b'{"worker": "w1", "met')
    damage = frames.load(run).damage
    assert [line.split(":")[1] for line in damage] == [" line 4", " lines 2, 4"] or len(damage) == 2
    assert any("lines 2, 4" in line for line in damage)
    assert any("cut off" in line for line in damage)


def test_locust_statistics_without_a_total_are_reported(run: Path) -> None:
    (run / "locust_stats.csv").write_text("Type,Name,Request Count,Failure Count\n", encoding="utf-8")
    evidence = frames.load(run)
    assert evidence.locust is None
    assert evidence.damage[0].startswith("locust_stats.csv: no Aggregated row")


def test_users_of_other_kinds_beside_ours_are_not_counted(run: Path) -> None:
    ours = "Type,Name,Request Count,Failure Count\nLLM,chat,7,1\nLLM,turn,3,0\n"
    (run / "locust_stats.csv").write_text(f"{ours}GET,/health,500,20\nTTFT,chat,7,0\n,Aggregated,510,21\n")
    assert frames.load(run).locust == LocustCounts(10, 1)


@pytest.mark.parametrize("text", ["", "{", '{"schema": 99}', "[]"])
def test_an_unreadable_manifest_is_an_error(run: Path, text: str) -> None:
    (run / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"run\.json"):
        frames.load(run)

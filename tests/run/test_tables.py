"""Tables contain complete lines only; rows that a full disk rejects are written later."""

import csv
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow, columns
from probe_ext.run import tables
from probe_ext.run.tables import TableWriter


def gap(n: int) -> GapRow:
    return GapRow(f"w:{n}", float(n), n + 0.5, n)


def read(path: Path) -> list[dict[str, str]]:
    """Return all rows of a file that must end with a complete line."""
    text = path.read_bytes().decode()
    assert text == "" or text.endswith("\n")
    return list(csv.DictReader(text.splitlines()))


class Disk:
    """Replaces `os.write`: accepts `room` bytes, `each` per call, then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, each: int = 10**9) -> None:
        self.room, self.each = room, each
        self._write: Callable[[int, bytes], int] = os.write
        monkeypatch.setattr(tables.os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._write(descriptor, bytes(data[: min(self.room, self.each)]))
        self.room -= taken
        return taken


def test_appends_rows_after_the_header(tmp_path: Path) -> None:
    table = TableWriter(tmp_path / "gaps.csv", GapRow)
    table.append([gap(1), gap(2)])
    table.append([])
    table.append(gap(n) for n in (3, 4))
    table.close()
    lines = (tmp_path / "gaps.csv").read_text().splitlines()
    assert lines[0] == "reply_id,start,end,tokens_before,tokens_together"
    assert [row["reply_id"] for row in read(tmp_path / "gaps.csv")] == ["w:1", "w:2", "w:3", "w:4"]


def test_every_append_is_written_at_once(tmp_path: Path) -> None:
    table = TableWriter(tmp_path / "gaps.csv", GapRow)
    for n in range(1, 5):
        table.append([gap(n)])
        assert len(read(tmp_path / "gaps.csv")) == n
    table.close()


def test_a_reopened_table_continues_without_a_second_header(tmp_path: Path) -> None:
    for n in (1, 2):
        table = TableWriter(tmp_path / "gaps.csv", GapRow)
        table.append([gap(n)])
        table.close()
    assert [row["reply_id"] for row in read(tmp_path / "gaps.csv")] == ["w:1", "w:2"]


@pytest.mark.parametrize("row_type", [ReplyRow, GapRow, UserRow, ServerRow])
def test_an_empty_table_is_its_header(tmp_path: Path, row_type: type[GapRow]) -> None:
    TableWriter(tmp_path / "t.csv", row_type).close()
    assert (tmp_path / "t.csv").read_text() == ",".join(columns(row_type)) + "\n"


def test_none_is_an_empty_field_and_times_keep_nanoseconds(tmp_path: Path) -> None:
    blank: dict[str, object] = {f.name: None for f in fields(ReplyRow)}
    row = ReplyRow(**(blank | {"reply_id": "w:1", "streamed": True, "late": 0.0, "due": 12.3456789, "events": 0}))  # type: ignore[arg-type]
    table = TableWriter(tmp_path / "requests.csv", ReplyRow)
    table.append([row])
    table.close()
    (written,) = read(tmp_path / "requests.csv")
    assert (written["sent"], written["tokens_out"], written["message"]) == ("", "", "")
    assert (written["late"], written["events"], written["streamed"]) == ("0.0", "0", "1")
    assert float(written["due"]) == 12.3456789


def test_commas_quotes_and_unusual_characters_survive(tmp_path: Path) -> None:
    text = 'a "quoted", b; é € \U0001f600 \udc80'
    table = TableWriter(tmp_path / "server.csv", ServerRow)
    table.append([ServerRow(1.0, text, "all", "x", 2.5)])
    table.close()
    (written,) = read(tmp_path / "server.csv")
    assert written["url"] == text.replace("\udc80", " ")


@pytest.mark.parametrize("room", [0, 1, 5, 7, 8, 13, 14, 15, 27, 28, 29, 41, 42, 54, 55])
def test_a_partly_written_batch_is_undone_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    table = TableWriter(tmp_path / "gaps.csv", GapRow)
    table.append([gap(1)])
    before = (tmp_path / "gaps.csv").read_bytes()
    disk = Disk(monkeypatch, room, each=7)
    for n in (2, 6):
        disk.room = room
        with pytest.raises(OSError, match="No space left"):
            table.append([gap(n), gap(n + 1), gap(n + 2), gap(n + 3)])
        assert (tmp_path / "gaps.csv").read_bytes() == before
    assert table.unwritten == 8
    disk.room = 10**9
    table.append([gap(10)])
    assert table.unwritten == 0
    table.close()
    assert [row["reply_id"] for row in read(tmp_path / "gaps.csv")] == [f"w:{n}" for n in range(1, 11)]


def test_the_header_is_written_first_once_there_is_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, 0)
    table = TableWriter(tmp_path / "gaps.csv", GapRow)
    with pytest.raises(OSError, match="No space left"):
        table.append([gap(1)])
    disk.room = 10**9
    table.append([gap(2)])
    table.close()
    assert [row["reply_id"] for row in read(tmp_path / "gaps.csv")] == ["w:1", "w:2"]


def test_close_writes_pending_rows_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, 0)
    one, two = (TableWriter(tmp_path / name, GapRow) for name in ("one.csv", "two.csv"))
    for table in (one, two):
        with pytest.raises(OSError, match="No space left"):
            table.append([gap(1)])
    with pytest.raises(OSError, match="No space left"):
        two.close()
    disk.room = 10**9
    one.close()
    assert len(read(tmp_path / "one.csv")) == 1
    assert read(tmp_path / "two.csv") == []


ON_A_SMALL_DISK = """
import resource, signal, sys
from pathlib import Path
from probe_ext.measure.table_rows import GapRow
from probe_ext.run.tables import TableWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
table = TableWriter(Path(sys.argv[1]), GapRow)
table.append([GapRow("w:0", 0.0, 1.0, 0)])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
failed = 0
for n in range(1, 20):
    try:
        table.append([GapRow(f"w:{n}", float(n), n + 0.5, n)])
    except OSError:
        failed += 1
print(failed, Path(sys.argv[1]).read_bytes().endswith(b"\\n"), table.unwritten, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
table.append([])
table.close()
"""


def test_a_real_file_size_limit_leaves_complete_lines_and_loses_no_row(tmp_path: Path) -> None:
    assert signal.SIGXFSZ
    assert resource.RLIMIT_FSIZE is not None
    path = tmp_path / "gaps.csv"
    done = subprocess.run(
        [sys.executable, "-c", ON_A_SMALL_DISK, str(path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    failed, complete, pending = done.stdout.split()
    assert int(failed) > 10
    assert complete == "True"
    assert int(pending) == int(failed)
    assert [row["reply_id"] for row in read(path)] == [f"w:{n}" for n in range(20)]


def test_fails_at_once_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        TableWriter(tmp_path / "nowhere" / "gaps.csv", GapRow)
    with pytest.raises(OSError, match="directory"):
        TableWriter(tmp_path, GapRow)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200)), min_size=1, max_size=8))
def test_every_row_is_written_once_and_in_order_however_often_the_disk_fills(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "gaps.csv"
    number = 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch, 10**9, each=11)
        table = TableWriter(path, GapRow)
        for count, room in batches:
            disk.room = room
            rows = [gap(number + k) for k in range(count)]
            number += count
            try:
                table.append(rows)
            except OSError as error:
                failed = error.errno
            else:
                failed = None
            assert failed in {None, errno.ENOSPC}
            read(path)
        disk.room = 10**9
        table.close()
    assert [row["reply_id"] for row in read(path)] == [f"w:{n}" for n in range(number)]


def test_a_full_disk_costs_one_attempt_per_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first pending batch is tried: the cost must not grow while a disk stays full."""
    table = TableWriter(tmp_path / "gaps.csv", GapRow)
    table.append([])
    attempts: list[int] = []

    def fail(_: int, data: memoryview) -> int:
        attempts.append(len(data))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("probe_ext.run.tables.os.write", fail)
        for n in range(200):
            with pytest.raises(OSError, match="No space left"):
                table.append([gap(n)])
        assert attempts == [attempts[0]] * 200
        assert table.unwritten == 200
        assert table.pending_bytes > 200 * 10
    table.close()
    assert len(read(tmp_path / "gaps.csv")) == 200

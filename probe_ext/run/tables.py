"""Append to the CSV tables of a run directory.

A table's header is its contract: the columns of one row type, in order. Only whole lines are left in the file: a killed
run cuts off at most the last, and what a full disk refused is taken back and tried again with the next rows.
"""

import csv
import io
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow, columns, values_of
from probe_ext.run.manifest import replace_text

R = TypeVar("R", ReplyRow, GapRow, UserRow, ServerRow)


class TableWriter(Generic[R]):
    """Appends rows of one type to one file. OSError when the file cannot be made."""

    def __init__(self, path: Path, row_type: type[R]) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._waiting: deque[bytes] = deque([] if self._size else [_lines([columns(row_type)])])

    def append(self, rows: Iterable[R]) -> None:
        """Write rows and whatever could not be written before.

        OSError (disk full, read-only) when that fails: the rows are kept in memory, and go with the next call.
        """
        if new := _lines([_text(value) for value in values_of(row)] for row in rows):
            self._waiting.append(new)
        while self._waiting:
            self._write(self._waiting[0])
            self._waiting.popleft()

    def _write(self, lines: bytes) -> None:
        """All of them, or none."""
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise
        self._size += len(lines)

    @property
    def unwritten(self) -> int:
        """Lines that wait in memory for the disk to take them."""
        return sum(lines.count(b"\n") for lines in self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """How much memory that takes."""
        return sum(len(lines) for lines in self._waiting)

    def close(self) -> None:
        """Reach the disk, then close. OSError when the disk says no."""
        try:
            self.append([])
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def write_whole(path: Path, row_type: type[R], rows: Iterable[R]) -> None:
    """Put a table in place at once, for a reader that sees the old or the new one. OSError when it fails."""
    lines = _lines([columns(row_type), *([_text(value) for value in values_of(row)] for row in rows)])
    replace_text(path, lines.decode())


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return repr(round(value, 9))
    return str(value)

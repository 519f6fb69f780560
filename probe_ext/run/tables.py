"""Append to the CSV tables of a run directory.

A table's header is its contract: the columns of one row type, in order. Whole lines are written and handed to the
operating system, so that a killed run leaves at most one line cut off, the last.
"""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Generic, TypeVar

from probe_ext.measure.rows import GapRow, ReplyRow, ServerRow, UserRow, columns

R = TypeVar("R", ReplyRow, GapRow, UserRow, ServerRow)


class TableWriter(Generic[R]):
    """Appends rows of one type to one file.

    OSError (disk full, read-only) is raised by `append`; what had been written before stays readable.
    """

    def __init__(self, path: Path, row_type: type[R]) -> None:
        self.path = path
        fresh = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="utf-8", newline="")
        if fresh:
            self._write([columns(row_type)])

    def append(self, rows: Iterable[R]) -> None:
        """Write rows as whole lines, and hand them to the operating system."""
        self._write([_text(value) for value in astuple(row)] for row in rows)

    def _write(self, lines: Iterable[Iterable[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        if text.getvalue():
            self._file.write(text.getvalue())
            self._file.flush()

    def close(self) -> None:
        """Reach the disk, then close."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return repr(round(value, 9))
    return str(value)

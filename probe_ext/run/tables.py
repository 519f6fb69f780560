"""Append to the CSV tables of a run directory.

A table has the columns of one row type, in order. Only complete lines stay in the file: a killed run truncates at most
the last one, and a write that fails on a full disk is undone and retried with the next rows.
"""

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from probe_ext.measure.safe_text import printable
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, ServerRow, UserRow, columns, values_of
from probe_ext.run.manifest import replace_text

_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""A spreadsheet would run such a text from a server as a formula; after an apostrophe it is shown."""
_CACHED_TEXTS = 1000
_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e6
"""between these, a float rounded to 9 places has at most 15 digits, and `repr` writes no exponent"""
R = TypeVar("R", ReplyRow, GapRow, UserRow, ServerRow, GpuRow)


class TableWriter(Generic[R]):
    """Appends rows of one type to a file. OSError if the file cannot be opened."""

    def __init__(self, path: Path, row_type: type[R]) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        self._size = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._pending: deque[bytes] = deque([] if self._size else [_lines([columns(row_type)])])

    def append(self, rows: Iterable[R]) -> None:
        """Write these rows after all pending ones.

        OSError (disk full, read-only) if that fails: the rows stay in memory for the next call.
        """
        self.append_values(map(values_of, rows))

    def append_values(self, rows: Iterable[Sequence[object]]) -> None:
        """Write rows that are given by their values in order; otherwise like `append`."""
        columns_of_text = [_text_column(column) for column in zip(*rows, strict=True)]
        if columns_of_text:
            self._pending.append(_lines(zip(*columns_of_text, strict=True)))
        while self._pending:
            self._write(self._pending[0])
            self._pending.popleft()

    def _write(self, lines: bytes) -> None:
        """Write all of the lines or none."""
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
        """Lines in memory that could not be written yet."""
        return sum(lines.count(b"\n") for lines in self._pending)

    @property
    def pending_bytes(self) -> int:
        """Size of the unwritten lines in bytes."""
        return sum(len(lines) for lines in self._pending)

    def close(self) -> None:
        """Write pending rows, sync to disk and close. OSError if that fails."""
        try:
            self.append([])
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


def replace_table(path: Path, row_type: type[R], rows: Iterable[R]) -> None:
    """Replace a table atomically. OSError if that fails."""
    lines = _lines([columns(row_type), *(_texts(values_of(row)) for row in rows)])
    replace_text(path, lines.decode())


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _text_column(values: Sequence[Any]) -> Sequence[object]:
    """Return the values of a column as what `csv` writes right: most columns have one type, which is asked once."""
    types = set(map(type, values))
    if types <= _WRITTEN_AS_THEY_ARE:
        return values
    if types == {float}:
        return list(map(_float_text, values))
    return _texts(values)


def _float_text(value: float) -> str:
    """Return `repr(round(value, 9))`, for most values in a third of the time."""
    if not _PLAIN_FROM <= value < _PLAIN_BELOW:
        return repr(round(value, 9))
    text = f"{value:.9f}".rstrip("0")
    return f"{text}0" if text[-1] == "." else text


def _texts(values: Iterable[object]) -> list[str]:
    return [(_TEXT_OF.get(type(value)) or _text_of_other)(value) for value in values]


def _text_of_other(value: object) -> str:
    """Return the text of a value whose type is derived from one of `_TEXT_OF`."""
    if isinstance(value, float):
        return repr(round(float(value), 9))
    return str(value) if isinstance(value, int) else plain_text(str(value))


def plain_text(text: str) -> str:
    """Return a text that is safe in a CSV file: without control characters, and no formula."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_STARTS) else text


_TEXT_OF: dict[type, Callable[[Any], str]] = {
    float: _float_text,
    type(None): lambda _: "",
    bool: lambda value: "1" if value else "0",
    int: str,
    str: lru_cache(_CACHED_TEXTS)(plain_text),  # a column of texts has few different ones
}
"""by exact type, which is several times faster than asking which type a value is derived from"""
_WRITTEN_AS_THEY_ARE = frozenset({int, type(None)})

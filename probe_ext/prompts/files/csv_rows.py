"""Rows of a CSV file: its separator, its column of prompts, and each row's bytes."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import NoReturn

from probe_ext.measure.safe_text import safe_text
from probe_ext.prompts.files.source import MAX_PROMPT_BYTES, Record, RecordError, Source, decode

DEFAULT_COLUMN = "prompt"
_SEPARATORS = ",;\t"
_MAX_SHOWN_COLUMNS = 12
_TOO_LONG = f"the row is longer than {MAX_PROMPT_BYTES // 2**20} MiB; is a quotation mark never closed?"


class CsvRows:
    """A CSV file with a header line: separated by commas, semicolons or tabs, whichever makes the column appear."""

    def __init__(self, source: Source, column: str | None) -> None:
        """PromptFileError if the header has no such column."""
        csv.field_size_limit(MAX_PROMPT_BYTES)
        self._source = source
        self._wanted = column or DEFAULT_COLUMN
        self._offset, self._line = source.start, 1
        self._first_line = 1
        """of the row that is being read"""
        headers = self._headers()
        self._separator, header = next(
            ((sign, names) for sign, names in headers.items() if self._wanted in names), (",", [])
        )
        if not header:
            self._refuse_header(max(headers.values(), key=len))
        self._column, self._columns = header.index(self._wanted), len(header)

    def _headers(self) -> dict[str, list[str]]:
        """Return the column names that each separator makes of the first line."""
        line = self._next_line()
        while line is not None and not line.strip():
            line = self._next_line()
        return {sign: self._names(line or "", sign) for sign in _SEPARATORS}

    def _names(self, line: str, separator: str) -> list[str]:
        try:
            return [name.strip() for name in next(self._reader([line], separator), [])]
        except csv.Error:  # quoted for another separator
            return []

    def _refuse_header(self, names: list[str]) -> NoReturn:
        shown = ", ".join(safe_text(name, length=40) or "(empty)" for name in names[:_MAX_SHOWN_COLUMNS])
        more = ", …" if len(names) > _MAX_SHOWN_COLUMNS else ""
        raise self._source.error(
            f"has no column {safe_text(self._wanted)!r} in its first line; its columns are {shown or 'empty'}{more}; "
            "name the column of prompts with `field`"
        )

    def records(self) -> Iterator[Record]:
        """Yield the rows after the header."""
        seen = bytearray()
        start = self._offset

        def lines() -> Iterator[str]:
            while (line := self._next_line(seen)) is not None:
                yield line

        rows = self._reader(lines(), self._separator)
        while True:
            self._first_line = self._line
            try:
                row = next(rows, None)
            except RecordError as error:
                raise self._source.error(str(error), f":{self._line}") from error
            except csv.Error as error:
                raise self._source.error(_reason(error), f":{self._first_line}") from error
            if row is None:
                return
            yield Record(start, self._first_line, bytes(seen))
            seen.clear()
            start = self._offset

    def cell(self, data: bytes) -> str | None:
        """Return the prompt of a row; None for an empty row. RecordError if it has too few or too many columns."""
        try:
            row = next(self._reader(io.StringIO(decode(data), newline="\n"), self._separator), [])
        except csv.Error as error:
            raise RecordError(_reason(error)) from error
        if not row:
            return None
        if len(row) != self._columns:
            raise RecordError(f"has {len(row)} columns, the first line has {self._columns}")
        return row[self._column]

    def _next_line(self, seen: bytearray | None = None) -> str | None:
        line = self._source.line(self._line)
        if not line:
            return None
        if seen is not None:
            seen += line
            if len(seen) > MAX_PROMPT_BYTES:
                raise self._source.error(_TOO_LONG, f":{self._first_line}")
        try:
            text = decode(line)
        except RecordError as error:
            raise self._source.error(str(error), f":{self._line}") from error
        self._offset, self._line = self._offset + len(line), self._line + 1
        return text

    @staticmethod
    def _reader(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
        return iter(csv.reader(lines, delimiter=separator, strict=True))


def _reason(error: csv.Error) -> str:
    reason = str(error)
    if "unexpected end" in reason:
        return "a quotation mark in this row is never closed"
    return f"is not valid CSV: {reason}"

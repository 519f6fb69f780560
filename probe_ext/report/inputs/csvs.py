"""Read one CSV table of the run directory into a frame, even if it is damaged.

pandas parses it in pieces, about three seconds for a million replies. It infers numbers by itself: where a piece of a
numeric column turns out to be text, some line in it is bad, and only there each value is checked.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import pandas as pd

from probe_ext.measure.safe_text import printable
from probe_ext.measure.table_rows import OPTIONAL_COLUMNS, GpuRow, Row, ServerRow, columns
from probe_ext.report.inputs.line_scan import Scan, WholeLines, numbered, scan

Floats = npt.NDArray[np.float64]
Quoting = Literal[0, 3]
"""csv.QUOTE_MINIMAL or csv.QUOTE_NONE."""
_SURPLUS = " surplus"
"""Column after the last: filled by lines with one field too many (pandas skips lines with more)."""
_LINES_PER_PIECE = 100_000
_MAX_NUMBER = 1e15
_KEYS = {"ReplyRow": ("reply_id", "outcome", "end"), "GapRow": ("reply_id", "start", "end"), "UserRow": ("t", "users")}
_KEYS["ServerRow"] = _KEYS["GpuRow"] = ("t", "quantity", "value")
_UNIQUE_TEXT = "reply_id"
"""Parsed as plain text; other text columns repeat their values and are parsed as categories."""


@dataclass(frozen=True)
class Columns:
    """The columns of a row type, by kind."""

    text: tuple[str, ...]
    flags: tuple[str, ...]
    numbers: tuple[str, ...]
    counts: tuple[str, ...]
    """those of the numbers that are integers, and never negative"""
    keys: tuple[str, ...]
    """required: a line without them is useless"""


def kinds(row_type: type[Row]) -> Columns:
    """Return the columns of a row type, by kind."""
    return _KINDS[row_type.__name__]


def _by_kind(row_type: type[Row]) -> Columns:
    hints = get_type_hints(row_type)

    def named(kind: type) -> tuple[str, ...]:
        return tuple(f.name for f in fields(row_type) if kind in (get_args(hints[f.name]) or (hints[f.name],)))

    return Columns(named(str), named(bool), named(int) + named(float), named(int), _KEYS[row_type.__name__])


_KINDS = {row_type.__name__: _by_kind(row_type) for row_type in get_args(Row)}


def read(path: Path, row_type: type[Row], damage: list[str]) -> pd.DataFrame:
    """Return the table with all columns of its row type; each thing that could not be read adds a line to `damage`."""
    try:
        scanned = scan(path)
    except OSError as error:
        damage.append(f"{path.name}: cannot be read: {error.strerror or error}")
        return empty(row_type)
    if not usable(path, scanned, row_type, damage):
        return empty(row_type)
    try:
        return _read_pieces(path, scanned, row_type, damage, csv.QUOTE_MINIMAL)
    except pd.errors.ParserError:  # an unclosed quote: read each line by itself
        return _read_pieces(path, scanned, row_type, damage, csv.QUOTE_NONE)


def empty(row_type: type[Row]) -> pd.DataFrame:
    """Return a table without rows."""
    return _typed(pd.DataFrame(columns=list(columns(row_type)), dtype=object), row_type)


def usable(path: Path, scanned: Scan, row_type: type[Row], damage: list[str]) -> bool:
    """Tell whether the header can be used; report problems of header, last line and encoding in `damage`."""
    if scanned.not_utf8:
        damage.append(
            f"{path.name}: {numbered(scanned.not_utf8)}: not UTF-8; invalid characters are replaced by \ufffd"
        )
    if scanned.cut_off:
        damage.append(f"{path.name}: line {scanned.lines + 1}: cut off (no line end), ignored")
    if not scanned.lines:
        damage.append(f"{path.name}: no complete line, not even a header")
        return False
    if len(set(scanned.header)) < len(scanned.header):
        damage.append(f"{path.name}: line 1: invalid header (duplicate column); file ignored")
        return False
    missing = [name for name in columns(row_type) if name not in scanned.header]
    missing = [name for name in missing if name not in OPTIONAL_COLUMNS]
    if set(missing) & set(kinds(row_type).keys):
        damage.append(f"{path.name}: line 1: invalid header ({', '.join(missing[:4])} missing); file ignored")
        return False
    if missing:
        damage.append(f"{path.name}: line 1: {', '.join(missing)} missing; treated as not measured")
    return True


def _read_pieces(path: Path, scanned: Scan, row_type: type[Row], damage: list[str], quoting: Quoting) -> pd.DataFrame:
    """Parse piece by piece, which limits the parser's memory, and report the lines that are not valid rows."""
    kept: list[pd.DataFrame] = []
    bad: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for piece in _pieces(path, scanned, kinds(row_type).text, quoting):
            wrong = _bad_rows(piece, scanned, row_type)
            bad += list(piece.index[wrong])
            kept.append(_typed(piece[~wrong] if wrong.any() else piece, row_type))
    skipped = _skipped(caught)
    _report(path, sorted([*skipped, *_line_numbers(bad, skipped)]), damage)
    return pd.concat(kept or [empty(row_type)], ignore_index=True)


def _pieces(path: Path, scanned: Scan, text: tuple[str, ...], quoting: Quoting) -> Iterator[pd.DataFrame]:
    with io.BufferedReader(WholeLines(path, scanned.size), 1 << 20) as file:
        yield from pd.read_csv(
            file,
            header=None,
            skiprows=1,
            names=[*scanned.header, _SURPLUS],
            index_col=False,
            dtype=dict.fromkeys(text, "category") | {_UNIQUE_TEXT: object},
            keep_default_na=False,
            na_values={name: [""] for name in [*scanned.header, _SURPLUS]},
            on_bad_lines="warn",
            quoting=quoting,
            skip_blank_lines=False,
            encoding_errors="replace",
            chunksize=_LINES_PER_PIECE,
        )


def _bad_rows(frame: pd.DataFrame, scanned: Scan, row_type: type[Row]) -> npt.NDArray[np.bool_]:
    """Find lines that are too short or too long, lack a required value, or have an invalid number."""
    kind = kinds(row_type)
    wrong: npt.NDArray[np.bool_] = frame[_SURPLUS].notna().to_numpy()
    for name in (*kind.keys, _last_column(scanned, row_type)):
        wrong = wrong | frame[name].isna().to_numpy()
    for name in kind.numbers + kind.flags:
        if name in scanned.header:
            wrong = wrong | (np.isnan(_numbers(frame[name])) & frame[name].notna().to_numpy())
    for name in kind.counts:
        if name in scanned.header:
            wrong = wrong | (_numbers(frame[name]) < 0)
    if row_type in {ServerRow, GpuRow}:
        wrong = wrong | (_numbers(frame["value"]) < 0)
    return wrong


def _numbers(column: "pd.Series[Any]") -> Floats:
    """Convert to numbers; what is none, or beyond all that a run can measure, is missing."""
    numeric = column if pd.api.types.is_numeric_dtype(column) else pd.to_numeric(column, errors="coerce")
    values: Floats = numeric.to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.abs(values) <= _MAX_NUMBER, values, np.nan)


def _last_column(scanned: Scan, row_type: type[Row]) -> str:
    """Return the right-most column that is never empty: a line without it is too short."""
    never_empty = {"ReplyRow": "reads_unresolved", "GapRow": "tokens_before", "UserRow": "state"}
    name = never_empty.get(row_type.__name__, "value")
    return name if name in scanned.header else kinds(row_type).keys[-1]


def _skipped(caught: list[warnings.WarningMessage]) -> list[int]:
    """Return the lines that pandas skipped because they have too many fields."""
    return [int(n) for w in caught for n in re.findall(r"Skipping line (\d+)", str(w.message))]


def _line_numbers(index: Any, skipped: list[int]) -> list[int]:
    """Turn row indices (from 0, after the header) into line numbers (from 1), counting skipped lines."""
    lines = [int(i) + 2 for i in index]
    for gone in sorted(skipped):
        lines = [n + 1 if n >= gone else n for n in lines]
    return lines


def _report(path: Path, bad: list[int], damage: list[str]) -> None:
    if bad:
        damage.append(f"{path.name}: {numbered(bad)}: not valid rows of this table, ignored")


def _printable(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a text column without control characters; only texts that repeat are ever shown."""
    if not isinstance(column.dtype, pd.CategoricalDtype) or all(map(str.isprintable, map(str, column.cat.categories))):
        return column
    return column.astype(object).where(column.isna(), column.astype(str).map(printable))


def _typed(frame: pd.DataFrame, row_type: type[Row]) -> pd.DataFrame:
    """Convert to float64, bool, and object columns of str with "" for missing."""
    kind = kinds(row_type)
    typed: dict[str, Any] = {}
    for name in columns(row_type):
        column = frame[name] if name in frame else pd.Series(float("nan"), index=frame.index)
        if name in kind.text:
            typed[name] = _printable(column).astype(object).where(column.notna(), "").to_numpy()
        elif name in kind.flags:
            typed[name] = np.nan_to_num(_numbers(column)) != 0.0
        else:
            typed[name] = _numbers(column)
    return pd.DataFrame(typed, index=pd.RangeIndex(len(frame)))

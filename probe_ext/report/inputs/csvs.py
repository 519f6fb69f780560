"""Read one CSV table of the run directory into columns, even if it is damaged.

pandas parses it in pieces, about three seconds for a million replies. It infers numbers by itself: where a piece of a
numeric column turns out to be text, some line in it is bad, and only there each value is checked. Each piece is packed
at once, so no more than one is there in full.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
import numpy.typing as npt
import pandas as pd

from probe_ext.measure.safe_text import printable
from probe_ext.measure.table_rows import OPTIONAL_COLUMNS, GpuRow, Row, ServerRow, columns
from probe_ext.report.inputs.line_scan import Scan, WholeLines, numbered, scan
from probe_ext.report.inputs.packed_columns import IdPieces, NumberColumn, TextPieces, TwinColumn
from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.evidence.evidence import Columns as TableColumns
from probe_ext.verdict.evidence.text_columns import TextColumn

Quoting = Literal[0, 3]
"""csv.QUOTE_MINIMAL or csv.QUOTE_NONE."""
_SURPLUS = " surplus"
"""Column after the last: filled by lines with one field too many (pandas skips lines with more)."""
_LINES_PER_PIECE = 100_000
_VISIBLE = "_visible"
# Of a column for the text outside reasoning: where a model does not reason, it has the values of the one for all text.
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


def read(path: Path, row_type: type[Row], damage: list[str]) -> TableColumns:
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


def empty(row_type: type[Row]) -> TableColumns:
    """Return a table without rows."""
    return _Table(row_type, 0).columns()


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


def _read_pieces(path: Path, scanned: Scan, row_type: type[Row], damage: list[str], quoting: Quoting) -> TableColumns:
    """Parse piece by piece, which limits the parser's memory, and report the lines that are not valid rows."""
    table = _Table(row_type, scanned.lines)
    bad: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for piece in _pieces(path, scanned, kinds(row_type).text, quoting):
            numeric, wrong = _numeric(piece, scanned, row_type)
            bad += list(piece.index[wrong])
            table.add(piece, numeric, ~wrong if wrong.any() else slice(None))
    skipped = _skipped(caught)
    _report(path, sorted([*skipped, *_line_numbers(bad, skipped)]), damage)
    return table.columns()


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


def _numeric(frame: pd.DataFrame, scanned: Scan, row_type: type[Row]) -> tuple[dict[str, Floats], Bools]:
    """Convert columns of numbers and flags; tell which lines are not valid rows of the table.

    These are too short or too long, lack a required value, or have an invalid number.
    """
    kind = kinds(row_type)
    wrong: Bools = frame[_SURPLUS].notna().to_numpy()
    for name in (*kind.keys, _last_column(scanned, row_type)):
        wrong = wrong | frame[name].isna().to_numpy()
    numeric: dict[str, Floats] = {}
    for name in kind.numbers + kind.flags:
        if name in scanned.header:
            numeric[name], invalid = _numbers(frame[name])
            wrong = wrong | invalid if invalid is not None else wrong
    negative = [*kind.counts, *(["value"] if row_type in {ServerRow, GpuRow} else [])]
    for name in negative:
        if name in numeric:
            wrong = wrong | (numeric[name] < 0)
    return numeric, wrong


def _numbers(column: "pd.Series[Any]") -> tuple[Floats, Bools | None]:
    """Convert to numbers; what is none, or beyond all that a run can measure, is missing, and told; None if nothing."""
    is_numeric = pd.api.types.is_numeric_dtype(column)
    converted = column if is_numeric else pd.to_numeric(column, errors="coerce")
    values: Floats = converted.to_numpy(dtype="float64", na_value=np.nan)
    valid = np.abs(values) <= _MAX_NUMBER
    missing = np.isnan(values) if is_numeric else column.isna().to_numpy()
    invalid = ~(valid | missing)
    return (np.where(valid, values, np.nan), invalid) if invalid.any() else (values, None)


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


class _Table:
    """The columns of a table while its pieces are read."""

    def __init__(self, row_type: type[Row], rows: int) -> None:
        kind = kinds(row_type)
        self._ids = {name: IdPieces(rows) for name in kind.text if name == _UNIQUE_TEXT}
        self._texts = {name: TextPieces(rows) for name in kind.text if name != _UNIQUE_TEXT}
        twins = {name: name.removesuffix(_VISIBLE) for name in kind.numbers if name.endswith(_VISIBLE)}
        twins = {name: twin for name, twin in twins.items() if twin in kind.numbers}  # tokens_visible has none
        counts = kind.counts
        self._numbers = {name: NumberColumn(rows, counts=name in counts) for name in kind.numbers if name not in twins}
        self._visible = {
            name: TwinColumn(rows, self._numbers[twin], counts=name in counts) for name, twin in twins.items()
        }
        self._flags = {name: NumberColumn(rows) for name in kind.flags}
        self._names = columns(row_type)

    def add(self, piece: pd.DataFrame, numeric: Mapping[str, Floats], rows: Bools | slice) -> None:
        """Append these rows of a piece."""
        coded = {name: _coded(piece, name, rows) for name in self._texts}
        for name, column in self._ids.items():
            heads = TextColumn(*coded["worker"]) if "worker" in coded else None
            column.add(piece[name].to_numpy()[rows], heads)
        for name, text in self._texts.items():
            text.add(*coded[name])
        unknown = np.broadcast_to(np.nan, (len(piece),))
        for name, number in self._numbers.items():
            number.add(numeric.get(name, unknown)[rows])
        for name, visible in self._visible.items():
            twin = name.removesuffix(_VISIBLE)
            visible.add(*(numeric.get(one, unknown)[rows] for one in (name, twin)))
        for name, flag in self._flags.items():
            flag.add(np.nan_to_num(numeric.get(name, unknown)[rows]) != 0.0)

    def columns(self) -> TableColumns:
        """Return the columns: numbers with NaN and texts with "" for missing."""
        made: dict[str, Any] = {name: one.values() for name, one in self._ids.items()}
        made |= {name: one.values() for name, one in self._texts.items()}
        made |= {name: one.values() for name, one in self._numbers.items()}
        made |= {name: one.values() for name, one in self._visible.items()}
        made |= {name: one.values().astype(np.bool_, copy=False) for name, one in self._flags.items()}
        return {name: made[name] for name in self._names}


def _coded(piece: pd.DataFrame, name: str, rows: Bools | slice) -> tuple[npt.NDArray[Any], list[str]]:
    """Return a text column as codes of its names, without control characters in texts that repeat and may be shown."""
    if name not in piece:
        return np.zeros(len(piece), dtype=np.int8)[rows], [""]
    column = piece[name].cat
    names = [*(printable(str(one)) for one in column.categories), ""]
    codes = column.codes.to_numpy()[rows]
    return np.where(codes < 0, len(names) - 1, codes), names

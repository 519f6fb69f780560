"""One CSV table of the run directory into a frame, whatever state it is in.

pandas parses it in pieces, about three seconds for a million replies. Numbers are left for it to recognise: where a
piece of a column turns out to be text, some line in it is bad, and only there is each value looked at.
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

from probe_ext.measure.table_rows import OPTIONAL_COLUMNS, Row, columns
from probe_ext.report.inputs.line_scan import Scan, WholeLines, numbered, scan

Floats = npt.NDArray[np.float64]
Quoting = Literal[0, 3]
"""csv.QUOTE_MINIMAL or csv.QUOTE_NONE"""
_SURPLUS = " surplus"
"""a column behind the last: what stands in it was a field too many (several too many are skipped by pandas)"""
_PIECE = 100_000
"""lines parsed at a time"""
_KEYS = {"ReplyRow": ("reply_id", "outcome", "end"), "GapRow": ("reply_id", "start", "end"), "UserRow": ("t", "users")}
_KEYS["ServerRow"] = ("t", "quantity", "value")
_ALL_DIFFERENT = "reply_id"
"""text of which hardly two are alike: kept as text; the other text columns repeat and are kept once"""


@dataclass(frozen=True)
class Columns:
    """The columns of a row type, by what they hold."""

    text: tuple[str, ...]
    flags: tuple[str, ...]
    numbers: tuple[str, ...]
    keys: tuple[str, ...]
    """without these, a line says nothing"""


def kinds(row_type: type[Row]) -> Columns:
    """A row type's columns: text, flags and numbers."""
    return _KINDS[row_type.__name__]


def _sorted(row_type: type[Row]) -> Columns:
    hints = get_type_hints(row_type)

    def named(kind: type) -> tuple[str, ...]:
        return tuple(f.name for f in fields(row_type) if kind in (get_args(hints[f.name]) or (hints[f.name],)))

    return Columns(named(str), named(bool), named(int) + named(float), _KEYS[row_type.__name__])


_KINDS = {row_type.__name__: _sorted(row_type) for row_type in get_args(Row)}


def read(path: Path, row_type: type[Row], damage: list[str]) -> pd.DataFrame:
    """The table, with every column of its row type; what could not be read is named in `damage`, a line each."""
    try:
        seen = scan(path)
    except OSError as error:
        damage.append(f"{path.name}: cannot be read: {error.strerror or error}")
        return empty(row_type)
    if not usable(path, seen, row_type, damage):
        return empty(row_type)
    try:
        return _gathered(path, seen, row_type, damage, csv.QUOTE_MINIMAL)
    except pd.errors.ParserError:  # a quote that is never closed: then each line is taken by itself
        return _gathered(path, seen, row_type, damage, csv.QUOTE_NONE)


def empty(row_type: type[Row]) -> pd.DataFrame:
    """No rows, all columns."""
    return _finished(pd.DataFrame(columns=list(columns(row_type)), dtype=object), row_type)


def usable(path: Path, seen: Scan, row_type: type[Row], damage: list[str]) -> bool:
    """Whether there is a header to read by. Says what is wrong with header, last line and encoding."""
    if seen.not_utf8:
        damage.append(f"{path.name}: {numbered(seen.not_utf8)}: not UTF-8; the bad characters are shown as \ufffd")
    if seen.cut_off:
        damage.append(f"{path.name}: line {seen.lines + 1}: cut off (no line end), left out")
    if not seen.lines:
        damage.append(f"{path.name}: holds no whole line, not even a header")
        return False
    if len(set(seen.header)) < len(seen.header):
        damage.append(f"{path.name}: line 1: wrong header, a column stands in it twice; file left out")
        return False
    lacking = [name for name in columns(row_type) if name not in seen.header]
    if set(lacking) & set(kinds(row_type).keys):
        damage.append(f"{path.name}: line 1: wrong header, {', '.join(lacking[:4])} missing; file left out")
        return False
    lacking = [name for name in lacking if name not in OPTIONAL_COLUMNS]
    if lacking:
        damage.append(f"{path.name}: line 1: wrong header, {', '.join(lacking)} missing; treated as not measured")
    return True


def _gathered(path: Path, seen: Scan, row_type: type[Row], damage: list[str], quoting: Quoting) -> pd.DataFrame:
    """Piece by piece, so that the parser's own memory stays small; the lines that are no rows are named."""
    kept: list[pd.DataFrame] = []
    bad: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for piece in _pieces(path, seen, kinds(row_type).text, quoting):
            wrong = _no_row(piece, seen, row_type)
            bad += list(piece.index[wrong])
            kept.append(_finished(piece[~wrong] if wrong.any() else piece, row_type))
    skipped = _skipped(caught)
    _report(path, sorted([*skipped, *_line_numbers(bad, skipped)]), damage)
    return pd.concat(kept or [empty(row_type)], ignore_index=True)


def _pieces(path: Path, seen: Scan, text: tuple[str, ...], quoting: Quoting) -> Iterator[pd.DataFrame]:
    with io.BufferedReader(WholeLines(path, seen.size), 1 << 20) as file:
        yield from pd.read_csv(
            file,
            header=None,
            skiprows=1,
            names=[*seen.header, _SURPLUS],
            index_col=False,
            dtype=dict.fromkeys(text, "category") | {_ALL_DIFFERENT: object},
            keep_default_na=False,
            na_values={name: [""] for name in [*seen.header, _SURPLUS]},
            on_bad_lines="warn",
            quoting=quoting,
            skip_blank_lines=False,
            encoding_errors="replace",
            chunksize=_PIECE,
        )


def _no_row(frame: pd.DataFrame, seen: Scan, row_type: type[Row]) -> npt.NDArray[np.bool_]:
    """Lines too short, too long, without what makes them a row, or with a number that is none."""
    kind = kinds(row_type)
    wrong: npt.NDArray[np.bool_] = frame[_SURPLUS].notna().to_numpy()
    for name in (*kind.keys, _last(seen, row_type)):
        wrong = wrong | frame[name].isna().to_numpy()
    for name in kind.numbers + kind.flags:
        if name in seen.header:
            wrong = wrong | (np.isnan(_numbers(frame[name])) & frame[name].notna().to_numpy())
    return wrong


def _numbers(column: "pd.Series[Any]") -> Floats:
    """As numbers; what is none, or is endless, is missing."""
    found = column if pd.api.types.is_numeric_dtype(column) else pd.to_numeric(column, errors="coerce")
    values: Floats = found.to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _last(seen: Scan, row_type: type[Row]) -> str:
    """The right-most column that is never empty in a whole line: where it is, the line is too short."""
    never = {"ReplyRow": "reads_unresolved", "GapRow": "tokens_before", "UserRow": "state", "ServerRow": "value"}
    name = never[row_type.__name__]
    return name if name in seen.header else kinds(row_type).keys[-1]


def _skipped(caught: list[warnings.WarningMessage]) -> list[int]:
    """Lines that pandas left out for having too many fields."""
    return [int(n) for w in caught for n in re.findall(r"Skipping line (\d+)", str(w.message))]


def _line_numbers(index: Any, skipped: list[int]) -> list[int]:
    """Rows counted from 0 behind the header into lines counted from 1, around those that were skipped."""
    lines = [int(i) + 2 for i in index]
    for gone in sorted(skipped):
        lines = [n + 1 if n >= gone else n for n in lines]
    return lines


def _report(path: Path, bad: list[int], damage: list[str]) -> None:
    if bad:
        damage.append(f"{path.name}: {numbered(bad)}: no row of this table, left out")


def _finished(frame: pd.DataFrame, row_type: type[Row]) -> pd.DataFrame:
    """The promised types: float64, bool, and object columns of str with "" for missing."""
    kind = kinds(row_type)
    done: dict[str, Any] = {}
    for name in columns(row_type):
        column = frame[name] if name in frame else pd.Series(float("nan"), index=frame.index)
        if name in kind.text:
            done[name] = column.astype(object).where(column.notna(), "").to_numpy()
        elif name in kind.flags:
            done[name] = np.nan_to_num(_numbers(column)) != 0.0
        else:
            done[name] = _numbers(column)
    return pd.DataFrame(done, index=pd.RangeIndex(len(frame)))

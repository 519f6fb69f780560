"""One CSV table of the run directory into a frame, whatever state it is in.

The quick way hands the file to pandas with fixed column types: about four seconds for a million replies. Only where a
number turns out to be none is it read anew in pieces, to find and leave out the bad lines.
"""

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pandas as pd

from probe_ext.measure.rows import Row, columns
from probe_ext.report.scan import Scan, WholeLines, numbered, scan

_SURPLUS = " surplus"
"""a column behind the last: what stands in it was a field too many (several too many are skipped by pandas)"""
_PIECE = 50_000
"""lines read at a time on the slow way"""
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
    """Sort a row type's columns into text, flags and numbers."""
    hints = get_type_hints(row_type)

    def named(kind: type) -> tuple[str, ...]:
        return tuple(f.name for f in fields(row_type) if kind in (get_args(hints[f.name]) or (hints[f.name],)))

    return Columns(named(str), named(bool), named(int) + named(float), _KEYS[row_type.__name__])


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
        frame = _quick(path, seen, row_type, damage)
    except (ValueError, OverflowError):
        frame = _slow(path, seen, row_type, damage)
    return _finished(frame, row_type)


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
    if lacking:
        damage.append(f"{path.name}: line 1: wrong header, {', '.join(lacking)} missing; treated as not measured")
    return True


def _quick(path: Path, seen: Scan, row_type: type[Row], damage: list[str]) -> pd.DataFrame:
    """All lines in one go, with fixed types. ValueError when some number is none."""
    kind = kinds(row_type)
    dtypes: dict[str, Any] = dict.fromkeys(kind.numbers + kind.flags, "float64")
    dtypes |= dict.fromkeys(kind.text, "category") | {_ALL_DIFFERENT: object}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frame: pd.DataFrame = next(_pieces(path, seen, dtypes, None))
    skipped = _skipped(caught)
    short = frame.index[_no_row(frame, seen, row_type)]
    _report(path, sorted([*skipped, *_line_numbers(short, skipped)]), damage)
    return frame.drop(index=short)


def _slow(path: Path, seen: Scan, row_type: type[Row], damage: list[str]) -> pd.DataFrame:
    """Piece by piece as text; lines with a number that is none are left out and named."""
    kind = kinds(row_type)
    numeric = [name for name in kind.numbers + kind.flags if name in seen.header]
    kept: list[pd.DataFrame] = []
    bad: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for piece in _pieces(path, seen, object, _PIECE):
            numbers = piece[numeric].apply(pd.to_numeric, errors="coerce")
            wrong = (numbers.isna() & piece[numeric].notna()).any(axis=1)
            wrong |= _no_row(piece, seen, row_type)
            bad += list(piece.index[wrong])
            kept.append(piece.assign(**{n: numbers[n] for n in numeric})[~wrong])
    skipped = _skipped(caught)
    _report(path, sorted([*skipped, *_line_numbers(bad, skipped)]), damage)
    return pd.concat(kept)


def _pieces(path: Path, seen: Scan, dtypes: Any, rows: int | None) -> Iterator[pd.DataFrame]:
    with io.BufferedReader(WholeLines(path, seen.size), 1 << 20) as file:
        yield from pd.read_csv(
            file,
            header=None,
            skiprows=1,
            names=[*seen.header, _SURPLUS],
            index_col=False,
            dtype=dtypes,
            keep_default_na=False,
            na_values={name: [""] for name in [*seen.header, _SURPLUS]},
            on_bad_lines="warn",
            skip_blank_lines=False,
            encoding_errors="replace",
            chunksize=rows or seen.lines + 1,
        )


def _no_row(frame: pd.DataFrame, seen: Scan, row_type: type[Row]) -> "pd.Series[bool]":
    """Lines too short, too long, or without what makes them a row."""
    needed = [*kinds(row_type).keys, _last(seen, row_type)]
    return frame[needed].isna().any(axis=1) | frame[_SURPLUS].notna()


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
            done[name] = column.astype(object).where(column.notna(), "")
        elif name in kind.flags:
            done[name] = column.astype("float64").fillna(0.0) != 0.0
        else:
            done[name] = column.astype("float64")
    return pd.DataFrame(done).reset_index(drop=True)

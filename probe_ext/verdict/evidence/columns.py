"""Columns of the evidence, with defaults for those that are missing."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.table_rows import Row
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.text_columns import IdCoder, IdColumn, TextColumn

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.signedinteger[Any]]
"""integers that are as small as they can be"""
Bools = NDArray[np.bool_]
Name = TypeVar("Name", str, tuple[str, str])
ROWS_AT_ONCE = 1 << 18
"""where a run of ten million replies would take too much memory in one piece"""


def size(columns: Columns) -> int:
    """Return the number of rows."""
    return min((len(values) for values in columns.values()), default=0)


def select(columns: Columns, rows: Ints | Bools | slice) -> Columns:
    """Return the same columns of some rows."""
    return {name: values[rows] for name, values in columns.items()}


def in_parts(columns: Columns, test: Callable[[Columns], Bools]) -> Bools:
    """Return what a test finds row by row, applied to some of the rows at a time: its arrays would take gigabytes."""
    parts = range(0, max(1, size(columns)), ROWS_AT_ONCE)
    return np.concatenate([test(select(columns, slice(start, start + ROWS_AT_ONCE))) for start in parts])


def numbers(columns: Columns, name: str) -> Floats:
    """Return a numeric column; NaN for missing values, and throughout if the column is missing."""
    if name not in columns:
        return np.full(size(columns), np.nan)
    return np.asarray(columns[name], dtype=np.float64)


def texts(columns: Columns, name: str) -> list[str]:
    """Return a text column as a list, "" for missing values. One of many rows is better read by the functions below."""
    return list(columns[name].tolist()) if name in columns else [""] * size(columns)


def is_any(columns: Columns, name: str, wanted: Collection[str]) -> Bools:
    """Tell which rows of a text column have one of the wanted texts."""
    column = text_column(columns, name)
    found: Bools = np.array([one in wanted for one in column.names], dtype=np.bool_)[column.codes]
    return found


def text_codes(columns: Columns, name: str) -> tuple[Ints, list[str]]:
    """Return a text column as `coded` does."""
    return sorted_codes(text_column(columns, name))


def sorted_codes(column: TextColumn) -> tuple[Ints, list[str]]:
    """Return the same of a column by codes."""
    present = np.flatnonzero(np.bincount(column.codes, minlength=len(column.names)))
    names = sorted({column.names[code] for code in present.tolist()})
    place = {one: code for code, one in enumerate(names)}
    codes = np.array([place.get(one, -1) for one in column.names], dtype=np.int64)
    return codes[column.codes], names


def text_counts(columns: Columns, name: str, rows: Bools | None = None) -> Counter[str]:
    """Return how often each text occurs in a column, or in some of its rows, in order of its first row."""
    return counts_of(text_column(columns, name), rows)


def counts_of(column: TextColumn, rows: Bools | None = None) -> Counter[str]:
    """Return the same of a column by codes."""
    return _counts(column.codes if rows is None else column.codes[rows], column.names)


def texts_at(columns: Columns, name: str, rows: Ints) -> list[str]:
    """Return some rows of a text column, "" for missing values."""
    return list(columns[name][rows].tolist()) if name in columns else [""] * len(rows)


def pair_counts(columns: Columns, first: str, second: str, rows: Bools | None = None) -> Counter[tuple[str, str]]:
    """Return how often each pair of texts of two columns occurs, in order of its first row."""
    a, b = (text_column(columns, name) for name in (first, second))
    if rows is not None:
        a, b = a[rows], b[rows]
    keys, codes = np.unique(a.codes.astype(np.int64) * len(b.names) + b.codes, return_inverse=True)
    pairs = [(a.names[key // len(b.names)], b.names[key % len(b.names)]) for key in keys.tolist()]
    return _counts(codes, pairs)


def _counts(codes: NDArray[Any], names: Sequence[Name]) -> Counter[Name]:
    """Count codes by name, in order of their first row, in which `Counter.most_common` returns equal counts."""
    number = np.bincount(codes, minlength=len(names))
    first_row = np.zeros(len(names), dtype=np.int64)
    first_row[codes[::-1]] = np.arange(len(codes))[::-1]  # of several writes to one place, the last one stays
    present = np.flatnonzero(number)
    counts: Counter[Name] = Counter()
    for code in present[np.argsort(first_row[present], kind="stable")].tolist():
        counts[names[code]] += int(number[code])
    return counts


def text_column(columns: Columns, name: str) -> TextColumn:
    """Return a text column by codes, "" for missing values."""
    if name not in columns:
        return TextColumn(np.zeros(size(columns), dtype=np.int8), [""])
    return as_text_column(columns[name])


def as_text_column(values: TextColumn | Sequence[str] | NDArray[Any]) -> TextColumn:
    """Return texts by codes."""
    if isinstance(values, TextColumn):
        return values
    codes, names = coded(values.tolist() if isinstance(values, np.ndarray) else list(values))
    return TextColumn(codes, names)


def ids(columns: Columns, name: str) -> IdColumn:
    """Return a column of identifiers."""
    column = columns[name]
    if isinstance(column, IdColumn):
        return column
    coder = IdCoder()
    return coder.column(coder.keys(column.tolist()))


def known_ids(columns: Columns, known: Columns, name: str) -> Bools:
    """Tell which rows have an identifier that another table has, too."""
    these, others = ids(columns, name), ids(known, name)
    return np.isin(these.with_heads(others.heads).keys, others.keys)


def rows_of(wanted: IdColumn, known: IdColumn) -> Ints:
    """Return the row in `known`, whose identifiers are unique, of each wanted identifier; −1 where it has none."""
    if not len(known):
        return np.full(len(wanted), -1, dtype=np.int64)
    keys = wanted.with_heads(known.heads).keys
    order = np.argsort(known.keys, kind="stable")
    at = np.minimum(np.searchsorted(known.keys, keys, sorter=order), len(known) - 1)
    rows = order[at]
    return np.where(known.keys[rows] == keys, rows, -1)


def flags(columns: Columns, name: str, *, default: bool) -> Bools:
    """Return a boolean column."""
    return np.asarray(columns[name], dtype=np.bool_) if name in columns else np.full(size(columns), default)


def coded(values: list[str]) -> tuple[Ints, list[str]]:
    """Return the code of each value, and the distinct values by code: sorted, so independent of the order of rows."""
    names = sorted(set(values))
    code = {name: i for i, name in enumerate(names)}
    return np.fromiter(map(code.__getitem__, values), dtype=np.int64, count=len(values)), names


def from_rows(rows: Sequence[Row], row_type: type[Row]) -> Columns:
    """Turn rows into columns of evidence."""
    return {f.name: _column(f.type, [getattr(row, f.name) for row in rows]) for f in fields(row_type)}


def _column(kind: Any, values: list[Any]) -> NDArray[Any]:
    if kind is bool:
        return np.array(values, dtype=np.bool_)
    if kind in (str, str | None):
        column = np.empty(len(values), dtype=object)
        column[:] = ["" if value is None else value for value in values]
        return column
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

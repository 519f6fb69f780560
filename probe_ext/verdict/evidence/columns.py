"""Columns of the evidence, with defaults for those that are missing."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.table_rows import Row
from probe_ext.verdict.evidence.evidence import Columns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def size(columns: Columns) -> int:
    """Return the number of rows."""
    return min((len(values) for values in columns.values()), default=0)


def numbers(columns: Columns, name: str) -> Floats:
    """Return a numeric column; NaN for missing values, and throughout if the column is missing."""
    if name not in columns:
        return np.full(size(columns), np.nan)
    return np.asarray(columns[name], dtype=np.float64)


def texts(columns: Columns, name: str) -> list[str]:
    """Return a text column, "" for missing values."""
    return list(columns[name].tolist()) if name in columns else [""] * size(columns)


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

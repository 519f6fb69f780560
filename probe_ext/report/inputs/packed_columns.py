"""Columns that are built piece by piece in as little memory as their values need.

A column that has one value throughout, or none, takes no memory. Counts are kept as small integers, text as codes of
its distinct values. No value is rounded: reading a column gives what was added.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, ids
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.evidence.text_columns import IdCoder, IdColumn, TextColumn

_COUNT_TYPES = (np.int8, np.int16, np.int32)
_COUNT_TYPES_WITH_MISSING = (np.float16, np.float32)


class NumberColumn:
    """Numbers of `rows` rows at most, NaN where missing. `counts`: whole numbers, which take less memory."""

    def __init__(self, rows: int, *, counts: bool = False) -> None:
        self._rows, self._counts = rows, counts
        self._values: NDArray[Any] | None = None
        self._constant: Any = np.float32(np.nan)
        self._size = 0

    def add(self, values: NDArray[Any]) -> None:
        """Append values: float64, or of the type to be kept."""
        end = self._size + len(values)
        if self._values is None and _all_are(values, self._constant if self._size else values[:1]):
            self._constant = _narrow(values[:1], counts=self._counts)[0] if len(values) else self._constant
        else:
            values = _narrow(values, counts=self._counts)
            self._values = self._room_for(values.dtype)
            self._values[self._size : end] = values
        self._size = end

    def _room_for(self, kind: np.dtype[Any]) -> NDArray[Any]:
        """Return an array for all rows, with those so far, that can hold values of this type, too."""
        so_far = self.values()
        wanted = np.result_type(kind, so_far.dtype) if self._size else kind
        if self._values is not None and self._values.dtype == wanted:
            return self._values
        room = np.empty(self._rows, dtype=wanted)
        if self._size:
            room[: self._size] = so_far
        return room

    def values(self) -> NDArray[Any]:
        """Return all values, without copying them; not to be written to."""
        if self._values is None:
            return np.broadcast_to(self._constant, (self._size,))
        return self._values[: self._size]


class TwinColumn:
    """Numbers that are usually those of another column, its twin: then they are kept once."""

    def __init__(self, rows: int, twin: NumberColumn, *, counts: bool = False) -> None:
        self._rows, self._twin, self._counts = rows, twin, counts
        self._own: NumberColumn | None = None
        self._size = 0

    def add(self, values: NDArray[Any], of_twin: NDArray[Any]) -> None:
        """Append values; `of_twin`: those that the twin got or will get for the same rows."""
        if self._own is None and not np.array_equal(values, of_twin, equal_nan=True):
            self._own = NumberColumn(self._rows, counts=self._counts)
            self._own.add(np.asarray(self._twin.values()[: self._size], dtype=np.float64))
        if self._own is not None:
            self._own.add(values)
        self._size += len(values)

    def values(self) -> NDArray[Any]:
        """Return all values, as one array with the twin's if they are the same."""
        return (self._twin if self._own is None else self._own).values()


class TextPieces:
    """A column of text that repeats."""

    def __init__(self, rows: int) -> None:
        self._names: dict[str, int] = {}
        self._codes = NumberColumn(rows, counts=True)

    def add(self, codes: NDArray[Any], names: Iterable[str]) -> None:
        """Append a piece: codes of its own distinct names."""
        table = [self._names.setdefault(name, len(self._names)) for name in names]
        self._codes.add(np.array(table or [0], dtype=np.int64)[codes])

    def values(self) -> TextColumn:
        """Return the column."""
        codes = self._codes.values()
        if not len(codes):
            return TextColumn(np.zeros(0, dtype=np.int8), [""])
        return TextColumn(codes, list(self._names))


class IdPieces:
    """A column of identifiers of which no two are alike."""

    def __init__(self, rows: int) -> None:
        self._coder, self._keys = IdCoder(), NumberColumn(rows)

    def add(self, texts: NDArray[Any], likely_heads: TextColumn | None = None) -> None:
        """Append a piece; it is read faster if the head of each text is likely to be another column's text."""
        coder = self._coder
        keys = coder.keys(texts.tolist()) if likely_heads is None else coder.keys_under(texts, likely_heads)
        self._keys.add(keys)

    def values(self) -> IdColumn:
        """Return the column."""
        return self._coder.column(self._keys.values().astype(np.int64, copy=False))


def _all_are(values: NDArray[Any], constant: Any) -> bool:
    if not len(values):
        return True
    same = np.isnan(values) if np.isnan(constant).any() else values == constant
    return bool(same.all())


def _narrow(values: NDArray[Any], *, counts: bool) -> NDArray[Any]:
    """Return counts in a smaller type that holds all of them exactly."""
    if not counts or not len(values):
        return values
    unknown = np.isnan(values)
    if unknown.any():
        for with_missing in _COUNT_TYPES_WITH_MISSING:
            with np.errstate(over="ignore"):
                narrow = values.astype(with_missing)
            if bool(((narrow == values) | unknown).all()):
                return narrow
        return values
    low, high = values.min(), values.max()
    for kind in _COUNT_TYPES:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            small = values.astype(kind)
            return small if bool((small == values).all()) else values
    return values


def joined(tables: Sequence[Columns]) -> Columns:
    """Return the rows of several tables with the same columns, one after another."""
    if len(tables) == 1:
        return tables[0]
    return {name: _joined([table[name] for table in tables]) for name in tables[0]}


def _joined(parts: Sequence[Any]) -> Any:
    rows = sum(map(len, parts))
    if isinstance(parts[0], TextColumn):
        texts = TextPieces(rows)
        for part in parts:
            texts.add(part.codes, part.names)
        return texts.values()
    if isinstance(parts[0], IdColumn):
        heads = list(dict.fromkeys(head for part in parts for head in part.heads))
        return IdColumn(np.concatenate([part.with_heads(heads).keys for part in parts]), heads)
    return np.concatenate(parts)


def first_of_each(columns: Columns, key: Sequence[str]) -> Bools | None:
    """Tell which rows are the first with their values of the columns `key`; None where all are."""
    keys: list[Floats | Ints] = [ids(columns, key[0]).keys, *(columns[name] for name in key[1:])]
    if not (np.diff(np.sort(keys[0])) == 0).any():
        return None
    order = np.lexsort(keys[::-1])
    same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for values in keys:
        ordered = values[order]
        same &= (ordered[1:] == ordered[:-1]) | (np.isnan(ordered[1:]) & np.isnan(ordered[:-1]))
    if not same.any():
        return None
    first = np.ones(len(order), dtype=np.bool_)
    first[order[1:][same]] = False  # the sort is stable, so the first of equal rows stands first
    return first

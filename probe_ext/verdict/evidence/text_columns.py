"""Columns of text in little memory: a small number for each row instead of a Python string.

Ten million rows take 10 MB where a column repeats a few names, and 80 MB where each row has an identifier of its own.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_NUMBER_BITS = 40
_NO_NUMBER = (1 << _NUMBER_BITS) - 1
_MAX_DIGITS = 12


class TextColumn:
    """Text that repeats: for each row, which of the distinct names it has.

    An index of a row gives its text, a mask or an array of rows a column of these rows.
    """

    def __init__(self, codes: NDArray[Any], names: Sequence[str]) -> None:
        self.codes, self.names = codes, tuple(names)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int | np.integer):
            return self.names[self.codes[rows]]
        return TextColumn(self.codes[rows], self.names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        texts: NDArray[Any] = _objects(self.names)[self.codes]
        return texts

    def tolist(self) -> list[str]:
        """Return the text of each row."""
        return [self.names[code] for code in self.codes.tolist()]

    def with_text(self, rows: NDArray[np.bool_], text: str) -> "TextColumn":
        """Return the column with this text in some rows."""
        names = self.names if text in self.names else (*self.names, text)
        code = np.int32(names.index(text))  # the codes' own type may be too small for one more name
        return TextColumn(np.where(rows, code, self.codes), names)


class IdColumn:
    """Texts of the form `head:number`, of which no two may be alike: `keys` are 64-bit integers, equal for equal texts.

    Any other text is a head of its own without a number.
    """

    def __init__(self, keys: Ints, heads: Sequence[str]) -> None:
        self.keys, self.heads = keys, tuple(heads)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int | np.integer):
            return self._text(int(self.keys[rows]))
        return IdColumn(self.keys[rows], self.heads)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return _objects(self.tolist())

    def tolist(self) -> list[str]:
        """Return the text of each row."""
        return [self._text(key) for key in self.keys.tolist()]

    def _text(self, key: int) -> str:
        head, number = self.heads[key >> _NUMBER_BITS], key & _NO_NUMBER
        return head if number == _NO_NUMBER else f"{head}:{number}"

    def with_heads(self, heads: Sequence[str]) -> "IdColumn":
        """Return the same texts with the keys that follow from other heads; a text with none of them has the key −1."""
        place = {head: index for index, head in enumerate(heads)}
        shift = np.array([place.get(head, -1) for head in self.heads] or [-1], dtype=np.int64)
        head = shift[self.keys >> _NUMBER_BITS]
        keys = np.where(head < 0, -1, (head << _NUMBER_BITS) | (self.keys & _NO_NUMBER))
        return IdColumn(keys, heads)


class IdCoder:
    """Turns identifiers into keys, with the same heads for all parts of a table."""

    def __init__(self) -> None:
        self._heads: dict[str, int] = {}

    def keys(self, texts: Sequence[str]) -> Ints:
        """Return the key of each text."""
        return np.array([self._key(text) for text in texts], dtype=np.int64)

    def keys_under(self, texts: NDArray[Any], likely: TextColumn) -> Ints:
        """Return the same, several times as fast where each text has the head that is likely."""
        keys = np.empty(len(texts), dtype=np.int64)
        for code in np.flatnonzero(np.bincount(likely.codes)).tolist():
            rows, head = np.flatnonzero(likely.codes == code), likely.names[code]
            numbers = _numbers_after(f"{head}:", texts[rows].tolist())
            if numbers is None:
                keys[rows] = self.keys(texts[rows].tolist())
            else:
                keys[rows] = (self._head(head) << _NUMBER_BITS) | numbers
        return keys

    def _key(self, text: str) -> int:
        head, colon, digits = text.rpartition(":")
        # Only digits that an integer is written as give the same text back.
        if colon and digits.isdecimal() and digits.isascii() and len(digits) < _MAX_DIGITS and _canonical(digits):
            return (self._head(head) << _NUMBER_BITS) | int(digits)
        return (self._head(text) << _NUMBER_BITS) | _NO_NUMBER

    def _head(self, head: str) -> int:
        return self._heads.setdefault(head, len(self._heads))

    def column(self, keys: Ints) -> IdColumn:
        """Return the column of keys that this coder made."""
        return IdColumn(keys, list(self._heads))


def _canonical(digits: str) -> bool:
    return digits[0] != "0" or digits == "0"


def _numbers_after(head: str, texts: list[str]) -> Ints | None:
    """Return the numbers of texts that are all of the form `<head><number>`; None where one is not.

    All texts are taken as one, which C code splits: ten million of them would take Python seconds.
    """
    joined = "\n" + "\n".join(texts)
    if joined.count("\n" + head) != len(texts) or joined.count("\n") != len(texts):
        return None
    digits = joined.replace("\n" + head, " ")
    if not digits.replace(" ", "").isdecimal() or not digits.isascii():
        return None
    numbers = np.array(digits.split(), dtype=np.float64)
    if len(numbers) != len(texts) or numbers.max() >= 10.0 ** (_MAX_DIGITS - 1):
        return None
    # A number with zeros before it is longer than it need be.
    lengths = np.searchsorted(10.0 ** np.arange(1, _MAX_DIGITS), numbers, side="right") + 1
    return numbers.astype(np.int64) if int(lengths.sum()) + len(texts) == len(digits) else None


def _objects(texts: Sequence[str]) -> NDArray[Any]:
    column = np.empty(len(texts), dtype=object)
    column[:] = texts
    return column

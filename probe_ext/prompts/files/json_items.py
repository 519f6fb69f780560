"""Split a JSON list into its items without parsing it as a whole: such files have hundreds of megabytes."""

import re
from collections.abc import Iterator

from probe_ext.prompts.files.source import MAX_PROMPT_BYTES, PromptFileError, Record, Source

_SPACE = re.compile(rb"[ \t\r\n]*+")
_MARK = re.compile(rb'["\[\]{}]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_OPENING = b"[{"


def items(source: Source) -> Iterator[Record]:
    """Yield the items of the list that a file consists of; each is an object or a text. PromptFileError if damaged."""
    window = _Window(source)
    window.expect(b"[", "must be a list")
    number = 1
    if window.peek() == b"]":
        window.skip()
    else:
        while True:
            yield window.item(number)
            if window.expect(b",]", "expected a comma or the end of the list", number) == b"]":
                break
            number += 1
    if window.peek():
        raise source.error("there is something after the end of the list")


class _Window:
    """The part of the file that is in memory: at least the current item, from `_at` on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = b""
        self._start = source.start
        """place of the data in the file"""
        self._at = 0

    def peek(self) -> bytes:
        """Return the next byte that is not white space; nothing at the end of the file."""
        while True:
            space = _SPACE.match(self._data, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._read():
                return b""

    def skip(self) -> None:
        """Skip one byte."""
        self._at += 1

    def expect(self, allowed: bytes, why: str, number: int | None = None) -> bytes:
        """Skip and return the next byte, if it is one of these."""
        found = self.peek()
        if not found or found not in allowed:
            place = f", after item {number}" if number else ""
            raise self._source.error(f"{why if found else 'the list has no end'} (not valid JSON)", place)
        self._at += 1
        return found

    def item(self, number: int) -> Record:
        """Return the item that begins here."""
        first = self.peek()
        if not first:
            raise self._unfinished(number)
        if first not in b'{["':
            raise self._source.error("must be an object or a text", f", item {number}")
        length = self._length_of_item(number)
        record = Record(self._start + self._at, number, self._data[self._at : self._at + length])
        self._at += length
        return record

    def _length_of_item(self, number: int) -> int:
        depth = length = 0
        while True:
            mark = _MARK.search(self._data, self._at + length)
            if mark is None:
                length = self._need_more(number)
                continue
            end = mark.end()
            if mark[0] == b'"':
                rest = _STRING_REST.match(self._data, end)
                if rest is None:
                    length = mark.start() - self._at
                    self._need_more(number)
                    continue
                end = rest.end()
            else:
                depth += 1 if mark[0] in _OPENING else -1
            length = end - self._at
            if depth <= 0:
                return length

    def _need_more(self, number: int) -> int:
        """Read on, and return how much of the item there was before."""
        length = len(self._data) - self._at
        if length > MAX_PROMPT_BYTES:
            raise self._source.error(f"is longer than {MAX_PROMPT_BYTES // 2**20} MiB", f", item {number}")
        if not self._read():
            raise self._unfinished(number)
        return length

    def _unfinished(self, number: int) -> PromptFileError:
        return self._source.error("the file ends in the middle (not valid JSON)", f", item {number}")

    def _read(self) -> bool:
        chunk = self._source.read()
        self._data, self._start, self._at = self._data[self._at :] + chunk, self._start + self._at, 0
        return bool(chunk)

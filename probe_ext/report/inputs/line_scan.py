"""Scan a table's bytes: which lines are complete, and which are not UTF-8.

A run may have been killed in mid-line or may still be in progress, so only data before the last line end is read.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probe_ext.run.regular_files import check_regular

_BLOCK_BYTES = 1 << 24
MAX_HEADER_BYTES = 1 << 16
_MAX_LINE_BYTES = 1 << 26
"""Nothing is read from a longer line on: a hole in a file may be a terabyte of zeros."""
_MAX_NAMED = 3
"""Bad lines that are listed; the others are only counted."""


@dataclass(frozen=True)
class Scan:
    """Structure of a file."""

    header: tuple[str, ...]
    size: int
    """bytes up to and including the last line end"""
    lines: int
    """complete lines, including the header"""
    cut_off: bool
    """whether there is data after the last line end"""
    not_utf8: tuple[int, ...]
    """numbers, from 1, of the lines that are not UTF-8"""


class WholeLines(io.RawIOBase):
    """A stream of the bytes of a file up to its last line end."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("rb")
        self._left = size

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read into the buffer, at most to the last line end. Returns the number of bytes."""
        got = self._file.readinto(buffer[: min(len(buffer), self._left)])
        self._left -= got
        return got

    def close(self) -> None:
        """Close the underlying file too."""
        self._file.close()
        super().close()


def scan(path: Path) -> Scan:
    """Scan a file once, in blocks. OSError if it cannot be read."""
    check_regular(path)
    with path.open("rb") as file:
        header = file.readline(MAX_HEADER_BYTES)
    lines = size = read = 0
    bad: list[int] = []
    for block in _blocks(path):
        bad += [lines + n for n in _not_utf8(block)]
        lines += block.count(b"\n")
        read += len(block)
        size = read if block.endswith(b"\n") else size + block.rfind(b"\n") + 1
    text = header.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")
    return Scan(tuple(text.split(",")), size, lines, read > size, tuple(n for n in bad if n <= lines))


def numbered(lines: tuple[int, ...] | list[int]) -> str:
    """Return `line 3`, `lines 3, 5`, `lines 3, 5, 9 and 40 more`."""
    named = ", ".join(str(n) for n in lines[:_MAX_NAMED])
    more = f" and {len(lines) - _MAX_NAMED} more" if len(lines) > _MAX_NAMED else ""
    return f"line{'s' if len(lines) > 1 else ''} {named}{more}"


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the file in blocks of complete lines; the last may lack its line end."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                rest = b""
            rest += block[cut:]
            if len(rest) > _MAX_LINE_BYTES:
                break
        if rest:
            yield rest


def _not_utf8(block: bytes) -> list[int]:
    """Return the numbers, from 1, of a block's lines that are not UTF-8."""
    if block.isascii() or _decodes(block):
        return []
    return [n for n, line in enumerate(block.split(b"\n"), 1) if not _decodes(line)]


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

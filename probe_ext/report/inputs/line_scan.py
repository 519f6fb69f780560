"""A table's file as bytes: which of its lines are whole, and which are no UTF-8.

A run may have been killed in mid-line, or may still be going on: only what lies before the last line end is read.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 24
"""bytes looked at in one go"""
_NAMED = 3
"""so many bad lines are named; of the rest, the number is given"""


@dataclass(frozen=True)
class Scan:
    """What the bytes of a file say."""

    header: tuple[str, ...]
    size: int
    """bytes up to and with the last line end"""
    lines: int
    """whole lines, the header with them"""
    cut_off: bool
    """whether something stands behind the last line end"""
    not_utf8: tuple[int, ...]
    """numbers of the lines that are no UTF-8, the first is 1"""


class WholeLines(io.RawIOBase):
    """A file up to its last line end, as a readable stream of bytes."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("rb")
        self._left = size

    def readable(self) -> bool:
        """Always: it was opened to be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, at most to the last line end; the number of bytes."""
        got = self._file.readinto(buffer[: min(len(buffer), self._left)])
        self._left -= got
        return got

    def close(self) -> None:
        """Close the file below, too."""
        self._file.close()
        super().close()


def scan(path: Path) -> Scan:
    """Look through a file once, in blocks. OSError when it cannot be read."""
    with path.open("rb") as file:
        header = file.readline()
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
    """`line 3`, `lines 3, 5`, `lines 3, 5, 9 and 40 more`."""
    named = ", ".join(str(n) for n in lines[:_NAMED])
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    return f"line{'s' if len(lines) > 1 else ''} {named}{more}"


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in pieces of whole lines; the last may lack its line end."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(_BLOCK):
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                rest = b""
            rest += block[cut:]
        if rest:
            yield rest


def _not_utf8(block: bytes) -> list[int]:
    """Numbers, from 1, of a block's lines that are no UTF-8."""
    if block.isascii() or _decodes(block):
        return []
    return [n for n, line in enumerate(block.split(b"\n"), 1) if not _decodes(line)]


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

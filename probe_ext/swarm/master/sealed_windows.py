"""Windows of a run that change no more: on the disk until the run ends, since a long run has thousands.

The file that holds them has no name (it is unlinked as soon as it is made): a kill gives its room back, and loses
nothing, since `sketches.jsonl` has been told all of it. What the disk refuses stays in memory.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO


class SpilledWindows:
    """Lines of text, in the order in which they were put away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None
        self._size = 0
        """bytes of whole lines in the file"""
        self._refused: list[str] = []

    def add(self, lines: Iterable[str]) -> None:
        """Put away some more; each has its line end."""
        kept = list(lines)
        data = "".join(kept).encode()
        try:
            self._write(data)
        except OSError:
            self._refused += kept
        else:
            self._size += len(data)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - until `close`
        self._file.seek(self._size)  # over what a full disk took of lines that are in memory now
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def __iter__(self) -> Iterator[str]:
        """All of them. OSError where the disk does not give them back."""
        if self._file is not None:
            self._file.seek(0)
            left = self._size
            for line in self._file:
                left -= len(line)
                if left < 0:
                    break  # of lines that the disk took in part
                yield line.decode()
        yield from self._refused

    def close(self) -> None:
        """Give the room back."""
        if self._file is not None:
            self._file.close()
            self._file = None

"""Open a file of prompts, and read it once from start to end, in bounded memory."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from probe_ext.measure.safe_text import safe_text

MAX_FILE_BYTES = 4 * 2**30
MAX_PROMPT_BYTES = 16 * 2**20
"""of one line, item or row; images in base64 take megabytes"""
MAX_PROMPTS = 1_000_000
_CHUNK_BYTES = 2**20
_UTF_8_MARK = b"\xef\xbb\xbf"
_NOT_UTF_8 = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_NOT_TEXT = {
    b"\x1f\x8b": "compressed (gzip)",
    b"PK\x03\x04": "a zip archive or spreadsheet",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)",
    b"BZh": "compressed (bzip2)",
    b"\xfd7zXZ": "compressed (xz)",
    b"PAR1": "in Parquet format",
    b"ARROW1": "in Arrow format",
}
_LONGEST_MARK = 6


class PromptFileError(ValueError):
    """A file that cannot be used: one line with the file, the place in it, and the reason."""


class RecordError(ValueError):
    """Why one record cannot be used, without its place."""


@dataclass(frozen=True, slots=True)
class Record:
    """The bytes of one prompt, and where they are."""

    start: int
    number: int
    """of the line or item, counted from 1"""
    data: bytes


def state_of(about: os.stat_result) -> tuple[int, ...]:
    """Return what changes if a file is written to or replaced."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


class Source:
    """One regular file, read once from its start. `state` changes if somebody writes to it (`state_of`)."""

    def __init__(self, path: Path) -> None:
        """PromptFileError if it is no file that can hold prompts."""
        self.name = safe_text(str(path))
        self._stream = self._open(path)
        self._sha = hashlib.sha256()
        try:
            head = self._stream.read(_LONGEST_MARK)
            self._check_head(head)
            self.start = len(_UTF_8_MARK) if head.startswith(_UTF_8_MARK) else 0
            self._stream.seek(0)
            self.read(self.start)
            self.state = state_of(os.fstat(self._stream.fileno()))
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from error

    def _open(self, path: Path) -> BinaryIO:
        try:
            about = path.stat()  # before opening: that would wait for the writer of a pipe
            if stat.S_ISDIR(about.st_mode):
                raise self.error("is a directory, not a file")
            if not stat.S_ISREG(about.st_mode):
                raise self.error("is not a regular file")
            if about.st_size > MAX_FILE_BYTES:
                raise self.error(f"is larger than {MAX_FILE_BYTES // 2**30} GiB; use a part of it")
            return path.open("rb")
        except FileNotFoundError as error:
            raise self.error("no such file") from error
        except (OSError, ValueError) as error:
            if isinstance(error, PromptFileError):
                raise
            raise self.error(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def _check_head(self, head: bytes) -> None:
        for mark, encoding in _NOT_UTF_8.items():
            if head.startswith(mark):
                raise self.error(f"is {encoding} text; save it as UTF-8")
        for mark, kind in _NOT_TEXT.items():
            if head.startswith(mark):
                raise self.error(f"is {kind}; convert it to text, CSV or JSON Lines in UTF-8")

    def error(self, why: str, place: str = "") -> PromptFileError:
        """Return an error with the file's name; `place` is `:17` for a line."""
        return PromptFileError(f"{self.name}{place}: {why}")

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        """Return up to `size` bytes; none at the end."""
        try:
            chunk = self._stream.read(size)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from error
        self._sha.update(chunk)
        return chunk

    def line(self, number: int) -> bytes:
        """Return the next line with its end; nothing at the end of the file. `number` names it if it is too long."""
        try:
            line = self._stream.readline(MAX_PROMPT_BYTES + 1)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from error
        if len(line) > MAX_PROMPT_BYTES:
            raise self.error(f"the line is longer than {MAX_PROMPT_BYTES // 2**20} MiB", f":{number}")
        self._sha.update(line)
        return line

    @property
    def digest(self) -> str:
        """SHA-256 of what was read, in hexadecimal."""
        return self._sha.hexdigest()

    def first_character(self) -> bytes:
        """Return the first byte that is not white space; nothing if there is none in the first 64 KiB."""
        place = self._stream.tell()
        head = self._stream.read(64 * 1024).lstrip()[:1]
        self._stream.seek(place)
        return head

    def detach(self) -> int:
        """Close this, and return a file descriptor of the same file that stays open."""
        descriptor = os.dup(self._stream.fileno())
        self._stream.close()
        return descriptor

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def lines(source: Source) -> Iterator[Record]:
    """Yield the lines of a file."""
    start, number = source.start, 1
    while line := source.line(number):
        yield Record(start, number, line)
        start, number = start + len(line), number + 1


def decode(data: bytes) -> str:
    """Return text. RecordError if it is not UTF-8, or contains what no text has."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"is not UTF-8 text (byte 0x{data[error.start]:02x} at byte {error.start + 1})") from error
    if "\x00" in text:
        raise RecordError("contains a NUL byte: is this a text file in UTF-8?")
    return text

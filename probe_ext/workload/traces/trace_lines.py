"""Read the lines of a trace file, compressed or not, and say what is wrong with one: file, line and key."""

import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probe_ext.measure.safe_text import safe_text

MAX_BYTES = 4 * 2**30
"""of a file, and of what it holds when it is compressed"""
MAX_LINE_BYTES = 4 * 2**20
MAX_TOKENS = 10_000_000
MAX_SECONDS = 366 * 24 * 3600.0
_GZIP = b"\x1f\x8b"


class TraceError(ValueError):
    """A trace that cannot be replayed: one line with the file, the place in it, and the reason."""


class TraceLines:
    """The lines of one file, read once from start to end. TraceError names the file and what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.name = safe_text(str(path))
        self.number = 0
        """of the line that was read last, from 1"""
        self._sha = hashlib.sha256()
        self._stream = self._open(path)

    def _open(self, path: Path) -> io.BufferedReader:
        if path.is_dir():
            raise self.error("is a directory, not a file")
        try:
            if not path.is_file():
                raise self.error("is not a regular file" if path.exists() else "no such file")
            raw = path.open("rb")
            packed = raw.read(2) == _GZIP
            raw.seek(0)
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror or error}") from error
        return io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw

    def error(self, why: str) -> TraceError:
        """Return an error of the file as a whole."""
        return TraceError(f"{self.name}: {why}")

    def line_error(self, why: str) -> TraceError:
        """Return an error of the line that was read last."""
        return TraceError(f"{self.name}:{self.number}: {why}")

    def starts_with_brace(self) -> bool:
        """Whether the first character that is not white space is `{`, as in JSON Lines."""
        try:
            return self._stream.peek(4096)[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
        except (OSError, EOFError, zlib.error) as error:
            raise self.error(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of what was read, unpacked."""
        return self._sha.hexdigest()

    def __iter__(self) -> Iterator[str]:
        """Yield each line without its end."""
        total = 0
        while True:
            self.number += 1
            try:
                line = self._stream.readline(MAX_LINE_BYTES + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise self.line_error(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
            if not line:
                self._stream.close()
                return
            total += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise self.line_error(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
            if total > MAX_BYTES:
                raise self.error(f"holds more than {MAX_BYTES // 2**30} GiB; use a part of it")
            self._sha.update(line)
            try:
                yield line.decode("utf-8-sig" if self.number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise self.line_error(f"is not UTF-8 text (byte {error.start + 1})") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a trace file, unpacked. TraceError if it cannot be read."""
    lines = TraceLines(path)
    for _ in lines:
        pass
    return lines.digest


def count(lines: TraceLines, values: Mapping[str, Any], key: str) -> int:
    """Return a number of tokens. TraceError names line, key and value."""
    value = _number(lines, values, key)
    if value != int(value) or not 0 <= value <= MAX_TOKENS:
        raise lines.line_error(f"{key}: {_shown(values[key])}: must be a whole number from 0 to {MAX_TOKENS:,}")
    return int(value)


def moment(lines: TraceLines, values: Mapping[str, Any], key: str, unit: float) -> float:
    """Return a time in seconds; `unit`: seconds of the file's unit. TraceError names line, key and value."""
    seconds = _number(lines, values, key) * unit
    if seconds < 0:
        raise lines.line_error(f"{key}: {_shown(values[key])}: must not be negative")
    if seconds > MAX_SECONDS * 100:
        raise lines.line_error(f"{key}: {_shown(values[key])}: is too large for a time of this unit")
    return seconds


def _number(lines: TraceLines, values: Mapping[str, Any], key: str) -> float:
    if key not in values:
        raise lines.line_error(f"{key}: is missing")
    value = values[key]
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise lines.line_error(f"{key}: {_shown(value)}: is not a number")
    return number


def _shown(value: Any) -> str:
    return safe_text(repr(value), length=40)

"""Write and read the files of a recording: `tap.json`, `requests.jsonl` and, only if asked for, `text.jsonl`.

A line is written with one call as soon as its request has ended, so a crash of the process loses only requests that
were still in flight. A last line without an end, as after a full disk or a power cut, is left out and counted.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from probe_ext.measure.safe_text import safe_text
from probe_ext.recording.recorded_request import ENDPOINTS, OUTCOMES, SCHEMA, RecordedRequest, RecordingHead

HEAD_FILE, REQUESTS_FILE, TEXT_FILE = "tap.json", "requests.jsonl", "text.jsonl"
MAX_HEAD_BYTES = 2**20
MAX_LINE_BYTES = 16 * 2**20


_NAMES = tuple(each.name for each in fields(RecordedRequest))  # asdict copies deeply, which takes ten times as long


class RecordingError(ValueError):
    """A recording that cannot be read or written: one line that names the file."""


class JsonLines:
    """A file to which lines are appended. OSError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._unfinished = False
        self.lines = 0

    def write(self, value: dict[str, Any]) -> None:
        """Append one line; what a failed call has left of a line is ended first."""
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        if self._unfinished:
            line = b"\n" + line
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        finally:
            self._unfinished = (self._unfinished or written > 0) and written < len(line)
        self.lines += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def write_head(folder: Path, head: RecordingHead) -> None:
    """Write `tap.json`, replacing an earlier one in one step."""
    draft = folder / f"{HEAD_FILE}.new"
    draft.write_bytes(orjson.dumps(asdict(head), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    draft.replace(folder / HEAD_FILE)


def as_line(request: RecordedRequest) -> dict[str, Any]:
    """Return a line's keys and values; what is unknown is left out."""
    line = {name: value for name in _NAMES if (value := getattr(request, name)) is not None}
    if request.gaps is not None:
        line["gaps"] = asdict(request.gaps)
    return line


@dataclass(slots=True)
class Recording:
    """A recording on disk. `requests` reads the file anew each time."""

    folder: Path
    head: RecordingHead
    torn: int = 0
    """lines that were broken off, as a crash or a full disk leaves them; found by reading"""

    def requests(self) -> Iterator[RecordedRequest]:
        """Yield the requests in the order in which they ended. RecordingError names file, line and key."""
        path = self.folder / REQUESTS_FILE
        self.torn = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), 1):
                    if not line.endswith(b"\n") or not _is_json(line):
                        self.torn += 1
                    else:
                        yield _request(line, path, number)
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from error


def read_recording(folder: Path) -> Recording:
    """Open a recording. RecordingError if it is none, or of a later version of this package."""
    path = folder / HEAD_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_HEAD_BYTES)
    except OSError as error:
        hint = "; give the folder that probe tap wrote" if isinstance(error, FileNotFoundError) else ""
        raise RecordingError(f"{path}: {error.strerror}{hint}") from error
    try:
        content = orjson.loads(raw)
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise RecordingError(f"{path}: schema: {schema!r}: this version reads {SCHEMA}")
        return Recording(folder, _head_adapter().validate_json(raw, strict=True))
    except orjson.JSONDecodeError as error:
        raise RecordingError(f"{path}: is not JSON: {error}") from error
    except ValidationError as error:
        raise RecordingError(f"{path}: {_first(error)}") from error


def _request(line: bytes, path: Path, number: int) -> RecordedRequest:
    try:
        request = _request_adapter().validate_json(line, strict=True)
    except ValidationError as error:
        raise RecordingError(f"{path}: line {number}: {_first(error)}") from error
    for key, known in (("endpoint", ENDPOINTS), ("outcome", OUTCOMES)):
        value = getattr(request, key)
        if value not in known:
            raise RecordingError(f"{path}: line {number}: {key}: {safe_text(value, length=40)!r} is unknown")
    return request


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, problem["loc"]))
    return safe_text(f"{where}: {problem['msg']}" if where else problem["msg"])


@cache
def _request_adapter() -> TypeAdapter[RecordedRequest]:
    return TypeAdapter(RecordedRequest)


@cache
def _head_adapter() -> TypeAdapter[RecordingHead]:
    return TypeAdapter(RecordingHead)

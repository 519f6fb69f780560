"""What a recording keeps on disk: every line that was written, whatever happened then."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from probe_ext.recording import recording_files
from probe_ext.recording.recorded_request import SCHEMA, Gaps, RecordedRequest, RecordingHead
from probe_ext.recording.recording_files import (
    HEAD_FILE,
    REQUESTS_FILE,
    JsonLines,
    RecordingError,
    as_line,
    read_recording,
    write_head,
)
from probe_ext.recording.sessions_of import pauses, sessions_of

HEAD = RecordingHead(schema=SCHEMA, upstream="http://127.0.0.1:8000", started_at="2026-01-31T12:00:00.000Z")


def request(number: int = 0, **values: object) -> RecordedRequest:
    given = {"at": 1.5 * number, "duration": 1.0, "endpoint": "chat", "outcome": "complete", **values}
    return RecordedRequest(number=number, **given)  # type: ignore[arg-type]


def recorded(folder: Path, *requests: RecordedRequest) -> Path:
    write_head(folder, HEAD)
    lines = JsonLines(folder / REQUESTS_FILE)
    for each in requests:
        lines.write(as_line(each))
    lines.close()
    return folder


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    full = request(
        1, session="a1", turn=0, parameters={"max_tokens": 256, "temperature": 0.5, "ignore_eos": True}, system="ab",
        prefix_blocks=("0a", "0b"), gaps=Gaps(3, 0.1, 0.1, 0.2, 0.2), input_tokens=15, ttft=0.25, status=200,
    )  # fmt: skip
    recording = read_recording(recorded(tmp_path, request(), full))
    assert list(recording.requests()) == [request(), full]
    assert recording.head == HEAD
    assert recording.torn == 0


def test_unknown_values_are_left_out_of_a_line(tmp_path: Path) -> None:
    line = (recorded(tmp_path, request()) / REQUESTS_FILE).read_text()
    assert "input_tokens" not in line
    assert "null" not in line


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_last_line_that_was_broken_off_is_counted_and_left_out(tmp_path: Path, cut: int) -> None:
    file = recorded(tmp_path, request(0), request(1)) / REQUESTS_FILE
    os.truncate(file, file.stat().st_size - cut)
    recording = read_recording(tmp_path)
    assert [each.number for each in recording.requests()] == [0]
    assert recording.torn == 1


def test_a_failed_write_does_not_damage_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_head(tmp_path, HEAD)
    lines = JsonLines(tmp_path / REQUESTS_FILE)
    real, calls = os.write, iter(["short", "full disk"])

    def write(descriptor: int, data: bytes) -> int:
        match next(calls, None):
            case "short":
                return real(descriptor, data[:10])
            case "full disk":
                raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(recording_files.os, "write", write)
    with pytest.raises(OSError, match="No space"):
        lines.write(as_line(request(0)))
    lines.write(as_line(request(1)))
    lines.close()
    recording = read_recording(tmp_path)
    assert [each.number for each in recording.requests()] == [1]
    assert (recording.torn, lines.lines) == (1, 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"endpoint": "telnet"}, r"line 1: endpoint: 'telnet' is unknown"),
        ({"outcome": "fine"}, r"line 1: outcome: 'fine' is unknown"),
        ({"at": -1}, r"line 1: at: .*greater than or equal to 0"),
        ({"at": "soon"}, r"line 1: at: .*valid number"),
        ({"gaps": {"count": 1}}, r"line 1: gaps\.mean: "),
        ({"prefix_blocks": "ab"}, r"line 1: prefix_blocks: "),
        ({"number": None}, r"line 1: number: "),
    ],
)
def test_wrong_values_are_named_by_file_line_and_key(tmp_path: Path, line: dict[str, object], problem: str) -> None:
    recorded(tmp_path)
    (tmp_path / REQUESTS_FILE).write_text(json.dumps(as_line(request()) | line) + "\n")
    with pytest.raises(RecordingError, match=f"{REQUESTS_FILE}: {problem}"):
        list(read_recording(tmp_path).requests())


def test_keys_of_later_versions_are_skipped(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / REQUESTS_FILE).write_text(json.dumps(as_line(request()) | {"new_key": 1}) + "\n")
    assert list(read_recording(tmp_path).requests()) == [request()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "schema: None: this version reads 1"),
        ('{"schema": 2}', "schema: 2: this version reads 1"),
        ('{"schema": 1, "upstream": 3, "started_at": ""}', "upstream: "),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / HEAD_FILE).write_text(content)
    with pytest.raises(RecordingError, match=problem) as error:
        read_recording(tmp_path)
    assert HEAD_FILE in str(error.value)
    assert "\n" not in str(error.value)


def test_an_existing_recording_is_not_continued(tmp_path: Path) -> None:
    recorded(tmp_path)
    with pytest.raises(FileExistsError):
        JsonLines(tmp_path / REQUESTS_FILE)


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    assert (recorded(tmp_path) / REQUESTS_FILE).stat().st_mode & 0o077 == 0


def test_sessions_are_in_order_with_the_pauses_between_their_requests() -> None:
    later = request(2, session="a", turn=1, at=3.0)
    beside = request(3, session="a", turn=2, at=3.5)
    requests = [request(1, session="b", turn=0, at=0.5), later, request(0, session="a", turn=0, at=0.0), beside]
    found = sessions_of([*requests, request(4)])
    assert [[each.number for each in session] for session in found] == [[0, 2, 3], [1]]
    assert pauses(found[0]) == [(2.0, later)]


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tap" / "recording.md").read_text()
    keys = {each.name for kind in (RecordedRequest, RecordingHead) for each in fields(kind)}
    assert {key for key in keys if f"`{key}`" not in text} == set()

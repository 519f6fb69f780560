"""A recording of the tap as a trace: its own blocks, sessions, and what cannot be replayed."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from probe_ext.recording.recorded_request import SCHEMA, RecordedRequest, RecordingHead
from probe_ext.recording.recording_files import REQUESTS_FILE, as_line, write_head
from probe_ext.workload.traces.read_trace import read_trace
from probe_ext.workload.traces.sharing import shared_tokens
from probe_ext.workload.traces.trace_lines import TraceError
from probe_ext.workload.workload_file import read_workload


def request(number: int, at: float, **known: Any) -> RecordedRequest:
    usual = {"input_tokens": 300, "characters": 1200, "output_tokens": 20, "duration": 1.0, "endpoint": "chat"}
    return RecordedRequest(**{"number": number, "at": at, "outcome": "complete", **usual, **known})


def recording(folder: Path, *requests: RecordedRequest) -> Path:
    folder.mkdir()
    write_head(folder, RecordingHead(schema=SCHEMA, upstream="http://x:1", started_at="2026-01-31T12:00:00.000Z"))
    (folder / REQUESTS_FILE).write_bytes(b"".join(orjson.dumps(as_line(one)) + b"\n" for one in requests))
    return folder


def test_times_sessions_and_blocks_are_those_of_the_recording(tmp_path: Path) -> None:
    folder = recording(
        tmp_path / "tap",
        request(1, 6.0, session="a", turn=1, prefix_blocks=("x", "y", "z", "v"), input_tokens=310, characters=1240),
        request(0, 5.0, session="a", turn=0, prefix_blocks=("x", "y"), input_tokens=150, characters=600),
        request(2, 6.5, session="a", turn=2, prefix_blocks=("x",)),  # before turn 1 was answered: a sub-agent's
        request(3, 9.0, prefix_blocks=("x", "y", "w"), output_tokens=None, events=7),
        request(4, 9.5, endpoint="other", outcome="served"),
        request(5, 9.6, media=True),
        request(6, 9.7, input_tokens=None),
        request(7, 9.8, output_tokens=None, outcome="connect_failed"),
    )
    trace = read_trace(folder)
    assert (trace.form, trace.block_tokens) == ("tap", pytest.approx(64.0)), "256 characters of four to a token"
    found = [(one.at, one.session, one.tokens_in, one.tokens_out) for one in trace.requests]
    assert found == [(0, 0, 150, 20), (1, 0, 310, 20), (1.5, 1, 300, 20), (4, 2, 300, 7)]
    assert shared_tokens(trace.requests, trace.block_tokens) == [0, 128, 64, 128]
    assert dict(trace.left_out) == {
        "not for text": 1,
        "with images, audio or files": 1,
        "without counts of tokens": 1,
        "without a reply": 1,
    }
    assert read_workload(str(folder)).trace is not None, "a recording can be given in the place of a workload"


def test_what_cannot_be_replayed_is_said_in_one_line(tmp_path: Path) -> None:
    nothing = recording(tmp_path / "nothing", request(0, 1.0, endpoint="other", outcome="served"))
    with pytest.raises(TraceError, match="holds no request that can be replayed: 1 not for text"):
        read_trace(nothing)
    broken = recording(tmp_path / "broken", request(0, 1.0))
    (broken / REQUESTS_FILE).write_text('{"number": "many"}\n')
    with pytest.raises(TraceError, match="line 1: "):
        read_trace(broken)
    with pytest.raises(TraceError, match="block_tokens: 16: has no effect"):
        read_trace(recording(tmp_path / "whole", request(0, 1.0)), block_tokens=16)


def test_lines_that_are_broken_off_are_counted(tmp_path: Path) -> None:
    folder = recording(tmp_path / "torn", request(0, 1.0), request(1, 2.0))
    with (folder / REQUESTS_FILE).open("a") as file:
        file.write('{"number": 2')
    assert read_trace(folder).left_out == {"whose line is broken off": 1}

"""Traces of both forms: what is read, what is left out, and what is refused in one line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from probe_ext.workload.traces import read_trace as reading
from probe_ext.workload.traces.read_trace import read_trace
from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.sharing import shared_tokens
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.traces.trace_lines import TraceError

BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"


def line(timestamp: Any = 0, tokens_in: Any = 600, tokens_out: Any = 20, hashes: Any = (1, 2), **more: Any) -> str:
    return json.dumps(
        {
            "timestamp": timestamp,
            "input_length": tokens_in,
            "output_length": tokens_out,
            "hash_ids": hashes if isinstance(hashes, str) else list(hashes),
            **more,
        }
    )


def file(folder: Path, text: str, name: str = "trace.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mooncake(folder: Path, *lines: str, **keys: Any) -> Trace:
    return read_trace(file(folder, "\n".join(lines) + "\n"), **keys)


def test_a_mooncake_trace_has_times_lengths_blocks_and_sessions(tmp_path: Path) -> None:
    trace = mooncake(
        tmp_path,
        line(27_000, session_id="a"),
        line(27_500, 1024, 7, [1, 3], session_id="b"),
        "",
        line(30_000, 1500, 9, ["1", "x", "y"], session_id="a", extra=[1]),
        line(30_000, 10, 1, []),
    )
    assert (trace.form, trace.block_tokens, trace.left_out) == ("mooncake", 512, {})
    found = [(one.at, one.session, one.tokens_in, one.tokens_out) for one in trace.requests]
    assert found == [(0, 0, 600, 20), (0.5, 1, 1024, 7), (3, 0, 1500, 9), (3, 2, 10, 1)]
    assert trace.requests[1].blocks == (1, 3)
    assert len(trace.requests[2].blocks) == 3
    assert trace.sessions == ((0, 2), (1,), (3,))
    assert trace.seconds == pytest.approx(4.0), "three gaps in 3 s: the fourth is as long"


def test_a_burstgpt_trace_has_no_blocks_and_leaves_failed_requests_out(tmp_path: Path) -> None:
    text = BURST + "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n118,ChatGPT,417,276,693,x\n"
    trace = read_trace(file(tmp_path, text, "burst.csv"))
    assert [(one.at, one.tokens_in, one.tokens_out, one.blocks) for one in trace.requests] == [
        (0, 472, 18, ()),
        (113, 417, 276, ()),
    ]
    assert trace.left_out == {reading.WITHOUT_REPLY: 1}
    assert len(trace.sessions) == len(trace.requests)


def test_sessions_of_burstgpt_come_from_their_column_where_there_is_one(tmp_path: Path) -> None:
    text = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    rows = "0,s1,2.5,m,10,5,15,c\n4,,1,m,10,5,15,a\n9,s1,1,m,30,5,35,c\n9.5,,1,m,10,5,15,a\n"
    trace = read_trace(file(tmp_path, text + rows, "burst.csv"))
    assert [one.session for one in trace.requests] == [0, 1, 0, 2], "a request without a session is one of its own"


def test_a_packed_trace_is_the_same_trace(tmp_path: Path) -> None:
    plain = mooncake(tmp_path, line(), line(5))
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "trace.jsonl").read_bytes()))
    assert read_trace(packed) == plain


MISTAKES = {
    "": "holds no request",
    "\n\n": "holds no request",
    "[1]": "Timestamp: is not a column",
    "{": ":1: is not valid JSON",
    line() + "\n[]": ":2: must be a JSON object",
    line() + '\n{"timestamp": 1, "input_length": 5}': ":2: output_length: is missing",
    line(-1): ":1: timestamp: -1: must not be negative",
    line("soon"): ":1: timestamp: 'soon': is not a number",
    line(True): ":1: timestamp: True: is not a number",
    line(1e300): ":1: timestamp: 1e+300: is too large",
    line(0, 1.5): ":1: input_length: 1.5: must be a whole number",
    line(0, -3, 1, []): ":1: input_length: -3: must be a whole number from 0",
    line(0, 10**9): ":1: input_length: 1000000000: must be a whole number",
    line(0, 600, None): ":1: output_length: None: is not a number",
    line(0, 600, 5, [1, 2, 3]): ":1: hash_ids: 3 blocks of 512 tokens are more than an input_length of 600 has (2)",
    line(0, 600, 5, "abc"): ":1: hash_ids: must be a list",
    line(0, 600, 5, [[1]]): ":1: hash_ids: must be a list of whole numbers or texts",
    line(0, session_id=[1]): ":1: session_id: must be",
    line(1000) + "\n\n" + line(900): ":3: its time, 0.9 s, is earlier than that of line 1 (1 s); sort",
    line() + "\n" + line(4e10): ":2: its time is 40,000,000 s after the first",
    line(0, 600, 0)
    + "\n"
    + line(1, 0, 5, []): "holds no request that can be replayed: 1 without a reply, 1 without a prompt",
    "Timestamp,Model\n5,x\n": ":1: Request tokens: is not a column; the first line has Timestamp, Model",
    BURST + "5,m,1\n": ":2: has 3 columns instead of 6",
    BURST + "x,m,1,2,3,c\n": ":2: Timestamp: 'x': is not a number",
    BURST + "5,m,1,two,3,c\n": ":2: Response tokens: 'two': is not a number",
    BURST + "5,m,nan,2,3,c\n": ":2: Request tokens: 'nan': is not a number",
    BURST + "9,m,1,2,3,c\n5,m,1,2,3,c\n": ":3: its time, 5 s, is earlier",
    BURST + '5,"m,1,2,3,c\n': "is not valid CSV",
    "prompt\nhello\n": "Timestamp: is not a column; the first line has prompt. A trace is",
}


@pytest.mark.parametrize(("text", "why"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_wrong_trace_is_refused_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(TraceError) as error:
        read_trace(file(tmp_path, text))
    assert str(error.value).startswith(str(tmp_path / "trace.jsonl"))
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress((line() + "\n").encode() * 1000)[:60])
    binary = tmp_path / "binary"
    binary.write_bytes(b'{"timestamp": "\xff"}\n')
    wrong = {tmp_path / "none": "no such file", tmp_path: "is a directory", broken: "cannot be read", binary: "UTF-8"}
    for path, why in wrong.items():
        with pytest.raises(TraceError, match=why):
            read_trace(path)


def test_more_than_a_generator_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_REQUESTS", 2)
    with pytest.raises(TraceError, match="more than 2 requests"):
        mooncake(tmp_path, *[line()] * 3)
    monkeypatch.setattr(reading, "MAX_BLOCKS", 3)
    with pytest.raises(TraceError, match="more than 3 blocks"):
        mooncake(tmp_path, *[line()] * 2)


def test_blocks_of_another_length_are_stated(tmp_path: Path) -> None:
    trace = mooncake(tmp_path, line(0, 40, 5, [1, 2, 3]), block_tokens=16)
    assert trace.block_tokens == 16
    with pytest.raises(TraceError, match="block_tokens: 16: has no effect"):
        read_trace(file(tmp_path, BURST + "5,m,1,2,3,c\n"), block_tokens=16)


def test_shared_tokens_are_counted_from_the_start_of_each_prompt(tmp_path: Path) -> None:
    trace = mooncake(
        tmp_path,
        line(0, 1100, 5, [1, 2, 3]),
        line(1, 1600, 5, [1, 2, 4, 5]),  # two whole blocks
        line(2, 600, 5, [1, 9]),  # one
        line(3, 1100, 5, [1, 2, 3]),  # all: the same request again
        line(4, 1000, 5, [1, 2]),  # the second is cut shorter than before: another text
        line(5, 1024, 5, [7, 2]),  # nothing: it begins with another block
        line(6, 300, 5, []),
    )
    assert shared_tokens(trace.requests, trace.block_tokens) == [0, 1024, 512, 1100, 512, 0, 0]


def test_a_part_of_a_trace_and_what_fits_the_context(tmp_path: Path) -> None:
    trace = mooncake(tmp_path, *(line(1000 * second, 100 * (second + 1), 50, []) for second in range(10)))
    part = trace.between(3.0, 6.0)
    assert [(one.at, one.tokens_in) for one in part.requests] == [(0, 400), (1, 500), (2, 600)]
    fits = part.fitting(600)
    assert [one.tokens_in for one in fits.requests] == [400, 500]
    assert fits.left_out == {"longer than the context of 600 tokens": 1}
    assert part.fitting(None) == part


def test_a_pass_at_a_speed_starts_sessions_faster_and_keeps_their_gaps(tmp_path: Path) -> None:
    def turn(second: float, session: str) -> str:
        return line(1000 * second, 100, 5, [], session_id=session)

    trace = mooncake(tmp_path, turn(0, "a"), turn(2, "a"), turn(8, "b"), turn(9, "b"), turn(10, "c"), turn(11, "b"))
    recorded = Pass(trace, 1.0)
    assert [(one.due, one.place) for one in recorded.schedule] == [(one.at, i) for i, one in enumerate(trace.requests)]
    assert (recorded.seconds, recorded.rate) == (pytest.approx(13.2), pytest.approx(6 / 13.2))
    double = Pass(trace, 2.0)
    assert [(one.due, one.place) for one in double.schedule] == [(0, 0), (2, 1), (4, 2), (5, 3), (5, 4)]
    assert double.seconds == pytest.approx(6.6), "b's third turn, 7 s after the start, is in no pass of that length"
    assert [double.count_until(t) for t in (0, 2, 2.1, 5, 99)] == [0, 1, 2, 3, 5]


def test_workers_share_a_pass_by_sessions(tmp_path: Path) -> None:
    trace = mooncake(
        tmp_path, *(line(100 * i, 100, 5, [], session_id=str(i % 7) if i < 40 else None) for i in range(60))
    )
    replay = Pass(trace, 1.0)
    for workers in (1, 4, 7):
        shares = [list(replay.own(index, workers, 0.0)) for index in range(workers)]
        assert sorted((one for share in shares for one in share), key=lambda one: one.place) == list(replay.schedule)
        of = [{trace.requests[one.place].session for one in share} for share in shares]
        assert sum(map(len, of)) == len(set().union(*of)), "a session belongs to one worker"
    assert list(replay.own(0, 1, 3.05)) == [one for one in replay.schedule if one.due >= 3.05]

"""Parsing of server-sent events, compared with the standard's algorithm."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import STREAMS, recorded, shortened

from probe_ext.client.wire import sse
from probe_ext.client.wire.sse import EventTooLargeError, SseParser


def parse(*pieces: bytes, flush: bool = True) -> list[bytes]:
    parser = SseParser()
    events = [data for piece in pieces for data in parser.feed(piece)]
    return events + (parser.flush() if flush else [])


def parse_by_the_standard(stream: bytes) -> list[bytes]:
    """Apply the standard's algorithm to a complete stream; include an incomplete event at the end."""
    events: list[bytes] = []
    buffer: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            events += [b"\n".join(buffer)] if buffer else []
            buffer = []
            continue
        field, colon, value = line.partition(b":")
        if field in {b"data", b"error"}:
            buffer.append(value[1:] if colon and value[:1] == b" " else value)
    return events + ([b"\n".join(buffer)] if buffer else [])


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="line feeds"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="carriage return and line feed"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="carriage returns"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"], id="a mixture"),
        pytest.param(b"data:a\n\ndata:  b\n\n", [b"a", b" b"], id="one space after the colon is not data"),
        pytest.param(b": ping\n\n:\n\ndata: a\n\n", [b"a"], id="comments"),
        pytest.param(b": ping\ndata: a\n\n", [b"a"], id="a comment inside an event"),
        pytest.param(b"data: a\ndata: b\n\n", [b"a\nb"], id="several data lines"),
        pytest.param(b"data: a\nevent: x\nid: 7\nretry: 3\ndata: b\n\n", [b"a\nb"], id="other fields between"),
        pytest.param(b"event: done\nid: 3\n\n", [], id="no data line, no event"),
        pytest.param(b"data\n\n", [b""], id="a data line without a colon"),
        pytest.param(b"data:\n\n", [b""], id="empty data"),
        pytest.param(b"database: a\n\nDATA: b\n\n data: c\n\n", [], id="other names that look alike"),
        pytest.param(b'error: {"code":500}\n\n', [b'{"code":500}'], id="an error field"),
        pytest.param(b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"], id="many empty lines"),
        pytest.param(b"data: a\n\ndata: b", [b"a", b"b"], id="no empty line at the end"),
        pytest.param(b"data: a\n\ndata: b\n", [b"a", b"b"], id="one line end at the end"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"], id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbfdata: a", [b"a"], id="a byte order mark and an incomplete event"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"], id="a byte order mark in the middle"),
        pytest.param("data: größe€\U0001f600\n\n".encode(), ["größe€\U0001f600".encode()], id="many bytes a character"),
        pytest.param(b"data: \xff\xfe\x80\n\n", [b"\xff\xfe\x80"], id="no UTF-8 at all"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_parses_as_the_standard_wherever_the_stream_is_split(stream: bytes, events: list[bytes]) -> None:
    assert parse(stream) == events == parse_by_the_standard(stream)
    for cut in range(len(stream) + 1):
        assert parse(stream[:cut], stream[cut:]) == events
    assert parse(*[stream[k : k + 1] for k in range(len(stream))]) == events


@pytest.mark.untraced
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", STREAMS)
def test_recordings_parse_the_same_wherever_they_are_split(name: str, line_end: bytes, step: int) -> None:
    body = shortened(recorded(name)[1]).replace(b"\n", line_end)
    expected = parse_by_the_standard(body)
    assert len(expected) >= 3
    assert expected[-1] == b"[DONE]" or b'"message_stop"' in expected[-1] or b'"response.completed"' in expected[-1]
    for cut in range(0, len(body) + 1, step):
        assert parse(body[:cut], body[cut:]) == expected, cut


def test_returns_an_event_as_soon_as_its_empty_line_is_read() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [b"a"]
    assert parser.feed(b"data: b\r\n") == []
    assert parser.feed(b"\r") == [b"b"]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: c\n\n") == [b"c"]
    assert parser.flush() == []


@given(
    st.lists(
        st.sampled_from(
            [b"data", b"error", b"id", b":", b" ", b"\n", b"\n", b"\r", b"\r\n", b"x", b"\xef\xbb\xbf", b"\x80", b"{}"]
        ),
        max_size=40,
    ),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_any_stream_in_any_pieces_parses_as_the_standard(words: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(words)
    borders = sorted({0, *[min(cut, len(stream)) for cut in cuts], len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(borders)]
    assert parse(*pieces) == parse_by_the_standard(stream)


def test_rejects_an_endless_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    parser = SseParser()
    for _ in range(10):
        assert parser.feed(b"data: " + b"x" * 94) == []
    with pytest.raises(EventTooLargeError, match="exceeds 1000 bytes"):
        parser.feed(b"x")


def test_the_limit_applies_to_single_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    parser = SseParser()
    assert sum(len(parser.feed(b"data: " + b"x" * 900 + b"\n\n")) for _ in range(50)) == 50


def test_an_incomplete_event_grows_in_place() -> None:
    """Copying it on every read would take half a minute for 8 MiB in network segments."""
    parser = SseParser()
    parser.feed(b"data: ")
    held = parser._incomplete
    for _ in range(1000):
        assert parser.feed(b"a" * 1448) == []
    assert parser._incomplete is held
    assert parser.feed(b"\n") == []
    assert parser.feed(b"\n") == [b"a" * 1448_000]
    assert parser.between_events

"""Parsing of HTTP/1.1 responses, however bodies are delimited and reads split them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import JSON_HEAD, STREAMS, chunked, events_of, recorded, recorded_http_errors, shortened, sized

from probe_ext.client.wire import http_framing
from probe_ext.client.wire.http_framing import BadResponseError, Response

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = OK + b"Content-Length: 5\r\n\r\nhello"


def respond(*parts: bytes) -> Response:
    response = Response()
    for second, part in enumerate(parts, start=1):
        response.feed(float(second), part)
    return response


def feed_until_rejected(response: Response, parts: list[bytes], why: str) -> int:
    """Return how many bytes were accepted before the error."""
    accepted = 0
    for part in parts:
        try:
            response.feed(2.0, part)
        except BadResponseError as error:
            message = str(error)
            break
        accepted += len(part)
    else:
        message = "no error"
    assert why in message
    return accepted


def body_of(response: Response) -> bytes:
    return b"".join(data for _, _, data in response.take_pieces())


@pytest.mark.parametrize(
    ("raw", "body", "keep_alive"),
    [
        pytest.param(PLAIN, b"hello", True, id="content length"),
        pytest.param(CHUNKED + chunked(b"hel", b"lo"), b"hello", True, id="chunked"),
        pytest.param(
            CHUNKED + b"3;name=v;x\r\nhel\r\n2\r\nlo\r\n0;last\r\n\r\n", b"hello", True, id="chunk extensions"
        ),
        pytest.param(CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", b"hello", True, id="leading zeros"),
        pytest.param(CHUNKED + chunked(b"x" * 26).replace(b"1a", b"1A"), b"x" * 26, True, id="capital hexadecimal"),
        pytest.param(CHUNKED + chunked(b"hello", last=b"0\r\nX-T: 1\r\nY: 2\r\n\r\n"), b"hello", True, id="a trailer"),
        pytest.param(
            OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False, id="connection: close"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False, id="HTTP/1.0"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
            b"hello",
            True,
            id="HTTP/1.0 kept",
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", True, id="no content"),
        pytest.param(OK + b"Content-Length: 0\r\n\r\n", b"", True, id="empty"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", True, id="no reason phrase"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, b"hello", True, id="interim"),
        pytest.param(
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + PLAIN,
            b"hello",
            True,
            id="several interim",
        ),
    ],
)
def test_a_response_is_complete_exactly_with_its_last_byte(raw: bytes, body: bytes, keep_alive: bool) -> None:
    for cut in range(len(raw) + 1):
        response = respond(raw[:cut])
        assert response.complete is (cut == len(raw)), cut
        if cut < len(raw):
            response.feed(2.0, raw[cut:])
        assert (response.complete, body_of(response), response.keep_alive) == (True, body, keep_alive), cut
    bytewise = respond(*[raw[k : k + 1] for k in range(len(raw))])
    assert (bytewise.complete, body_of(bytewise), bytewise.keep_alive) == (True, body, keep_alive)


@pytest.mark.untraced
@pytest.mark.parametrize("name", STREAMS)
def test_rechunked_recordings_parse_the_same_wherever_they_are_split(name: str) -> None:
    head, recorded_body = recorded(name)
    body = shortened(recorded_body)
    raw = head + chunked(*events_of(body))
    assert body_of(respond(raw)) == body
    for cut in range(1, len(raw)):
        response = respond(raw[:cut], raw[cut:])
        assert body_of(response) == body, cut
        assert response.complete
        assert response.status == 200


@pytest.mark.parametrize("title", recorded_http_errors())
def test_recorded_http_errors_parse_the_same_wherever_they_are_split(title: str) -> None:
    raw = recorded_http_errors()[title]
    body = raw.split(b"\r\n\r\n", 1)[1]
    for cut in range(1, len(raw)):
        response = respond(raw[:cut], raw[cut:])
        assert (response.complete, response.status in {400, 404}, body_of(response)) == (True, True, body), cut
        assert response.headers["server"] == "uvicorn"


def test_a_close_delimited_body_is_complete_at_the_end_of_the_connection() -> None:
    response = respond(OK + b"\r\nhel", b"lo")
    assert not response.complete
    assert response.end_of_stream()
    assert (response.complete, response.keep_alive, body_of(response)) == (True, False, b"hello")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing at all"),
        pytest.param(OK, id="half a head"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\nhello", id="less than its length"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", id="no last chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\n", id="a last chunk without its line"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="an interim response alone"),
    ],
)
def test_a_truncated_response_is_not_complete(raw: bytes) -> None:
    response = respond(raw)
    assert not response.end_of_stream()
    assert not response.complete


def test_ignores_the_head_of_an_interim_response() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\nX-Early: 1\r\n\r\n"
    response = respond(interim, JSON_HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert (response.status, response.headers_at) == (200, 2.0)
    assert response.headers["content-type"] == "application/json"
    assert "x-early" not in response.headers


def test_ignores_trailer_fields() -> None:
    response = respond(CHUNKED + chunked(b"hi", last=b"0\r\nTransfer-Encoding: gzip\r\nContent-Type: x\r\n\r\n"))
    assert response.complete
    assert response.headers == {"transfer-encoding": "chunked"}


def test_pieces_have_the_time_and_number_of_their_read() -> None:
    response = respond(CHUNKED + b"3\r\nabc\r\n3\r\ndef\r\n", b"1\r\ng\r\n", b"0\r\n\r\n")
    assert response.take_pieces() == [(1.0, 1, b"abc"), (1.0, 1, b"def"), (2.0, 2, b"g")]
    assert response.headers_at == 1.0
    assert response.reads == 3


def test_takes_each_piece_once() -> None:
    response = respond(PLAIN)
    assert [data for _, _, data in response.take_pieces()] == [b"hello"]
    assert response.take_pieces() == []


@pytest.mark.parametrize(
    "surplus",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-Other: 1\r\n\r\nbad", id="another response"),
        pytest.param(b"HTTP/1.1 40", id="the beginning of another response"),
        pytest.param(b"<html>", id="HTML"),
    ],
)
@pytest.mark.parametrize("front", [PLAIN, CHUNKED + chunked(b"hello"), OK + b"Connection: close\r\n" + PLAIN[17:]])
def test_bytes_after_a_response_are_ignored_and_end_keep_alive(front: bytes, surplus: bytes) -> None:
    for parts in ([front + surplus], [front[:-2], front[-2:] + surplus]):
        response = respond(*parts)
        assert (response.status, response.complete, body_of(response)) == (200, True, b"hello")
        assert "x-other" not in response.headers
        assert not response.keep_alive
    assert respond(PLAIN).keep_alive


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"<html>hello</html>", "not HTTP", id="HTML without a head"),
        pytest.param(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "not HTTP", id="HTTP/2"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x50", "not HTTP", id="a TLS alert"),
        pytest.param(b"HTTP/1.1 99 Odd\r\n\r\n", "not HTTP", id="a status of two digits"),
        pytest.param(CHUNKED + b"zz\r\nhello\r\n", "not HTTP", id="an invalid chunk size"),
        pytest.param(CHUNKED + b"5\r\nhelloXX", "not HTTP", id="a chunk longer than its size"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\n", "not HTTP", id="a huge chunk size"),
        pytest.param(CHUNKED + b"-5\r\nhello\r\n", "not HTTP", id="a negative chunk size"),
        pytest.param(OK + b"Content-Length: five\r\n\r\n", "not HTTP", id="an invalid length"),
        pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "not HTTP", id="two lengths"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05",
            "another protocol",
            id="another protocol",
        ),
    ],
)
def test_rejects_invalid_http_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(BadResponseError, match=why):
        respond(raw)
    with pytest.raises(BadResponseError, match=why):
        respond(*[raw[k : k + 1] for k in range(len(raw))])


@pytest.mark.parametrize(
    "line", [b"X-%d: a\r\n", b"X-Same: a%d\r\n", b"%dtail"], ids=["many headers", "one header again", "one long line"]
)
def test_rejects_an_endless_head(line: bytes) -> None:
    response = respond(OK + b"X-Long: ")
    fed = feed_until_rejected(response, [line % k for k in range(10**5)], "head exceeds")
    assert http_framing.MAX_HEAD_BYTES - 100 < fed < http_framing.MAX_HEAD_BYTES + 100


def test_rejects_endless_interim_responses() -> None:
    assert feed_until_rejected(Response(), [b"HTTP/1.1 102 Processing\r\n\r\n"] * 10**5, "head exceeds")


def test_a_large_body_in_the_same_read_does_not_count_as_head() -> None:
    response = respond(sized(b"x" * (2 * http_framing.MAX_HEAD_BYTES)))
    assert response.complete


def test_rejects_a_body_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_framing, "MAX_BODY_BYTES", 1000)
    response = respond(CHUNKED)
    feed_until_rejected(response, [b"64\r\n" + b"x" * 100 + b"\r\n"] * 20, "body exceeds 1000 bytes")
    assert 500 < len(body_of(response)) <= 1000


def test_between_chunks_is_right_wherever_reads_split_them() -> None:
    raw = chunked(b"x" * 18, b"y", last=b"")  # sizes of two digits and of one
    boundaries = {0, len(chunked(b"x" * 18, last=b"")), len(raw)}
    for cut in range(len(raw) + 1):
        response = respond(CHUNKED, *([raw[:cut]] if cut else []))
        assert response.between_chunks == (cut in boundaries), cut
        response.feed(3.0, raw[cut:] + chunked(b"z", last=b""))
        assert response.between_chunks, cut
    assert not respond(CHUNKED, chunked(b"x")).between_chunks  # complete
    assert not respond(sized(b"x")).between_chunks


@given(st.lists(st.binary(min_size=1, max_size=12), max_size=8), st.lists(st.integers(0, 300), max_size=6))
def test_any_chunks_in_any_reads_make_the_body(chunks: list[bytes], cuts: list[int]) -> None:
    raw = CHUNKED + chunked(*chunks)
    borders = sorted({0, *[min(cut, len(raw)) for cut in cuts], len(raw)})
    response = respond(*[raw[a:b] for a, b in itertools.pairwise(borders)])
    assert response.complete
    assert body_of(response) == b"".join(chunks)


@given(st.binary(max_size=200), st.sampled_from([b"", OK, CHUNKED, OK + b"\r\n"]))
def test_any_bytes_are_parsed_or_rejected(noise: bytes, front: bytes) -> None:
    message = None
    try:
        respond(front + noise).end_of_stream()
    except BadResponseError as error:
        message = str(error)
    assert message is None or message

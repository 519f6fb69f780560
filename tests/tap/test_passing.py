"""The tap changes nothing: bodies, chunks, headers and ends of replies reach the client as the server sent them."""

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp.web import StreamResponse

from probe_ext.tap.proxy.passing import PassedResponse
from tests.tap_helpers import (
    EVENTS,
    PATIENCE_S,
    STREAM_HEAD,
    USAGE,
    WHOLE_STREAM,
    answering,
    chat,
    chunk,
    event,
    post,
    read_request,
    tap_before,
)


def passed(response: bytes, request: bytes, folder: Path) -> tuple[bytes, bytes, bytes]:
    """Return head and body of what a client gets for a server's response, and the request that the server got."""
    seen: list[bytes] = []

    async def run() -> bytes:
        async with tap_before(answering(response, seen), folder) as tap:
            return await tap.exchange(request)

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    return head, body, seen[0]


def names(head: bytes) -> list[str]:
    return [line.partition(b":")[0].decode() for line in head.split(b"\r\n")[1:]]


def test_a_stream_keeps_its_bytes_and_chunks(tmp_path: Path) -> None:
    _, body, _ = passed(WHOLE_STREAM, post(chat()), tmp_path)
    assert body == WHOLE_STREAM.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n", b"\x00\xff\r\n"),
        (b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 2\r\n\r\nno", b"no"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8bx", b"\x1f\x8bx"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", chunk(b"until the end") + b"0\r\n\r\n"),
    ],
)
def test_any_response_is_passed_on(response: bytes, body: bytes, tmp_path: Path) -> None:
    head, got, _ = passed(response, post(b"any", "/any"), tmp_path)
    status = response.partition(b"\r\n")[0].partition(b" ")[2]
    assert (head.partition(b"\r\n")[0], got) == (b"HTTP/1.1 " + status, body)


def test_a_head_request_keeps_its_content_length_and_has_no_body(tmp_path: Path) -> None:
    head, body, _ = passed(
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
        b"HEAD /x HTTP/1.1\r\nHost: tap\r\nConnection: close\r\n\r\n",
        tmp_path,
    )
    assert b"Content-Length: 50" in head
    assert body == b""


def test_response_headers_are_those_of_the_server(tmp_path: Path) -> None:
    response = (
        b"HTTP/1.1 200 OK\r\nX-Twice: 1\r\nx-twice: 2\r\nX-Own: \xc3\xa9\r\nConnection: keep-alive, X-Hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"
    )
    head, _, _ = passed(response, post(b"", "/any"), tmp_path)
    assert names(head) == ["X-Twice", "x-twice", "X-Own", "Content-Length", "Connection"]
    assert b"X-Own: \xc3\xa9" in head


def test_request_headers_target_and_body_reach_the_server(tmp_path: Path) -> None:
    request = post(
        b"\x1f\x8b\x00 not really gzip", "/a%2Fb/../c;d?x=%20&y=%C3%A9", "Authorization: Bearer sk-1", "X-Twice: a",
        "X-Twice: b", "Content-Encoding: gzip", "TE: trailers", "Proxy-Authorization: Basic x",
    )  # fmt: skip
    _, _, seen = passed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", request, tmp_path)
    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.partition(b"\r\n")[0] == b"POST /a%2Fb/../c;d?x=%20&y=%C3%A9 HTTP/1.1"
    assert sorted(names(head)) == sorted(
        ["Host", "Authorization", "X-Twice", "X-Twice", "Content-Encoding", "Content-Length"]
    )
    assert body == b"\x1f\x8b\x00 not really gzip"


def test_a_chunked_request_stays_chunked(tmp_path: Path) -> None:
    request = b"POST /any HTTP/1.1\r\nHost: tap\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, _, seen = passed(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", request + chunk(b"abc") + b"0\r\n\r\n", tmp_path
    )
    assert seen.endswith(chunk(b"abc") + b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (STREAM_HEAD + chunk(EVENTS[0]), chunk(EVENTS[0])),
        (STREAM_HEAD + chunk(EVENTS[0]) + b"ff\r\ndata: hal", chunk(EVENTS[0]) + chunk(b"data: hal")),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{", b"{"),
    ],
)
def test_a_reply_that_is_cut_off_is_cut_off_for_the_client(response: bytes, kept: bytes, tmp_path: Path) -> None:
    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(response), tmp_path) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.partition(b"\r\n\r\n")[2] == kept  # no last chunk, and less than the content length
    assert outcome == "cut"


def test_an_error_inside_a_stream_is_passed_on_and_recorded(tmp_path: Path) -> None:
    error = b'data: {"error": {"message": "engine died", "code": 500}}\n\n'

    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(STREAM_HEAD + chunk(error) + b"0\r\n\r\n"), tmp_path) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert chunk(error) + b"0\r\n\r\n" in data
    assert outcome == "stream_error"


def test_an_interim_response_of_expect_is_given_by_the_tap(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:
            reader, writer = await tap.client()
            head, _, body = post(chat(), "/v1/chat/completions", "Expect: 100-continue").partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            interim = await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
            return interim + await reader.read()

    assert asyncio.run(run()).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_request(reader)).split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async def run() -> tuple[bytes, list[str]]:
        async with tap_before(script, tmp_path) as tap:
            one = post(b"x", "/one").replace(b"Connection: close\r\n", b"")
            data = await tap.exchange(one + post(b"x", "/two"))
            return data, [line.outcome for line in await tap.recorded(2)]

    data, outcomes = asyncio.run(run())
    assert data.index(b"/one") < data.index(b"/two")
    assert outcomes == ["served", "served"]


def test_a_connection_that_the_server_closed_while_idle_is_replaced(tmp_path: Path) -> None:
    """A client that talks to the server directly would connect anew as well."""
    served: list[int] = []
    closed = asyncio.Event

    async def run() -> tuple[bytes, bytes, list[str]]:
        gate = closed()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            served.append(1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            if len(served) == 1:
                await read_request(reader)  # the second request is read, and not answered
            gate.set()

        async with tap_before(script, tmp_path) as tap:
            first = await tap.exchange(post(b"x", "/any"))
            second = await tap.exchange(post(b"x", "/any"))
            return first, second, [line.outcome for line in await tap.recorded(2)]

    first, second, outcomes = asyncio.run(run())
    assert first.endswith(b"ok")
    assert second.endswith(b"ok")
    assert outcomes == ["served", "served"]


def test_an_encoded_stream_is_passed_on_as_it_is_and_measured(tmp_path: Path) -> None:
    body = gzip.compress(b"".join(EVENTS))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"

    async def run() -> tuple[bytes, list[int | None]]:
        async with tap_before(answering(head % len(body) + body), tmp_path) as tap:
            data = await tap.exchange(post(chat()))
            (line,) = await tap.recorded()
            return data, [line.input_tokens, line.output_tokens]

    data, tokens = asyncio.run(run())
    assert data.endswith(body)
    assert tokens == [USAGE["usage"]["prompt_tokens"], USAGE["usage"]["completion_tokens"]]


def test_an_encoding_that_cannot_be_read_is_no_failure_of_the_reply(tmp_path: Path) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"

    async def run() -> tuple[str, int | None]:
        async with tap_before(answering(response), tmp_path) as tap:
            await tap.exchange(post(chat()))
            (line,) = await tap.recorded()
            return line.outcome, line.output_tokens

    assert asyncio.run(run()) == ("complete", None)


def test_token_events_and_counts_are_recorded(tmp_path: Path) -> None:
    async def run() -> None:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:
            await tap.exchange(post(chat(max_tokens=5, temperature=0)))
            (line,) = await tap.recorded()
            assert (line.endpoint, line.model, line.stream, line.outcome) == ("chat", "m", True, "complete")
            assert (line.input_tokens, line.output_tokens, line.events, line.finish) == (9, 2, 2, "stop")
            assert line.parameters == {"max_tokens": 5, "temperature": 0}
            assert line.ttft is not None
            assert 0 < line.ttft <= line.duration
            assert line.output_characters == len("Hello")

    asyncio.run(run())


def test_events_are_no_token_count(tmp_path: Path) -> None:
    stream = STREAM_HEAD + chunk(event("Hel")) + chunk(event("lo", "stop")) + b"0\r\n\r\n"

    async def run() -> tuple[int | None, int | None]:
        async with tap_before(answering(stream), tmp_path) as tap:
            await tap.exchange(post(chat()))
            (line,) = await tap.recorded()
            return line.output_tokens, line.events

    assert asyncio.run(run()) == (None, 2)


def test_a_head_is_passed_on_before_there_is_a_body(tmp_path: Path) -> None:
    async def run() -> tuple[bytes, bytes]:
        body_may_come = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(STREAM_HEAD)
            await body_may_come.wait()
            writer.write(chunk(EVENTS[1]) + b"0\r\n\r\n")

        async with tap_before(script, tmp_path) as tap:
            reader, writer = await tap.client()
            writer.write(post(chat()))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
            body_may_come.set()
            return head, await reader.read()

    head, body = asyncio.run(run())
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == chunk(EVENTS[1]) + b"0\r\n\r\n"


def test_a_head_goes_out_with_the_first_piece_if_both_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent_before: list[int] = []

    async def write(response: PassedResponse, data: bytes) -> None:
        assert response._req is not None
        sent_before.append(response._req.writer.output_size)
        await StreamResponse.write(response, data)

    monkeypatch.setattr(PassedResponse, "write", write)
    passed(WHOLE_STREAM, post(chat()), tmp_path)
    assert sent_before[0] == 0
    assert all(sent_before[1:])


def test_a_reply_that_breaks_off_behind_its_head_keeps_the_head(tmp_path: Path) -> None:
    head, body, _ = passed(STREAM_HEAD, post(chat()), tmp_path)
    assert (head.partition(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"")

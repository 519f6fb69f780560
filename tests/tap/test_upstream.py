"""The connection to the server: odd answers, connections that are used again, bodies that are still on their way."""

import asyncio
from pathlib import Path

import orjson
import pytest

from probe_ext.client.wire.address import parse_target
from probe_ext.tap.proxy.upstream import Upstream
from probe_ext.tap.proxy.upstream_answer import MAX_HEAD_BYTES
from tests.tap_helpers import (
    EVENTS,
    PATIENCE_S,
    STREAM_HEAD,
    WHOLE_STREAM,
    RunningTap,
    answering,
    chat,
    chunk,
    post,
    read_request,
    tap_before,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def exchanged(response: bytes, folder: Path, request: bytes = b"") -> tuple[bytes, str]:
    """Return what a client gets, and the recorded outcome."""

    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(response), folder) as tap:
            return await tap.exchange(request or post(chat())), await tap.outcome()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("head", "passed"),
    [
        (b"X-Empty:\r\nX-Next: 1\r\n", [b"X-Empty: \r\n", b"X-Next: 1\r\n"]),
        (b"X-Blanks: \t a b \t\r\n", [b"X-Blanks: a b\r\n"]),
        (b"X-Latin: \xe9\r\n", [b"X-Latin: \xc3\xa9\r\n"]),  # RFC 9110 leaves no better choice than one encoding
        (b"Content-Length: 9999\r\n", [b"Transfer-Encoding: chunked\r\n"]),  # chunks win, and only they are passed on
    ],
)
def test_odd_header_lines(head: bytes, passed: list[bytes], tmp_path: Path) -> None:
    data, outcome = exchanged(WHOLE_STREAM.replace(b"\r\n", b"\r\n" + head, 1), tmp_path)
    assert all(line in data for line in passed)
    assert b"9999" not in data
    assert data.endswith(chunk(EVENTS[-1]) + b"0\r\n\r\n")
    assert outcome == "complete"


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"])
def test_interim_answers_are_left_out(interim: bytes, tmp_path: Path) -> None:
    data, outcome = exchanged(interim + interim + WHOLE_STREAM, tmp_path)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Link" not in data
    assert outcome == "complete"


def test_trailers_are_dropped(tmp_path: Path) -> None:
    data, outcome = exchanged(WHOLE_STREAM[:-2] + b"X-Trailer: 1\r\n\r\n", tmp_path)
    assert data.endswith(b"0\r\n\r\n")
    assert b"X-Trailer" not in data
    assert outcome == "complete"


@pytest.mark.parametrize(
    ("response", "kept", "outcome"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b" 502 ", "bad_data"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n", b" 502 ", "bad_data"),
        (b"HTTP/1.1 200 OK\r\nX: half", b" 502 ", "cut"),
        (STREAM_HEAD + chunk(EVENTS[0]) + b"nonsense\r\n", chunk(EVENTS[0]), "bad_data"),
    ],
)
def test_answers_that_are_not_http(response: bytes, kept: bytes, outcome: str, tmp_path: Path) -> None:
    data, recorded = exchanged(response, tmp_path)
    assert kept in data
    assert not data.endswith(b"0\r\n\r\n")
    assert recorded == outcome


def run_with(server: "Server", folder: Path, *requests: bytes) -> tuple[list[bytes], list[str]]:
    """Send requests one after another; return the answers and their outcomes."""

    async def run() -> tuple[list[bytes], list[str]]:
        async with tap_before(server.handle, folder) as tap:
            answers = [await tap.exchange(request) for request in requests]
            return answers, [line.outcome for line in await tap.recorded(len(requests))]

    return asyncio.run(run())


class Server:
    """Answers with the next of some responses, on however many connections."""

    def __init__(self, *responses: bytes) -> None:
        self.responses = list(responses)
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            await read_request(reader)
            writer.write(self.responses.pop(0))


HEAD = b"HEAD /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "request_", "connections"),
    [
        (OK, post(b"x", "/any"), 1),
        (WHOLE_STREAM, post(chat()), 1),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", HEAD, 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", post(b"x", "/any"), 1),
        (OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), post(b"x", "/any"), 2),
        (OK + b"surplus", post(b"x", "/any"), 2),
        (OK + OK, post(b"x", "/any"), 2),
    ],
)
def test_connections_are_used_again_if_nothing_is_left_on_them(
    first: bytes, request_: bytes, connections: int, tmp_path: Path
) -> None:
    server = Server(first, OK)
    answers, outcomes = run_with(server, tmp_path, request_, post(b"x", "/any"))
    assert answers[1].endswith(b"\r\n\r\nok")
    assert server.connections == connections
    assert set(outcomes) <= {"served", "complete"}


def test_a_request_whose_answer_had_begun_is_not_sent_again(tmp_path: Path) -> None:
    class Closing(Server):
        async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            await read_request(reader)
            writer.write(OK)
            await read_request(reader)
            writer.write(b"HTTP/1.1 2")

    server = Closing()
    answers, outcomes = run_with(server, tmp_path, post(b"x", "/any"), post(b"x", "/any"))
    assert answers[1].startswith(b"HTTP/1.1 502 ")
    assert (server.connections, outcomes) == (1, ["served", "cut"])


def test_an_answer_may_come_before_the_end_of_the_request(tmp_path: Path) -> None:
    """As of a server that refuses a long body after its head."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)
        await reader.read()

    async def run() -> bytes:
        async with tap_before(script, tmp_path) as tap:
            reader, writer = await tap.client()
            writer.write(b"POST /any HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"begin"))
            return await asyncio.wait_for(reader.readuntil(b"no"), PATIENCE_S)

    assert asyncio.run(run()).startswith(b"HTTP/1.1 413 Too Large\r\n")


def test_a_client_that_still_sends_does_not_count_as_the_silence_of_the_server(tmp_path: Path) -> None:
    async def send_slowly(tap: RunningTap) -> bytes:
        reader, writer = await tap.client()
        writer.write(b"POST /any HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(6):
            writer.write(chunk(b"x"))
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
        return await asyncio.wait_for(reader.read(), PATIENCE_S)

    async def run() -> bytes:
        async with tap_before(answering(OK), tmp_path, patience=0.4) as tap:
            return await send_slowly(tap)

    assert asyncio.run(run()).endswith(b"ok")


def test_a_list_of_models_that_comes_in_parts_is_read_to_its_end() -> None:
    models = orjson.dumps({"data": [{"id": "x" * 100_000}, {"id": "m", "max_model_len": 4096}]})

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(models) + models[:10])
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(models[10:])
        await writer.drain()
        writer.close()

    async def run() -> int | None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        url = f"http://localhost:{server.sockets[0].getsockname()[1]}"  # of whose addresses only one answers
        upstream = Upstream(parse_target(url), None, connect=PATIENCE_S, silence=PATIENCE_S)
        try:
            return await upstream.max_model_len()
        finally:
            await upstream.close()
            server.close()

    assert asyncio.run(run()) == 4096

"""Servers that fail and clients that misbehave: each gets a proper answer, and has its own recorded outcome."""

import asyncio
import socket
from pathlib import Path

import orjson
import pytest

from tests.tap_helpers import (
    EVENTS,
    PATIENCE_S,
    STREAM_HEAD,
    WHOLE_STREAM,
    Script,
    answering,
    chat,
    chunk,
    post,
    read_request,
    tap_before,
    tap_to,
)

_SHORT_S = 0.3
_UNHURRIED_S = 2.0  # where the server writes: a busy machine must not make it look silent


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await reader.read()


@pytest.mark.parametrize(
    ("script", "status", "kind", "outcome"),
    [
        (silent, 504, "upstream_timeout", "timeout_first"),
        (answering(b""), 502, "upstream_closed", "cut"),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), 502, "upstream_invalid", "bad_data"),
        (answering(b"HTTP/1.1 2x0 OK\r\n\r\n"), 502, "upstream_invalid", "bad_data"),
    ],
)
def test_a_server_without_an_answer(script: Script, status: int, kind: str, outcome: str, tmp_path: Path) -> None:
    async def run() -> tuple[bytes, str]:
        async with tap_before(script, tmp_path, patience=_SHORT_S) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    data, recorded = asyncio.run(run())
    assert data.startswith(b"HTTP/1.1 %d " % status)
    error = orjson.loads(data.partition(b"\r\n\r\n")[2])["error"]
    assert (error["type"], error["code"], recorded) == (kind, status, outcome)


def test_a_server_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens

        async def run() -> tuple[bytes, str]:
            async with tap_to(f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path) as tap:
                return await tap.exchange(post(chat())), await tap.outcome()

        data, outcome = asyncio.run(run())
    assert data.startswith(b"HTTP/1.1 502 ")
    assert b"Connection refused" in data
    assert outcome == "connect_failed"


def test_a_server_that_stalls_in_mid_reply_is_given_up(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(STREAM_HEAD + chunk(EVENTS[0]))
        await reader.read()

    async def run() -> tuple[bytes, str]:
        async with tap_before(script, tmp_path, patience=_SHORT_S) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.endswith(chunk(EVENTS[0]))
    assert outcome == "stalled"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server(status: int, tmp_path: Path) -> None:
    response = b"HTTP/1.1 %d Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno" % status

    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(response), tmp_path) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert b"Retry-After: 7" in data
    assert outcome == "rejected"


def test_a_client_that_hangs_up_ends_the_request_at_the_server(tmp_path: Path) -> None:
    async def run() -> tuple[bool, str]:
        gone = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(STREAM_HEAD + chunk(EVENTS[0]))
            await reader.read()  # ends when the tap closes its connection
            gone.set()

        async with tap_before(script, tmp_path) as tap:
            reader, writer = await tap.client()
            writer.write(post(chat()))
            await reader.readuntil(EVENTS[0])
            writer.close()
            await asyncio.wait_for(gone.wait(), PATIENCE_S)
            return gone.is_set(), await tap.outcome()

    assert asyncio.run(run()) == (True, "hung_up")


def test_a_client_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(STREAM_HEAD)
        while True:
            writer.write(chunk(b"data: " + b"x" * 60_000 + b"\n\n"))
            await writer.drain()

    async def run() -> tuple[str, float]:
        async with tap_before(script, tmp_path, patience=_UNHURRIED_S) as tap:
            _, writer = await tap.client()
            writer.write(post(chat()))
            (line,) = await tap.recorded()
            writer.close()
            return line.outcome, line.client_wait

    outcome, waited = asyncio.run(run())
    assert outcome == "client_stalled"
    assert waited >= 0


def test_a_client_that_stops_sending_gets_408(tmp_path: Path) -> None:
    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(WHOLE_STREAM), tmp_path, patience=_SHORT_S) as tap:
            return await tap.exchange(post(chat())[:-5]), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.startswith(b"HTTP/1.1 408 ")
    assert outcome == "client_stalled"


def test_a_client_that_stops_in_a_long_body_is_given_up(tmp_path: Path) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: tap\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def run() -> tuple[bytes, str]:
        async with tap_before(silent, tmp_path, patience=_SHORT_S) as tap:
            return await tap.exchange(head + chunk(b'{"model": ')), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.startswith(b"HTTP/1.1 408 ")
    assert outcome == "client_stalled"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /x HTTP/1.1\r\nContent-Length: -3\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_garbage_gets_400_and_is_recorded(garbage: bytes, tmp_path: Path) -> None:
    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(b""), tmp_path) as tap:
            return await tap.exchange(garbage), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.split()[1] == b"400"
    assert orjson.loads(data.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request"
    assert outcome == "bad_request"


def test_garbage_after_a_request_does_not_disturb_its_answer(tmp_path: Path) -> None:
    async def run() -> tuple[bytes, list[str]]:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:
            reader, writer = await tap.client()
            writer.write(post(chat()).replace(b"Connection: close\r\n", b""))
            data = await reader.readuntil(b"\r\n0\r\n\r\n")
            writer.write(b"\x00\x01garbage\r\n\r\n")
            return data + await reader.read(), [line.outcome for line in await tap.recorded(2)]

    data, outcomes = asyncio.run(run())
    assert data.count(b"HTTP/1.") == 2
    assert b"".join(map(chunk, EVENTS)) in data
    assert sorted(outcomes) == ["bad_request", "complete"]


def test_a_body_that_is_not_json_is_passed_on(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def run() -> str:
        refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
        async with tap_before(answering(refusal, seen), tmp_path) as tap:
            await tap.exchange(post(b"{not json"))
            return await tap.outcome()

    assert asyncio.run(run()) == "http_error"
    assert seen[0].endswith(b"{not json")


@pytest.mark.untraced
def test_a_huge_body_is_passed_on_without_being_kept(tmp_path: Path) -> None:
    size = 40 * 2**20

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.read(2**16))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def run() -> tuple[int, str | None]:
        async with tap_before(script, tmp_path) as tap:
            await tap.exchange(post(b'"' * size))
            (line,) = await tap.recorded()
            return line.request_bytes, line.prompt

    assert asyncio.run(run()) == (size, None)


def test_a_full_disk_does_not_stop_the_traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[bytes, int, str | None]:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:

            def full(_: object) -> None:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(tap.recorder._lines, "write", full)
            data = await tap.exchange(post(chat()))
            async with asyncio.timeout(PATIENCE_S):
                while not tap.recorder.lost:
                    await asyncio.sleep(0.01)
            return data, tap.recorder.lost, tap.recorder.problem

    data, lost, problem = asyncio.run(run())
    assert data.endswith(b"0\r\n\r\n")
    assert (lost, problem) == (1, "No space left on device")


def test_nothing_secret_is_written(tmp_path: Path) -> None:
    async def run() -> None:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:
            keys = ("Authorization: Bearer sk-secret", "X-Api-Key: sk-secret", "Cookie: sk-secret")
            await tap.exchange(post(chat("my secret text"), "/v1/chat/completions?key=sk-secret", *keys))
            await tap.exchange(b"GET /files/sk-secret HTTP/1.1\r\nHost: tap\r\nConnection: close\r\n\r\n")
            await tap.recorded(2)

    asyncio.run(run())
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b'"endpoint":"chat"' in kept
    assert b"secret" not in kept


def test_text_is_kept_only_if_asked_for(tmp_path: Path) -> None:
    async def run(folder: Path, **head: bool) -> None:
        async with tap_before(answering(WHOLE_STREAM), tmp_path / "unused") as plain:
            url = plain.recorder.head.upstream
            async with tap_to(url, folder, **head) as tap:
                await tap.exchange(post(chat("my text")))
                await tap.recorded()

    asyncio.run(run(tmp_path / "kept", keeps_text=True))
    (line,) = (tmp_path / "kept" / "text.jsonl").read_bytes().splitlines()
    kept = orjson.loads(line)
    assert (kept["number"], kept["reply"], kept["request"]["messages"][0]["content"]) == (0, "Hello", "my text")
    assert b"my text" not in (tmp_path / "kept" / "requests.jsonl").read_bytes()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/realtime HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    ],
)
def test_other_protocols_are_refused_and_recorded(head: bytes, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(WHOLE_STREAM, seen), tmp_path) as tap:
            return await tap.exchange(head), await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.startswith(b"HTTP/1.1 501 ")
    assert b"connect to the server directly" in data
    assert (outcome, seen) == ("not_supported", [])


def test_an_offer_of_http_2_is_left_out_and_the_request_passed_on(tmp_path: Path) -> None:
    seen: list[bytes] = []
    offer = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABk")

    async def run() -> str:
        async with tap_before(answering(WHOLE_STREAM, seen), tmp_path) as tap:
            request = post(chat(), "/v1/chat/completions", *offer)
            await tap.exchange(request.replace(b"Connection: close", b"Connection: close, Upgrade, HTTP2-Settings"))
            return await tap.outcome()

    assert asyncio.run(run()) == "complete"
    assert b"h2c" not in seen[0]
    assert b"HTTP2-Settings" not in seen[0]


def test_what_is_said_of_garbage_does_not_repeat_it(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with tap_before(answering(WHOLE_STREAM), tmp_path) as tap:
            return await tap.exchange(b"BREW /?api_key=sk-secret HTTP/1.1\r\nHost: t\r\n\r\n")

    data = asyncio.run(run())
    assert data.startswith(b"HTTP/1.0 400 ")
    assert b"sk-secret" not in data

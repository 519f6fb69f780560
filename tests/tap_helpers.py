"""A tap between a scripted server and a raw client, all in one event loop: every byte is under the test's control."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from probe_ext.client.wire.address import parse_target
from probe_ext.recording.recorded_request import SCHEMA, RecordedRequest, RecordingHead
from probe_ext.recording.recording_files import read_recording
from probe_ext.tap.proxy.listener import Listener, listening_socket
from probe_ext.tap.proxy.passing import Passing
from probe_ext.tap.proxy.response_cache import ResponseCache
from probe_ext.tap.proxy.upstream import Upstream
from probe_ext.tap.traffic_recorder import Recorder

PATIENCE_S = 120.0
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RunningTap:
    """A tap and its recording."""

    port: int
    recorder: Recorder
    folder: Path
    seen: list[bytes] = field(default_factory=list)
    """requests as the scripted server got them"""

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as a client."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, request: bytes) -> bytes:
        """Send a request and return all bytes until the connection ends."""
        reader, writer = await self.client()
        writer.write(request)
        data = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        return data

    async def recorded(self, number: int = 1, method: str | None = None) -> list[RecordedRequest]:
        """Wait for as many lines of the recording, of one method if given, and return them."""

        def lines() -> list[RecordedRequest]:
            all_lines = read_recording(self.folder).requests()
            return [line for line in all_lines if method in {None, line.method}]

        async with asyncio.timeout(PATIENCE_S):
            while len(known := lines()) < number:
                await asyncio.sleep(0.01)
        return known

    async def outcome(self) -> str:
        """Return the outcome of the only request."""
        (line,) = await self.recorded()
        return line.outcome


@asynccontextmanager
async def tap_before(
    script: Script,
    folder: Path,
    *,
    patience: float = PATIENCE_S,
    cache: ResponseCache | None = None,
    server_tls: ssl.SSLContext | None = None,
    **tls: ssl.SSLContext | None,
) -> AsyncIterator[RunningTap]:
    """Run a tap before a server whose connections are handled by `script`. `tls`: contexts as of `tap_to`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**24, ssl=server_tls)
    scheme = "https" if server_tls else "http"
    url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with tap_to(url, folder, patience=patience, response_cache=cache, **tls) as tap:
        yield tap
    server.close()


@asynccontextmanager
async def tap_to(
    url: str,
    folder: Path,
    *,
    patience: float = PATIENCE_S,
    response_cache: ResponseCache | None = None,
    upstream_tls: ssl.SSLContext | None = None,
    clients_tls: ssl.SSLContext | None = None,
    **head: Any,
) -> AsyncIterator[RunningTap]:
    """Run a tap before a server."""
    recorder = Recorder(folder, RecordingHead(schema=SCHEMA, upstream=url, started_at="2026-01-31T12:00:00Z", **head))
    upstream = Upstream(parse_target(url), upstream_tls, connect=patience, silence=patience)
    listener = Listener(Passing(upstream, recorder, patience, response_cache), recorder)
    listening = listening_socket("127.0.0.1", 0)
    await listener.start(listening, clients_tls)
    try:
        yield RunningTap(listening.getsockname()[1], recorder, folder)
    finally:
        await listener.close()
        await upstream.close()
        recorder.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with a content length or chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return head + await reader.readuntil(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return head + await reader.readexactly(int(length[1]) if length else 0)


def answering(response: bytes, seen: list[bytes] | None = None) -> Script:
    """Return a script that answers each request with the same bytes, and then ends the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        writer.write(response)
        await writer.drain()

    return script


def post(body: dict[str, Any] | bytes, path: str = "/v1/chat/completions", *extra: str) -> bytes:
    """Return a request that ends its connection."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "Host: tap", "Connection: close", f"Content-Length: {len(data)}", *extra]
    return "\r\n".join([*lines, "", ""]).encode() + data


def chat(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """Return the body of a streamed chat request."""
    return {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}], **fields}


def event(text: str, finish: str | None = None, **extra: Any) -> bytes:
    """Return one event of a streamed chat reply."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"id": "c", "choices": [choice], **extra}) + b"\n\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}
EVENTS = (event("Hel"), event("lo", "stop", **USAGE), b"data: [DONE]\n\n")
WHOLE_STREAM = STREAM_HEAD + b"".join(map(chunk, EVENTS)) + b"0\r\n\r\n"

"""A server that replays recorded streams at a steady pace: `python replay.py PORT FOLDER`.

A request for `/NAME` gets the recording NAME, one chunk per event, one event every 20 ms.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

EVERY_S = 0.02
_HEAD = re.compile(rb"^(date|transfer-encoding|content-length|connection):.*\r\n", re.IGNORECASE | re.MULTILINE)


def command(port: int, folder: Path) -> list[str]:
    """Return the command that starts the server; it works in any working directory."""
    return [sys.executable, __file__, str(port), str(folder)]


def parts(path: Path) -> tuple[bytes, list[bytes]]:
    """Return the head and the events of a recording."""
    head, body = path.read_bytes().split(b"\r\n\r\n", 1)
    events = body.partition(b"curl rc=")[0].strip().split(b"\n\n")
    return _HEAD.sub(b"", head + b"\r\n"), [event + b"\n\n" for event in events]


async def serve(port: int, folder: Path) -> None:
    """Serve until the process is ended."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await reader.readuntil(b"\r\n\r\n")) and await _reply(request, reader, writer, folder):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def _reply(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path) -> bool:
    """Answer one request; return whether the connection stays open."""
    length = re.search(rb"content-length: *(\d+)", request, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    method, target, version = request.split(b"\r\n", 1)[0].decode().split(" ")
    path = folder / Path(target).name
    if method == "GET" or not path.is_file():
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        return True
    head, events = parts(path)
    chunked = version != "HTTP/1.0"
    await asyncio.sleep(EVERY_S)
    writer.write(head + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Connection: close\r\n\r\n"))
    for event in events:
        await asyncio.sleep(EVERY_S)
        writer.write(b"%x\r\n%s\r\n" % (len(event), event) if chunked else event)
        await writer.drain()
    writer.write(b"0\r\n\r\n" if chunked else b"")
    await writer.drain()
    return chunked


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))

"""A server that turns between all the tricks of `scripts.hostile.tricks`, for replies and for its own metrics.

The client names the trick in its prompt, `trick=NAME id=N`; the server keeps the ids that it got for each, which a
second try of one request does not change. Prints `listening on URL`; `/fired` returns the numbers.
"""

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter, defaultdict

from scripts.hostile.tricks import HONEST, PATIENCE_S, RUDE, TRICKS, Write, page

_ASKED = re.compile(rb"trick=([a-z ]+) id=([0-9a-f]+)")
_SERIES = 20_000
_LABEL = RUDE.replace("\\", "").replace('"', "'")
_GAUGE = f'vllm:num_requests_running{{engine="{_LABEL}",model_name="m"}} '


class Hostile:
    """What it was asked for, and its next trick with its metrics."""

    def __init__(self) -> None:
        self.asked: dict[str, set[bytes]] = defaultdict(set)
        self.control: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        over = asyncio.Event()

        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            while await self._answer(reader, write, over):
                pass
        writer.transport.abort() if over.is_set() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, write: Write, over: asyncio.Event) -> bool:
        """Answer one request; return whether the connection stays."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        path = head.split(b" ", 2)[1]
        asked = _ASKED.search(body)
        if asked is None:
            return await self._control(path, body, write)
        name = asked[1].decode()
        self.asked[name].add(asked[2])
        gone = asyncio.create_task(_when_gone(reader, over))
        try:
            return bool(await TRICKS[name].send(write, over))
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _control(self, path: bytes, body: bytes, write: Write) -> bool:
        if path == b"/fired":
            fired = {name: len(ids) for name, ids in self.asked.items()}
            await write(page(b"200 OK", json.dumps({"asked": fired, "control": self.control}).encode()))
        elif path.endswith(b"/models"):
            models = [{"id": "m"}, *({"id": f"{RUDE}{n}"} for n in range(1000))]
            await write(page(b"200 OK", json.dumps({"data": models}).encode()))
        elif path.endswith(b"/metrics"):
            kinds = ("good", "drip", "many", "backwards", "silent", "redirect", "bytes", "huge values", "busy")
            kind = kinds[sum(self.control.values()) % len(kinds)]
            self.control[kind] += 1
            return await _metrics(kind, self.control[kind], write)
        elif path.endswith(b"/chat/completions"):  # before the run, probe asks of its own accord: let it start
            await write(HONEST)
        else:
            await write(page(b"404 " + b"\x1b[31m", RUDE.encode()))
        return True


async def _metrics(kind: str, n: int, write: Write) -> bool:
    counter = 'vllm:generation_tokens_total{engine="0",model_name="m"} '
    if kind == "drip":
        await write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(int(PATIENCE_S / 0.2)):
            await write(b"x")
            await asyncio.sleep(0.2)
    elif kind == "silent":
        await asyncio.sleep(PATIENCE_S)
    elif kind == "redirect":
        await write(page(b"302 x", b"", b"Location: /metrics"))
    elif kind == "bytes":
        await write(page(b"200 OK", bytes(range(256)) * 100))
    elif kind == "busy":
        await write(page(b"503 x", b"no"))
    else:
        text = f"{_GAUGE}1.0\n{counter}{n}\n"
        if kind == "many":
            text += "".join(f'vllm:num_requests_waiting{{engine="{n}-{i}"}} {i}\n' for i in range(_SERIES))
        elif kind == "backwards":
            text = f"{_GAUGE}-5\n{counter}{1e6 / n}\n"
        elif kind == "huge values":
            text = f"{_GAUGE}1e308\n{counter}NaN\nvllm:kv_cache_usage_perc +Inf\nvllm:num_requests_waiting -1e308\n"
        await write(page(b"200 OK", text.encode()))
    return kind not in {"drip", "silent"}


async def _when_gone(reader: asyncio.StreamReader, over: asyncio.Event) -> None:
    """Tell the trick that the client has hung up. Clients send nothing before they have their answer."""
    with contextlib.suppress(ConnectionError):
        while not reader.at_eof():
            await asyncio.sleep(0.05)
    over.set()


async def _serve() -> None:
    server = await asyncio.start_server(Hostile().serve, "127.0.0.1", 0, limit=2**20, backlog=1024)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(_serve()))

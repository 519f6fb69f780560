"""What does the tap add to a reply? Direct and tapped requests in turns, in one run; writes `reports/tap/latency.md`.

A server with fixed token times and the tap run in processes of their own, the tap as a user starts it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

REPORT = Path(__file__).parents[2] / "reports" / "tap" / "latency.md"
BLOCKS, ROUNDS, TOKENS, PAUSE_S = 5, 60, 10, 0.003
LOADS = ((1, 60), (4, 60), (1, 8000))
"""requests at once, characters of a prompt"""
_SERVER = f"""
import asyncio
EVENTS = [b'data: {{"choices":[{{"index":0,"delta":{{"content":" w"}},"finish_reason":null}}]}}\\n\\n'] * {TOKENS}
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
async def handle(reader, writer):
    try:
        while True:
            lines = (await reader.readuntil(b"\\r\\n\\r\\n")).lower().split(b"\\r\\n")
            await reader.readexactly(sum(int(l.split(b":")[1]) for l in lines if l.startswith(b"content-length")))
            await asyncio.sleep({PAUSE_S})
            writer.write(HEAD)
            for event in EVENTS:
                writer.write(b"%x\\r\\n%b\\r\\n" % (len(event), event))
                await asyncio.sleep({PAUSE_S})
            writer.write(b"0\\r\\n\\r\\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
async def serve():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
_BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}'


class Client:
    """One connection that is kept."""

    def __init__(self, port: int, prompt: int) -> None:
        self._port, self._body = port, _BODY % (b"a few words " * (prompt // 12))

    async def connect(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> tuple[float, float]:
        """Return seconds to the first event, and to the end, of one reply."""
        began = time.perf_counter()  # noqa: TID251 -- this script measures
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(self._body)
        self._writer.write(head + self._body)
        await self._reader.readuntil(b"data: ")
        first = time.perf_counter() - began  # noqa: TID251
        await self._reader.readuntil(b"\r\n0\r\n\r\n")
        return first, time.perf_counter() - began  # noqa: TID251


async def compare(direct: int, tap: int, at_once: int, prompt: int) -> list[tuple[float, float]]:
    """Return what the tap adds at the median of each block, to the first event and to whole replies."""
    clients = {port: [Client(port, prompt) for _ in range(at_once)] for port in (direct, tap)}
    for client in (*clients[direct], *clients[tap]):
        await client.connect()
        await client.ask()  # the first request of a connection sets up more than later ones
    return [await _block(clients, direct, tap) for _ in range(BLOCKS)]


async def _block(clients: dict[int, list[Client]], direct: int, tap: int) -> tuple[float, float]:
    results: dict[int, list[tuple[float, float]]] = {direct: [], tap: []}
    for n in range(2 * ROUNDS // len(clients[tap])):
        port = (direct, tap)[n % 2]
        results[port] += await asyncio.gather(*(client.ask() for client in clients[port]))
        await asyncio.sleep(PAUSE_S)  # a client that asks again at once would wait for the recording's line
    first, whole = ([median(each[part] for each in results[port]) for port in (direct, tap)] for part in (0, 1))
    return first[1] - first[0], whole[1] - whole[0]


def main() -> int:
    """Measure, print and write; exit code 1 if it is a millisecond or more even in the least disturbed block."""
    with tempfile.TemporaryDirectory() as scratch:
        server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None  # noqa: S101
        direct = int(server.stdout.readline())
        command = ["tap", "--upstream", f"http://127.0.0.1:{direct}", "--port", "0", "--out", f"{scratch}/rec"]
        tap = subprocess.Popen([sys.executable, "-m", "probe_ext", *command], stdout=subprocess.PIPE, text=True)
        try:
            assert tap.stdout is not None  # noqa: S101
            port = int(tap.stdout.readline().split()[2].rstrip(",").rpartition(":")[2])
            rows = [(n, size, asyncio.run(compare(direct, port, n, size))) for n, size in LOADS]
        finally:
            tap.terminate()
            server.terminate()
            tap.wait()
            server.wait()
    text = _page(rows)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")
    print(text)
    return 0 if min(first for first, _ in rows[0][2]) < 0.001 else 1


def _page(rows: list[tuple[int, int, list[tuple[float, float]]]]) -> str:
    load = f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}"
    lines = [
        "# What the tap adds",
        "",
        f"Replies of {TOKENS} events, {PAUSE_S * 1000:.0f} ms apart, from a server with fixed times: direct and",
        f"through `probe tap` in turns, in {BLOCKS} blocks of {ROUNDS} each; tap and server are own processes.",
        f"Measured on {load}: where other work shares the cores, each further process on the way waits",
        "for its turn, so the least disturbed block says what the tap itself takes. Differences of medians.",
        "`make tap-latency` writes this page.",
        "",
        "| at once | characters | first event: best block | … median block | whole reply: best | … median |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for at_once, size, blocks in rows:
        figures = [figure for part in zip(*blocks, strict=True) for figure in (min(part), median(part))]
        cells = " | ".join(f"{1000 * value:+.2f} ms" for value in figures)
        lines.append(f"| {at_once} | {size:,} | {cells} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())

"""What does the tap add to a reply? Direct and tapped requests in turns, in one run; writes `reports/tap/latency.md`.

A server with fixed token times and the tap run in processes of their own, the tap as a user starts it. As a yardstick,
a third path leads through a program that passes bytes on and does nothing else.
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.process_usage import cpu_seconds
from scripts.processes import PROBE, started

REPORT = Path(__file__).parents[2] / "reports" / "tap" / "latency.md"
BLOCKS, ROUNDS, TOKENS, PAUSE_S = 5, 60, 10, 0.003
LOADS = ((1, 60), (1, 8000), (4, 60))
"""requests at once, characters of a prompt"""
MAX_ADDED_S = 0.001
_DIRECT, _FORWARDED, _TAPPED = 0, 1, 2
_SERVER = f"""
import socket, threading, time
EVENT = b'data: {{"choices":[{{"index":0,"delta":{{"content":" w"}},"finish_reason":null}}]}}\\n\\n'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
CHUNK = b"%x\\r\\n%b\\r\\n" % (len(EVENT), EVENT)
PIECES = [HEAD + CHUNK, *[CHUNK] * {TOKENS - 1}, b"0\\r\\n\\r\\n"]
def handle(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as file:
        while file.readline():
            came, length = time.monotonic(), 0
            while (line := file.readline().lower()) != b"\\r\\n":
                length = int(line.split(b":")[1]) if line.startswith(b"content-length") else length
            file.read(length)
            for n, piece in enumerate(PIECES, 1):
                time.sleep(max(0, came + n * {PAUSE_S} - time.monotonic()))
                connection.sendall(piece)
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=handle, args=(server.accept()[0],), daemon=True).start()
"""
_FORWARDER = """
import asyncio, sys
class Server(asyncio.Protocol):
    def __init__(self, client):
        self.client = client
    def data_received(self, data):
        self.client.write(data)
class Client(asyncio.Protocol):
    def connection_made(self, transport):
        self.early, self.server = [], None
        asyncio.ensure_future(self.connect(transport))
    async def connect(self, transport):
        loop = asyncio.get_running_loop()
        self.server, _ = await loop.create_connection(lambda: Server(transport), "127.0.0.1", int(sys.argv[1]))
        self.server.write(b"".join(self.early))
    def data_received(self, data):
        self.server.write(data) if self.server else self.early.append(data)
async def serve():
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
_BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%s"}]}'


@dataclass(frozen=True, slots=True)
class Added:
    """What a way adds to the direct one: medians of the differences in a block, in seconds."""

    first: float
    """to the first event"""
    whole: float
    """to the end of the reply"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One load."""

    at_once: int
    characters: int
    forwarded: list[Added]
    """of each block"""
    tapped: list[Added]
    cpu: float
    """of the tap, in seconds per request"""


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


async def measured(ports: list[int], tap: int, at_once: int, characters: int) -> Measured:
    """Ask in turns through all ways. `ports`: direct, forwarded, tapped; `tap`: id of its process."""
    clients = [[Client(port, characters) for _ in range(at_once)] for port in ports]
    for client in (client for group in clients for client in group):
        await client.connect()
        await client.ask()  # the first request of a connection sets up more than later ones
    before = cpu_seconds(tap)
    blocks = [await _block(clients, ROUNDS // at_once) for _ in range(BLOCKS)]
    cpu = (cpu_seconds(tap) - before) / (BLOCKS * (ROUNDS // at_once) * at_once)
    return Measured(at_once, characters, *([block[way] for block in blocks] for way in (0, 1)), cpu)


async def _block(clients: list[list[Client]], rounds: int) -> tuple[Added, Added]:
    """Return what the forwarder and the tap add, compared with the direct request just before."""
    differences: list[list[tuple[float, float]]] = [[], []]
    for _ in range(rounds):
        results = []
        for group in clients:
            results.append(await asyncio.gather(*(client.ask() for client in group)))
            await asyncio.sleep(PAUSE_S)  # a client that asks again at once would wait for the recording's line
        for way in (_FORWARDED, _TAPPED):
            pairs = zip(results[way], results[_DIRECT], strict=True)
            differences[way - 1] += [(one[0] - two[0], one[1] - two[1]) for one, two in pairs]
    forwarded, tapped = (Added(*(median(each[part] for each in found) for part in (0, 1))) for found in differences)
    return forwarded, tapped


def main() -> int:
    """Measure, print and write; exit code 1 if it is a millisecond or more at the median of all blocks."""
    with tempfile.TemporaryDirectory() as scratch, started(sys.executable, "-c", _SERVER) as (_, direct):
        tap = ("tap", "--upstream", f"http://127.0.0.1:{int(direct)}", "--port", "0", "--out", f"{scratch}/rec")
        with (
            started(sys.executable, "-c", _FORWARDER, direct) as (_, forwarder),
            started(*PROBE, *tap) as (process, listening),
        ):
            ports = [int(direct), int(forwarder), int(listening.split()[2].rstrip(",").rpartition(":")[2])]
            rows = [asyncio.run(measured(ports, process.pid, *load)) for load in LOADS]
    text = _page(rows)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")
    print(text)
    single = [row.tapped for row in rows if row.at_once == 1]
    return 0 if all(median(each.first for each in row) < MAX_ADDED_S for row in single) else 1


def _page(rows: list[Measured]) -> str:
    load = f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}"
    lines = [
        "# What the tap adds",
        "",
        f"Replies of {TOKENS} events, {PAUSE_S * 1000:.0f} ms apart, from a server with fixed times: direct, through a",
        "program that passes bytes on and does nothing else, and through `probe tap`, in turns. Each way is compared",
        f"with the direct request just before, in {BLOCKS} blocks of {ROUNDS} requests each; all are own processes.",
        f"Measured on {load}: where other work shares the cores, each further process on the way waits",
        "for its turn, which the plain program shows. Medians of the differences in a block: the median of all blocks,",
        "and in brackets the best block. CPU time is that of the tap for a whole request, most of which passes while",
        "its client waits for the server. `make tap-latency` writes this page.",
        "",
        "| at once | characters | | first event | whole reply | CPU per request |",
        "|---:|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        plain = " | ".join(_cells(row.forwarded))
        tapped = " | ".join(_cells(row.tapped))
        lines.append(f"| {row.at_once} | {row.characters:,} | bytes only | {plain} | |")
        lines.append(f"| {row.at_once} | {row.characters:,} | tap | {tapped} | {1000 * row.cpu:.1f} ms |")
    return "\n".join([*lines, ""])


def _cells(blocks: list[Added]) -> list[str]:
    parts = ([each.first for each in blocks], [each.whole for each in blocks])
    return [f"{1000 * median(part):+.2f} ms ({1000 * min(part):+.2f})" for part in parts]


if __name__ == "__main__":
    sys.exit(main())

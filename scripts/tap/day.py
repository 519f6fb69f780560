"""A day of an office's traffic in about ten minutes: does the tap's memory stay flat? Writes `reports/tap/day.md`.

Conversations of several turns, single questions, questions that repeat, clients that hang up or send no HTTP, and a
server that fails now and then, pass through `probe tap --cache`. What the tap remembers is bounded by the sizes of its
tables, and grows until they are full. So that this happens early in the day, the tap runs with tables of a tenth of
their size; a second part fills tables of the usual size, without a network, and says what they take.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import orjson

from probe_ext.recording.recorded_request import SCHEMA, RecordingHead
from probe_ext.recording.recording_files import read_recording
from probe_ext.tap.traffic_recorder import Recorder
from scripts.hostile.memory import theil_sen
from scripts.process_usage import cpu_seconds

REPORT = Path(__file__).parents[2] / "reports" / "tap" / "day.md"
REQUESTS, USERS, RATE = 86_400, 64, 150.0
FRACTION = 10
"""by which the tables of the tap are smaller than usual"""
FILLING = 130_000
"""requests after which tables of the usual size are full"""
MAX_GROWTH_MIB = 8.0
"""of a day, by the lower end of the interval"""
_SETTLED_FROM, _SPAN_S = 1 / 3, 5.0
_PORT_LINE = 2
_TABLES = {
    "tap.traffic.prefix_memory": ("MAX_BLOCKS", "MAX_PIECES"),
    "tap.traffic.session_table": ("MAX_HISTORIES",),
    "tap.statistics.repeats": ("MAX_NAMES",),
    "tap.statistics.totals": ("MAX_SESSIONS",),
}
_TAP = """
import importlib, sys
for module, names in {tables}.items():
    found = importlib.import_module("probe_ext." + module)
    for name in names:
        setattr(found, name, getattr(found, name) // {fraction})
from probe_ext.cli import main
sys.exit(main())
"""
_WORDS = (
    *("the", "a", "of", "and", "to", "in", "is", "for", "on", "with", "as", "by", "at", "from", "that", "this", "it"),
    *("be", "are", "was", "garden", "server", "token"),
)


def text(rng: Random, characters: int) -> str:
    """Return some words."""
    return " ".join(rng.choice(_WORDS) + str(rng.randrange(1000)) for _ in range(max(1, characters // 7)))


# --- the server ------------------------------------------------------------------------------------------------------


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(content: str, **extra: object) -> bytes:
    """Return one event of a stream, as a chunk."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": "stop" if extra else None}
    data = b"data: " + orjson.dumps({"choices": [choice], **extra}) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests; one in two hundred is cut off, and one in two hundred fails."""
    rng = Random()  # noqa: S311 - not a secret
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            chance = rng.random()
            if chance < 0.005:
                writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
                continue
            said = f"Certainly {text(rng, 100)}"
            usage = {"prompt_tokens": max(1, length // 4), "completion_tokens": 20}
            if b'"stream":true' in body:
                writer.write(_STREAM_HEAD)
                for n in range(3):
                    writer.write(event(said[n * 40 : n * 40 + 40]))
                    await asyncio.sleep(0.002)
                if chance < 0.01:
                    break
                writer.write(event(said[120:], usage=usage) + b"0\r\n\r\n")
            else:
                message = {"message": {"role": "assistant", "content": said}, "index": 0, "finish_reason": "stop"}
                whole = orjson.dumps({"choices": [message], "usage": usage})
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(whole), whole))
    writer.close()


# --- the clients -----------------------------------------------------------------------------------------------------


@dataclass
class Office:
    """All users together."""

    port: int
    requests: int
    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    start: float = 0.0

    async def next_turn(self) -> bool:
        """Wait until the next request is due; False after the last one."""
        if self.begun >= self.requests:
            return False
        due = self.start + self.begun / RATE
        self.begun += 1
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        return True


class User:
    """Asks in conversations, on a connection that is kept while it lasts."""

    def __init__(self, office: Office, number: int) -> None:
        self._office, self._rng = office, Random(number)  # noqa: S311 - not a secret
        self._key = f"Bearer sk-user-{number}"
        self._system = text(Random(number % 4), 1500)  # noqa: S311 - not a secret
        self._writer: asyncio.StreamWriter | None = None

    async def work(self) -> None:
        """Ask until the day is over."""
        rng = self._rng
        while True:
            messages = [{"role": "system", "content": self._system}]
            for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
                if not await self._office.next_turn():
                    return
                repeated = rng.random() < 0.05
                said = "What is for lunch?" if repeated else text(rng, rng.randrange(20, 600))
                messages.append({"role": "user", "content": said})
                try:
                    how, reply = await self._ask(messages)
                except (ConnectionError, asyncio.IncompleteReadError):
                    how, reply = "ended by the server", ""
                self._office.ended[how] += 1
                if not reply:
                    self._close()
                    break
                messages.append({"role": "assistant", "content": reply})

    async def _ask(self, messages: list[dict[str, str]]) -> tuple[str, str]:
        chance = self._rng.random()
        reader, writer = await self._connection()
        if chance < 0.002:
            writer.write(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
            await reader.read()
            return "no HTTP", ""
        streamed, hangs_up = self._rng.random() < 0.7, chance > 0.99
        body = orjson.dumps({"model": "m", "stream": streamed, "max_tokens": 64, "messages": messages})
        lines = (b"POST /v1/chat/completions?key=secret HTTP/1.1", b"Host: t", b"Authorization: " + self._key.encode())
        writer.write(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body)
        if hangs_up:
            await asyncio.sleep(0.002)
            return "hung up", ""
        return "answered", await _reply(reader)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._office.port)
        return self._reader, self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def _reply(reader: asyncio.StreamReader) -> str:
    """Return the text of an answer; "" of a failure."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"chunked" in head:
        body = await reader.readuntil(b"\r\n0\r\n\r\n")
        found = [orjson.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        return "".join(each["choices"][0]["delta"]["content"] for each in found)
    body = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0))
    return orjson.loads(body)["choices"][0]["message"]["content"] if body[:1] == b"{" and b" 200 " in head else ""


# --- the day ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """The tap's process at one time."""

    days: float
    """of traffic so far"""
    mib: float
    files: int
    """open files and connections"""


@dataclass(frozen=True, slots=True)
class Day:
    """What was measured."""

    samples: list[Sample]
    seconds: float
    cpu: float
    """of the tap, in seconds per request"""
    ended: dict[str, int]
    recorded: int
    lost: int
    outcomes: dict[str, int]
    cached: int


async def live(tap: subprocess.Popen[str], port: int, requests: int) -> tuple[list[Sample], dict[str, int], float]:
    """Let all users work, and look at the tap meanwhile."""
    loop = asyncio.get_running_loop()
    office = Office(port, requests, start=loop.time())
    users = [asyncio.create_task(User(office, number).work()) for number in range(USERS)]
    samples: list[Sample] = []
    while not all(user.done() for user in users):
        await asyncio.sleep(1.0)
        samples.append(_sample(tap.pid, office.begun / REQUESTS))
    await asyncio.gather(*users)
    return samples, dict(office.ended), loop.time() - office.start


def _sample(process: int, days: float) -> Sample:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return Sample(days, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path(f"/proc/{process}/fd").iterdir())))


def run_day(folder: Path, requests: int) -> Day:
    """Run server, tap and clients."""
    server = subprocess.Popen([sys.executable, "-m", __spec__.name, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None  # noqa: S101
    upstream = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    options = ("tap", "--upstream", upstream, "--port", "0", "--out", str(folder), "--cache", "--cache-size", "4MB")
    code = _TAP.format(tables=_TABLES, fraction=FRACTION)
    tap = subprocess.Popen([sys.executable, "-c", code, *options], stdout=subprocess.PIPE, text=True)
    assert tap.stdout is not None  # noqa: S101
    try:
        port = int(tap.stdout.readline().split()[_PORT_LINE].rstrip(",").rpartition(":")[2])
        samples, ended, seconds = asyncio.run(live(tap, port, requests))
        cpu = cpu_seconds(tap.pid) / requests
    finally:
        tap.terminate()
        tap.communicate()
        server.terminate()
        server.wait()
    recording = read_recording(folder)
    lines = list(recording.requests())
    return Day(
        samples=samples,
        seconds=seconds,
        cpu=cpu,
        ended=ended,
        recorded=len(lines),
        lost=recording.head.lost,
        outcomes=dict(Counter(line.outcome for line in lines).most_common()),
        cached=sum(line.cached for line in lines),
    )


def fill(folder: Path, requests: int) -> list[tuple[int, float]]:
    """Record requests whose prompts are all new; return the memory in MiB that was added after some numbers of them."""
    head = RecordingHead(schema=SCHEMA, upstream="http://x", started_at="2026-01-31T12:00:00Z")
    recorder, rng = Recorder(folder, head), Random(1)  # noqa: S311 - not a secret
    before, found = _sample(os.getpid(), 0.0).mib, []
    path, body = "/v1/chat/completions", orjson.dumps({"choices": [{"index": 0, "message": {"content": "Yes"}}]})
    for number in range(1, requests + 1):
        now = time.monotonic()  # noqa: TID251 - as the tap's clock
        messages = [{"role": "user", "content": text(rng, 300)}]
        request = recorder.begin(now, "POST", path, {})
        request.body = orjson.dumps({"model": "m", "messages": messages})
        request.head(200, {"content-type": "application/json"})
        request.piece(now, body)
        recorder.end(request, None)
        recorder.record(request)
        if number % (requests // 10) == 0:
            found.append((number, _sample(os.getpid(), 0.0).mib - before))
    recorder.close()
    return found


def filled_anew(requests: int) -> list[tuple[int, float]]:
    """Fill tables in a process of its own, whose memory is not that of anything before."""
    command = [sys.executable, "-m", __spec__.name, "--fill", "--filling", str(requests)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [(number, mib) for number, mib in found]


def growth(samples: list[Sample]) -> tuple[float, float, float]:
    """Return the slope of the settled part and its 95 % interval, in MiB per day of traffic."""
    settled = samples[int(len(samples) * _SETTLED_FROM) :]
    size = int(_SPAN_S)
    spans = [settled[n : n + size] for n in range(0, len(settled) - size + 1, size)]
    return theil_sen([(median(each.days for each in span), median(each.mib for each in span)) for span in spans])


def main() -> int:
    """Run both parts and write the page; exit code 1 if memory grew or a request was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--filling", type=int, default=FILLING)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fill", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(fill(Path(scratch) / "filled", given.filling)))
        return 0
    if given.serve:
        asyncio.run(_serve())
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        day = run_day(Path(scratch) / "day", given.requests)
        filled = filled_anew(given.filling)
    shown = page(day, filled)
    REPORT.write_text(shown, encoding="utf-8")
    print(shown)
    _, low, _ = growth(day.samples)
    return 0 if low < MAX_GROWTH_MIB and not day.lost and day.recorded >= sum(day.ended.values()) else 1


async def _serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def page(day: Day, filled: list[tuple[int, float]]) -> str:
    """Return the report."""
    slope, low, high = growth(day.samples)
    step = max(1, len(day.samples) // 10)
    shown = [*day.samples[step - 1 :: step][:9], day.samples[-1]]
    minutes, total = day.seconds / 60, sum(day.ended.values())
    lines = [
        "# A day of traffic",
        "",
        f"{total:,} requests of {USERS} users in {minutes:.0f} minutes, one for each second of a day, in",
        "conversations of up to eight turns, with questions that repeat, clients that hang up or send no HTTP, and",
        "a server that fails or cuts replies off. They pass through `probe tap --cache --cache-size 4MB`, with tables",
        f"of a {_ordinal(FRACTION)} of their usual size, so that they are full early. `make tap-day` writes this page.",
        "",
        "| share of the day | memory of the tap | open files and connections |",
        "|---:|---:|---:|",
        *(f"| {100 * each.days:.0f} % | {each.mib:.1f} MiB | {each.files} |" for each in shown),
        "",
        f"After the first third, memory changed by {slope:+.1f} MiB per day (95 % interval: {low:+.1f} to {high:+.1f};",
        f"the median slope between all pairs of {_SPAN_S:.0f}-second spans, Theil-Sen). The tap took",
        f"{1000 * day.cpu:.2f} ms of CPU time per request.",
        "",
        "| what clients saw | |",
        "|---|---:|",
        *(f"| {name} | {number:,} |" for name, number in sorted(day.ended.items())),
        "",
        f"Recorded: {day.recorded:,} requests ({', '.join(f'{name} {n:,}' for name, n in day.outcomes.items())}),",
        f"{day.cached:,} of them answered from the cache; {day.lost} lost. A client that hangs up when its reply is",
        "already on its way to it is recorded as if it had stayed.",
        "",
        "Tables of the usual size, filled with prompts that are all new:",
        "",
        "| requests | memory added |",
        "|---:|---:|",
        *(f"| {number:,} | {mib:.0f} MiB |" for number, mib in filled),
    ]
    return "\n".join([*lines, ""])


def _ordinal(number: int) -> str:
    return {2: "half", 4: "quarter", 5: "fifth", 10: "tenth"}.get(number, f"{number}th")


if __name__ == "__main__":
    sys.exit(main())

"""The tap before a real server, and behind nginx: `python -m scripts.tap.real URL`; writes `reports/tap/real.md`.

The server is a vLLM (`make tap-real` starts one on the CPU). Each kind of request goes through the tap alone, whose
bytes are compared with what the server sent it, and through nginx and the tap. Then a load test runs through both, its
measurements are compared with the recording, the recording with the server's counters, and a workload made of the
recording asks the server again. Exit code 1 if something differs; 77 without nginx.
"""

import asyncio
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.recording.recording_files import read_recording
from scripts.gateways.arms import NGINX
from scripts.processes import HOST, PROBE, free_port, running, started

REPORT = Path(__file__).parents[2] / "reports" / "tap" / "real.md"
LOAD = ("--levels", "2,6", "--hold", "15s", "--settle", "3s", "--input-tokens", "100", "--max-tokens", "60")
AGAIN = ("--levels", "6", "--hold", "15s", "--settle", "3s")
_SKIPPED = 77
_MAX_TTFT_DIFFERENCE_S = 0.005
_POOL = "upstream tap {{ server 127.0.0.1:{port}; keepalive 32; }}"
_SETTINGS = """
proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
"""


@dataclass(slots=True)
class Wire:
    """A program between tap and server that keeps what the server sent."""

    port: int
    sent: bytearray = field(default_factory=bytearray)


@contextmanager
def tapped(server: str, folder: Path) -> Iterator[str]:
    """Run a tap before a server; yields its URL."""
    with started(*PROBE, "tap", "--upstream", server, "--port", "0", "--out", folder) as (_, line):
        yield line.split()[2].rstrip(",")


@contextmanager
def nginx(upstream: int, folder: Path) -> Iterator[str]:
    """Run nginx before a port; yields its URL."""
    folder.mkdir()
    port, file = free_port(), folder / "nginx.conf"
    pool = _POOL.format(port=upstream)
    file.write_text(NGINX.format(folder=folder, port=port, pool=pool, server="tap", settings=_SETTINGS), "utf-8")
    with running(["nginx", "-c", str(file)], port, folder, None, 10):
        yield f"http://{HOST}:{port}"


# --- bytes -----------------------------------------------------------------------------------------------------------


def requests_of_all_kinds(model: str) -> dict[str, bytes]:
    """Return raw requests by what they are."""
    chat = {"model": model, "messages": [{"role": "user", "content": "Tell me about gardens."}]}
    response = {"model": model, "input": "Hi", "max_output_tokens": 20}
    usual = {"temperature": 0, "ignore_eos": True}
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    bodies = {
        "chat, streamed": ("/v1/chat/completions", {**chat, **usual, "max_tokens": 40, **with_usage}),
        "chat, streamed, two choices": ("/v1/chat/completions", {**chat, "n": 2, "max_tokens": 20, **with_usage}),
        "chat, whole": ("/v1/chat/completions", {**chat, **usual, "max_tokens": 40}),
        "completion, streamed": ("/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 20, **with_usage}),
        "completion, whole": ("/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 20}),
        "responses, streamed": ("/v1/responses", {**response, "stream": True}),
        "responses, whole": ("/v1/responses", response),
        "messages, streamed": ("/v1/messages", {**chat, "max_tokens": 20, "stream": True}),
        "messages, whole": ("/v1/messages", {**chat, "max_tokens": 20}),
        "too long a reply (400)": ("/v1/chat/completions", {**chat, "max_tokens": 10**6}),
        "an unknown model (404)": ("/v1/chat/completions", {**chat, "model": "nobody"}),
        "tokenize": ("/tokenize", {"model": model, "prompt": "Hello there"}),
    }
    plain = {"models": "GET /v1/models", "metrics": "GET /metrics", "OPTIONS": "OPTIONS /v1/chat/completions",
             "HEAD": "HEAD /health", "no such path": "GET /nothing"}  # fmt: skip
    found = {name: _raw("POST " + path, json.dumps(body).encode()) for name, (path, body) in bodies.items()}
    found["not JSON (400)"] = _raw("POST /v1/chat/completions", b'{"model": ')
    return found | {name: _raw(line) for name, line in plain.items()}


def _raw(line: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: x", "Connection: close"]
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*head, "", ""]).encode() + body


async def exchange(url: str, request: bytes) -> bytes:
    """Send a request and return all bytes of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(request)
    data = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    return data


@dataclass(frozen=True, slots=True)
class Passed:
    """One kind of request."""

    name: str
    status: str
    size: int
    """bytes of the body"""
    chunks: int
    same: bool
    """whether the tap passed the server's bytes on, in its chunks"""
    behind_nginx: bool
    """whether they were the same with nginx before it, chunks apart"""


async def passed(server: str, folder: Path, model: str) -> list[Passed]:
    """Send every kind of request through the tap, and through nginx and the tap."""
    wire, found = await _wire(int(server.rpartition(":")[2])), []
    with ExitStack() as stack:
        url = stack.enter_context(tapped(f"http://127.0.0.1:{wire.port}", folder / "bytes"))
        front = stack.enter_context(nginx(int(url.rpartition(":")[2]), folder / "nginx-bytes"))
        for name, request in requests_of_all_kinds(model).items():
            await asyncio.sleep(0.1)
            wire.sent.clear()
            got, sent = await exchange(url, request), bytes(wire.sent)
            wire.sent.clear()
            behind, sent_behind = await exchange(front, request), bytes(wire.sent)
            head, _, body = got.partition(b"\r\n\r\n")
            found.append(
                Passed(
                    name=name,
                    status=head.split(b" ", 2)[1].decode(),
                    size=len(body),
                    chunks=len(re.findall(rb"(?:^|\r\n)[0-9a-f]+\r\n", body)) if b"hunked" in head else 0,
                    same=_status_and_body(got) == _status_and_body(sent),
                    behind_nginx=_unchunked(behind) == _unchunked(sent_behind),
                )
            )
    return found


async def _wire(server: int) -> Wire:
    wire = Wire(0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", server)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray | None) -> None:
            while data := await source.read(65536):
                if kept is not None:
                    kept += data
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, to_writer, None), pump(to_reader, writer, wire.sent), return_exceptions=True)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    wire.port = listening.sockets[0].getsockname()[1]
    return wire


def _status_and_body(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], body


def _unchunked(answer: bytes) -> tuple[bytes, bytes]:
    """Return status line and body without its chunks."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"hunked" in head:
        whole = b""
        while (size := int(body.partition(b"\r\n")[0] or b"0", 16)) > 0:
            start = body.index(b"\r\n") + 2
            whole, body = whole + body[start : start + size], body[start + size + 2 :]
        body = whole
    return head.partition(b"\r\n")[0], body


# --- load ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load test through nginx and the tap."""

    replies: int
    recorded: int
    ttft_difference: float
    """median of what the client measured, less that of the recording"""
    tokens: dict[str, tuple[float, float]]
    """recorded, and by the server's counters"""
    outcomes: dict[str, int]
    printed: str
    """what the tap says"""


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 -- of the server that this script was given
        return bytes(answer.read())


def _counters(server: str) -> dict[str, float]:
    text = _get(f"{server}/metrics").decode()
    names = {
        "prompt": "vllm:prompt_tokens_total",
        "generated": "vllm:generation_tokens_total",
        "running": "vllm:num_requests_running",
    }
    return {
        short: sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + "{"))
        for short, name in names.items()
    }


def probe(*words: str) -> int:
    """Run a command of probe."""
    return subprocess.run([sys.executable, "-m", "probe_ext", *words], check=False).returncode


def loaded(server: str, folder: Path, options: tuple[str, ...], name: str) -> Loaded:
    """Load-test through nginx and the tap."""
    recording, out = folder / name, folder / f"{name}-run"
    with tapped(server, recording) as url:
        before = _counters(server)
        with nginx(int(url.rpartition(":")[2]), folder / f"nginx-{name}") as front:
            probe("run", *options, "--host", front, "--ignore-eos", "--out", str(out))
        time.sleep(1.0)
        after = _counters(server)
    lines = [line for line in read_recording(recording).requests() if line.endpoint != "other"]
    with (out / "requests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ttfts = [float(row["first"]) - float(row["sent"]) for row in rows if row["outcome"] == "complete"]
    complete = [line for line in lines if line.outcome == "complete"]
    return Loaded(
        replies=len(rows),
        recorded=len(lines),
        ttft_difference=median(ttfts) - median(line.ttft for line in complete if line.ttft is not None),
        tokens={
            "prompt": (_sum(lines, "input_tokens"), after["prompt"] - before["prompt"]),
            "generated": (_sum(lines, "output_tokens"), after["generated"] - before["generated"]),
        },
        outcomes=dict(Counter(line.outcome for line in lines)),
        printed=_printed(recording),
    )


def _sum(lines: list[RecordedRequest], name: str) -> float:
    return float(sum(getattr(line, name) or 0 for line in lines))


def _printed(recording: Path) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "probe_ext", "tap", str(recording)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, COLUMNS="110"),
    ).stdout
    return "\n".join(line.rstrip() for line in shown.splitlines() if not line.startswith("page: "))


async def hung_up(server: str, folder: Path, model: str) -> tuple[str, float]:
    """Hang up in mid-stream behind nginx; return the recorded outcome, and requests that still run at the server."""
    chat = {"model": model, "messages": [{"role": "user", "content": "Go on for ever"}], "stream": True}
    request = _raw("POST /v1/chat/completions", json.dumps({**chat, "max_tokens": 900, "ignore_eos": True}).encode())
    with (
        tapped(server, folder / "hung-up") as url,
        nginx(int(url.rpartition(":")[2]), folder / "nginx-hung-up") as front,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(front.rpartition(":")[2]))
        writer.write(request)
        await reader.readuntil(b'"content":"')
        writer.close()
        for _ in range(50):
            await asyncio.sleep(0.1)
            lines = list(read_recording(folder / "hung-up").requests())
            if any(line.endpoint == "chat" for line in lines):
                break
        await asyncio.sleep(1.0)
        return lines[-1].outcome, _counters(server)["running"]


def main() -> int:
    """Run everything and write the page."""
    if shutil.which("nginx") is None:
        print("make tap-real: nginx is not installed", file=sys.stderr)
        return _SKIPPED
    server = sys.argv[1].rstrip("/")
    model = json.loads(_get(f"{server}/v1/models"))["data"][0]["id"]
    version = json.loads(_get(f"{server}/version"))["version"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = asyncio.run(passed(server, folder, model))
        outcome = asyncio.run(hung_up(server, folder, model))
        first = loaded(server, folder, ("capacity", *LOAD), "load")
        made = folder / "made.yaml"
        probe("tap", str(folder / "load"), "--to", str(made))
        second = loaded(server, folder, ("--workload", str(made), *AGAIN), "again")
    text = _page(version, rows, outcome, first, second)
    REPORT.write_text(text, encoding="utf-8")
    print(text)
    same = all(row.same and row.behind_nginx for row in rows) and outcome == ("hung_up", 0.0)
    return 0 if same and all(map(_agrees, (first, second))) else 1


def _agrees(load: Loaded) -> bool:
    same = all(recorded == counted for recorded, counted in load.tokens.values())
    return same and abs(load.ttft_difference) < _MAX_TTFT_DIFFERENCE_S


def _page(version: str, rows: list[Passed], outcome: tuple[str, float], first: Loaded, second: Loaded) -> str:
    lines = [
        "# The tap before a real vLLM, and behind nginx",
        "",
        f"vLLM {version} with a tiny model on the CPU. Every kind of request went through `probe tap`, whose answers",
        "were compared with the bytes that the server had sent it, and through nginx and the tap, where nginx chooses",
        "the chunks. `make tap-real` writes this page.",
        "",
        "| request | status | bytes of the body | chunks | same bytes and chunks | same bytes behind nginx |",
        "|---|---:|---:|---:|---|---|",
    ]
    yes = {True: "yes", False: "**no**"}
    for row in rows:
        shown = f"{row.size:,} | {row.chunks or '–'} | {yes[row.same]} | {yes[row.behind_nginx]}"
        lines.append(f"| {row.name} | {row.status} | {shown} |")
    lines += [
        "",
        f"A client behind nginx that hung up in mid-stream was recorded as `{outcome[0]}`; a second later, the server",
        f"had {outcome[1]:.0f} requests running.",
        "",
        "Then `probe run` tested through nginx and the tap, a workload was made of the recording, and `probe run`",
        "tested with that in the same way:",
        "",
        "| | load test | workload made of its recording |",
        "|---|---:|---:|",
    ]
    both = (first, second)
    lines += [
        f"| requests by the client | {first.replies} | {second.replies} |",
        f"| recorded, with those of the checks before the load | {first.recorded} | {second.recorded} |",
        "| median TTFT at the client, less that of the recording | "
        + " | ".join(f"{1000 * load.ttft_difference:+.1f} ms" for load in both)
        + " |",
    ]
    for name in first.tokens:
        cells = [f"{load.tokens[name][0]:,.0f} / {load.tokens[name][1]:,.0f}" for load in both]
        lines.append(f"| {name} tokens: recorded / by the server's counters | {' | '.join(cells)} |")
    outcomes = [", ".join(f"{name} {number}" for name, number in load.outcomes.items()) for load in both]
    lines += [f"| outcomes | {' | '.join(outcomes)} |", "", "What the tap said of the load test:", "", "```"]
    return "\n".join([*lines, first.printed, "```", ""])


if __name__ == "__main__":
    sys.exit(main())

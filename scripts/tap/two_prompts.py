"""The discovery that started it: two prompts in the whole traffic. Writes `reports/tap/two-prompts.md`.

A published report tells of 40 configurations tried over a weekend for 15 %, while all requests consisted of two prompts
of about 15 tokens with `max_tokens: 256`, some of them streamed, on a server that allowed 8,192 tokens: a response
cache answered 50 times as many. Here the same traffic meets the simulated card of that report through a tap: as set
up, tuned, and with the tap's cache.
"""

import asyncio
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.recording.recording_files import read_recording
from probe_ext.sim.profile import Profile, load_profile
from probe_ext.tap.shown.recording_view import RecordingView, recording_view
from probe_ext.tap.shown.terminal_table import table
from probe_ext.tap.statistics.totals import Totals
from scripts.processes import PROBE, started
from tests.in_process_sim import running_sim

REPORT = Path(__file__).parents[2] / "reports" / "tap" / "two-prompts.md"
PROMPTS = ("Write a 50-word story about a robot exploring a garden.", "What is the capital of Singapore?")
PROFILE, CLIENTS, SECONDS = "a100-moe-35b-int4", 64, 30.0
SET_UPS: dict[str, dict[str, Any]] = {
    "as set up (512 sequences, 8,192 batched tokens)": {},
    "`--max-num-batched-tokens 16384`": {"max_num_batched_tokens": 16384},
    "`--max-num-seqs 256`": {"max_num_seqs": 256},
    "`--gpu-memory-utilization 0.9`": {"gpu_memory_utilization": 0.9},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One set-up."""

    name: str
    rate: float
    """answered requests per second"""
    view: RecordingView


async def _blast(url: str, model: str) -> None:
    """Send requests from so many clients at once, each as soon as it has its reply, for some seconds."""
    stop = asyncio.get_running_loop().time() + SECONDS

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        while asyncio.get_running_loop().time() < stop:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": PROMPTS[number % 2]}],
                "max_tokens": 256,
                "stream": number // 2 % 2 == 0,
                "ignore_eos": True,
            }
            number += 1
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session, number) for number in range(CLIENTS)))


def measured(name: str, profile: Profile, *options: str) -> Measured:
    """Run the traffic through a tap, started as a user does."""
    with tempfile.TemporaryDirectory() as scratch, running_sim(loaded_profile=profile) as sim:
        folder = Path(scratch) / "rec"
        command = ["tap", "--upstream", sim.url, "--port", "0", "--out", str(folder), *options]
        with started(*PROBE, *command) as (_, line):
            asyncio.run(_blast(line.split()[2].rstrip(","), profile.model))
        recording, totals = read_recording(folder), Totals()
        requests = list(recording.requests())
        for request in requests:
            totals.add(request)
        head = replace(recording.head, upstream="http://127.0.0.1:8000")
        view = recording_view(head, totals, in_flight=None)
        return Measured(name, _rate(requests), view)


def _rate(requests: list[RecordedRequest]) -> float:
    """Return requests per second after the first reply of each client, none of which a cache can answer.

    Of a request that reaches beyond the window, the part inside counts: replies are long, and end in waves.
    """
    begin = max(request.end for request in requests if request.number < CLIENTS)
    end = max(request.at for request in requests)
    parts = [
        max(0.0, min(request.end, end) - max(request.at, begin)) / request.duration
        for request in requests
        if request.duration
    ]
    return sum(parts) / (end - begin)


def main() -> int:
    """Measure all set-ups and write the page."""
    profile = load_profile(PROFILE)
    rows = [measured(name, replace(profile, **changes)) for name, changes in SET_UPS.items()]
    rows.append(measured("as set up, with the tap's `--cache`", profile, "--cache"))
    text = _page(rows)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")
    print(text)
    return 0


def _page(rows: list[Measured]) -> str:
    first = rows[0]
    lines = [
        "# Two prompts",
        "",
        "What do clients really send? A published report tells of a weekend with 40 configurations for 15 % more",
        "throughput, until the traffic was looked at: two prompts of about 15 tokens with `max_tokens: 256`, some of",
        "them streamed, on a server that allows 8,192 tokens. A response cache in front answered 50 times as many.",
        "",
        f"Here, {CLIENTS} clients send that traffic through `probe tap` to the simulated card of the report",
        f"(`probe sim --profile {PROFILE}`), {SECONDS:g} s for each set-up, counted from each client's second request",
        "on. What the cache answers per second is what Python does on the machine that this ran on, two cores that",
        "other work shared. `make tap-two-prompts` writes this page.",
        "",
        "| set-up | requests/s | |",
        "|---|---:|---:|",
        *(f"| {row.name} | {row.rate:.1f} | {row.rate / first.rate:.2f} × |" for row in rows),
        "",
        "What the tap said of the first one:",
        "",
        "```",
        _printed(first.view),
        "```",
        "",
        "And with its cache:",
        "",
        "```",
        _printed(rows[-1].view),
        "```",
    ]
    return "\n".join([*lines, ""])


def _printed(view: RecordingView) -> str:
    screen = Console(width=110, highlight=False, no_color=True, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    screen.print(table(view))
    return "\n".join(line.rstrip() for line in screen.export_text().splitlines())


if __name__ == "__main__":
    sys.exit(main())

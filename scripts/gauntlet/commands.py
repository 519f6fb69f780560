"""The commands of the contest, for running them and for showing them on the page."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.gauntlet.servers import Arm

ROOT = Path(__file__).parents[2]
WORKLOAD = Path(__file__).with_name("six_servers.yaml")
SETTLE_S, PROBE_EVERY_S, SEED = 5.0, 20.0, 7
WORKERS, CONNECTIONS = 2, 400
"""processes that send, and requests that may be in flight to each server"""
FIRST_PORT = 8001
"""of the commands that are shown, and of WORKLOAD; runs take free ports"""


@dataclass(frozen=True)
class Load:
    """What every server is sent."""

    rate: float
    """requests per second"""
    hold: float
    """seconds"""
    window: float
    """seconds of the rolling window"""


def shown_urls(arms: Sequence[Arm]) -> list[str]:
    """Return the servers' addresses in the commands that are shown."""
    return [f"http://127.0.0.1:{FIRST_PORT + index}" for index in range(len(arms))]


def workload_with(urls: Sequence[str], arms: Sequence[Arm]) -> str:
    """Return WORKLOAD with other addresses, for a file that lies elsewhere."""
    text = WORKLOAD.read_text(encoding="utf-8")
    for shown_url, url in zip(shown_urls(arms), urls, strict=True):
        text = text.replace(f"host: {shown_url}\n", f"host: {url}\n")
    return text.replace("two_prompts.txt", str(WORKLOAD.with_name("two_prompts.txt")))


def load_test(workload: Path, urls: Sequence[str], load: Load) -> list[str]:
    """Return the arguments of `probe` for the load test of all servers, by one swarm."""
    stream = ["--rate", f"{load.rate:g}", "--hold", f"{load.hold:g}s", "--settle", f"{SETTLE_S:g}s"]
    swarm = ["--processes", str(WORKERS), "--max-in-flight", str(CONNECTIONS)]
    options = ["--window", f"{load.window:g}s", "--prompt-seed", str(SEED), "--ignore-eos", "--metrics-every", "2s"]
    gpus = ["--gpu-metrics", ",".join(f"{url}/gpu/metrics" for url in urls)]
    return ["run", "--workload", str(workload), *stream, *swarm, *options, *gpus]


def board(urls: Sequence[str], window: float) -> list[str]:
    """Return the arguments of `probe` for the leaderboard beside the load."""
    times = ["--every", f"{PROBE_EVERY_S:g}s", "--window", f"{window:g}s"]
    return ["scout", *urls, "--watch", *times, "--json"]


def shown(arguments: Sequence[str]) -> str:
    """Return a command as it is typed in the project's folder."""
    return "probe " + shlex.join(argument.removeprefix(f"{ROOT}/") for argument in arguments)


def all_shown(arms: Sequence[Arm], load: Load, outage: float) -> list[str]:
    """Return all commands of the contest as lines for a shell, with ports from `FIRST_PORT` on."""
    urls = shown_urls(arms)
    lines = []
    for index, arm in enumerate(arms):
        lines.append(f"{shown(arm.simulator(FIRST_PORT + index))}   # {arm.name}")
        if arm.becomes:
            stopped = (
                f"   # {arm.name}: {outage:g} s after the server above was stopped, {load.hold / 2:g} s into the load"
            )
            lines.append(f"{shown(arm.simulator(FIRST_PORT + index, arm.becomes))}{stopped}")
    return [*lines, shown(board(urls, load.window)), shown(load_test(WORKLOAD, urls, load))]

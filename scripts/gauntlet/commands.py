"""The commands of the contest, for running them and for showing them on the page."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.gauntlet.servers import Arm

ROOT = Path(__file__).parents[2]
WORKLOAD = Path(__file__).with_name("two_prompts.yaml")
SETTLE_S, PROBE_EVERY_S, SEED = 5.0, 20.0, 7
FIRST_PORT = 8001
"""of the commands that are shown; runs take free ports"""


@dataclass(frozen=True)
class Load:
    """What every server is sent."""

    rate: float
    """requests per second"""
    hold: float
    """seconds"""
    window: float
    """seconds of the rolling window"""


def load_test(url: str, load: Load) -> list[str]:
    """Return the arguments of `probe` for a load test of one server.

    The seed is the same for all servers, so all are sent the same requests at the same moments.
    """
    stream = ["--rate", f"{load.rate:g}", "--hold", f"{load.hold:g}s", "--settle", f"{SETTLE_S:g}s"]
    options = ["--window", f"{load.window:g}s", "--prompt-seed", str(SEED), "--ignore-eos", "--metrics-every", "2s"]
    return ["run", "--workload", str(WORKLOAD), "--host", url, *stream, *options, "--gpu-metrics", f"{url}/gpu/metrics"]


def board(urls: Sequence[str], window: float) -> list[str]:
    """Return the arguments of `probe` for the leaderboard beside the load."""
    times = ["--every", f"{PROBE_EVERY_S:g}s", "--window", f"{window:g}s"]
    return ["scout", *urls, "--watch", *times, "--json"]


def shown(arguments: Sequence[str]) -> str:
    """Return a command as it is typed in the project's folder."""
    return "probe " + shlex.join(argument.removeprefix(f"{ROOT}/") for argument in arguments)


def all_shown(arms: Sequence[Arm], load: Load, outage: float) -> list[str]:
    """Return all commands of the contest as lines for a shell, with ports from `FIRST_PORT` on."""
    urls = [f"http://127.0.0.1:{FIRST_PORT + index}" for index in range(len(arms))]
    lines = []
    for index, arm in enumerate(arms):
        lines.append(f"{shown(arm.simulator(FIRST_PORT + index))}   # {arm.name}")
        if arm.becomes:
            stopped = (
                f"   # {arm.name}: {outage:g} s after the server above was stopped, {load.hold / 2:g} s into the run"
            )
            lines.append(f"{shown(arm.simulator(FIRST_PORT + index, arm.becomes))}{stopped}")
    return [*lines, shown(board(urls, load.window)), f"{shown(load_test(urls[0], load))}   # likewise for each server"]

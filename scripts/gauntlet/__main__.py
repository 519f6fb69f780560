"""``make gauntlet``: six simulated servers under the same open stream, with `probe scout --watch` beside.

A contest of two hours with a rolling window of 15 minutes, in small: durations are divided by ten, ratios are kept, so
an outage of a third of the window is one here, too. Writes ``reports/gauntlet/``.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.gauntlet.page import page
from scripts.gauntlet.servers import ARMS, Server

ROOT = Path(__file__).parents[2]
OUT, RUNS = ROOT / "reports" / "gauntlet", ROOT / "reports" / "runs" / "gauntlet"
WORKLOAD = Path(__file__).with_name("two_prompts.yaml")
SCALE = 10
"""by which all durations are shorter than those that they stand for"""
WINDOW_S, OUTAGE_S = 15 * 60 / SCALE, 5 * 60 / SCALE
SETTLE_S, PROBE_EVERY_S, SEED = 5.0, 30.0, 7


@dataclass(frozen=True)
class Load:
    """What every server is sent."""

    rate: float
    """requests per second"""
    hold: float
    """seconds"""


def main() -> int:
    """Run it, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gauntlet", description=__doc__)
    parser.add_argument("--rate", type=float, default=8.0, help="requests per second to each server")
    parser.add_argument("--hold", type=float, default=5.0 * WINDOW_S, help="seconds")
    parser.add_argument("--page", action="store_true", help="write the page from gauntlet.json, without new runs")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    data = OUT / "gauntlet.json"
    if not given.page:
        data.write_text(json.dumps(measured(Load(given.rate, given.hold)), indent=1) + "\n", encoding="utf-8")
    (OUT / "README.md").write_text(page(json.loads(data.read_text(encoding="utf-8"))), encoding="utf-8")
    print(OUT / "README.md")
    return 0


def measured(load: Load) -> dict[str, Any]:
    """Return the figures of all servers."""
    servers = [Server(arm) for arm in ARMS]
    try:
        for server in servers:
            server.start()
        board = _watch(servers)
        runs = [_run(server, load) for server in servers]
        _switch([server for server in servers if server.arm.becomes], load.hold / 2)
        codes = [run.wait() for run in runs]
        board.send_signal(signal.SIGINT)
        watched = json.loads(board.communicate()[0])
    finally:
        for server in servers:
            server.stop()
    return {
        "rate": load.rate,
        "hold": load.hold,
        "window": WINDOW_S,
        "outage": OUTAGE_S,
        "scale": SCALE,
        "arms": {
            server.arm.name: {"exit_code": code, **_figures(server), "scout": _row(watched, server)}
            for server, code in zip(servers, codes, strict=True)
        },
    }


def _watch(servers: list[Server]) -> "subprocess.Popen[str]":
    urls = [server.url for server in servers]
    times = ["--every", f"{PROBE_EVERY_S:g}s", "--window", f"{WINDOW_S:g}s"]
    command = [sys.executable, "-m", "probe_ext", "scout", *urls, "--watch", *times, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _run(server: Server, load: Load) -> "subprocess.Popen[bytes]":
    """Start a run against one server. The seed is the same for all, so all are sent the same at the same moments."""
    command = [sys.executable, "-m", "probe_ext", "run", "--workload", str(WORKLOAD), "--host", server.url]
    stream = ["--rate", f"{load.rate:g}", "--hold", f"{load.hold:g}s", "--settle", f"{SETTLE_S:g}s"]
    options = ["--window", f"{WINDOW_S:g}s", "--prompt-seed", str(SEED), "--ignore-eos", "--metrics-every", "2s"]
    out = ["--out", str(_directory(server)), "--force"]
    RUNS.mkdir(parents=True, exist_ok=True)
    with (RUNS / f"{_directory(server).name}.log").open("wb") as file:
        return subprocess.Popen([*command, *stream, *options, *out], stdout=file, stderr=subprocess.STDOUT)


def _switch(servers: list[Server], after: float) -> None:
    """Switch servers over `after` so many seconds, as somebody does who restarts one with another model."""
    time.sleep(after)
    for server in servers:
        server.stop()
    time.sleep(OUTAGE_S)
    for server in servers:
        server.start(server.arm.becomes)


def _directory(server: Server) -> Path:
    return RUNS / server.arm.name.replace(" ", "-")


def _figures(server: Server) -> dict[str, Any]:
    """Return what the page needs of a run's capacity.json."""
    capacity = json.loads((_directory(server) / "capacity.json").read_text(encoding="utf-8"))
    rolling = capacity["rolling"]
    level = capacity["levels"][0]
    kept = ("ttft_p50", "ttft_p95", "total_tokens_per_s", "replies", "delayed", "unsent", "sent_rate", "outcomes")
    return {
        "sentence": capacity["sentence"],
        "verdict": capacity["verdict"],
        **{name: level[name] for name in kept},
        "served_share": level["served_share"],
        "moments": rolling["moments"][:: max(1, len(rolling["moments"]) // 60)],
        "outages": rolling["outages"],
        "findings": [one["check"] for one in capacity["findings"] if one["state"] == "fail"],
    }


def _row(watched: dict[str, Any], server: Server) -> dict[str, Any]:
    return next(row for row in watched["servers"] if row["url"] == server.url)


if __name__ == "__main__":
    sys.exit(main())

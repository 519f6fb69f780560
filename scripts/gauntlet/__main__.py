"""``make gauntlet``: six simulated servers under the same open stream, with `probe scout --watch` beside.

A small version of a contest of two hours with a rolling window of 15 minutes: durations are divided by 15 and ratios
are kept, so the outage still lasts a third of the window. Two short runs follow: users who wait while a server hangs,
and a server that has not served a request yet. Writes ``reports/gauntlet/``.
"""

import argparse
import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scripts.gauntlet.commands import Load, board, load_test
from scripts.gauntlet.page import page
from scripts.gauntlet.published import published_beside
from scripts.gauntlet.servers import ARMS, Server
from scripts.gauntlet.waiting import Times, cold_server, hung_server
from scripts.processes import PROBE

ROOT = Path(__file__).parents[2]
OUT, RUNS = ROOT / "reports" / "gauntlet", ROOT / "reports" / "runs" / "gauntlet"
SCALE = 15
"""how many times shorter all durations are than in the contest"""
WINDOW_S, OUTAGE_S = 15 * 60 / SCALE, 5 * 60 / SCALE


def main() -> int:
    """Run it, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gauntlet", description=__doc__)
    parser.add_argument("--rate", type=float, default=8.0, help="requests per second to each server")
    parser.add_argument("--hold", type=float, default=5.0 * WINDOW_S, help="seconds")
    parser.add_argument("--part", choices=("six", "hung", "cold"), help="measure only this part again")
    parser.add_argument("--page", action="store_true", help="write the page from gauntlet.json, without new runs")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    data = OUT / "gauntlet.json"
    known = json.loads(data.read_text(encoding="utf-8")) if data.exists() else {}
    if not given.page:
        parts = (given.part,) if given.part else ("six", "hung", "cold")
        for part in parts:
            known |= measured(part, Load(given.rate, given.hold, WINDOW_S))
            data.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    (OUT / "README.md").write_text(page(known, published_beside(known)), encoding="utf-8")
    print(OUT / "README.md")
    return 0


def measured(part: str, load: Load) -> dict[str, Any]:
    """Return the figures of a part."""
    if part == "six":
        return _six(load)
    if part == "hung":
        return {"hung": hung_server(RUNS / "hung", Times(4.0 * WINDOW_S, WINDOW_S, OUTAGE_S))}
    return {"cold": cold_server(RUNS / "cold")}


def _six(load: Load) -> dict[str, Any]:
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
        "schedule": _schedule(servers),
        "arms": {
            server.arm.name: {"exit_code": code, **_figures(server), "scout": _row(watched, server)}
            for server, code in zip(servers, codes, strict=True)
        },
    }


def _watch(servers: list[Server]) -> "subprocess.Popen[str]":
    command = [*PROBE, *board([server.url for server in servers], WINDOW_S)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _run(server: Server, load: Load) -> "subprocess.Popen[bytes]":
    """Start the load test of one server."""
    RUNS.mkdir(parents=True, exist_ok=True)
    command = [*PROBE, *load_test(server.url, load), "--out", str(_directory(server)), "--force"]
    with (RUNS / f"{_directory(server).name}.log").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def _switch(servers: list[Server], after: float) -> None:
    """Restart servers with their other profile, `after` so many seconds, with an outage in between."""
    time.sleep(after)
    for server in servers:
        server.stop()
    time.sleep(OUTAGE_S)
    for server in servers:
        server.start(server.arm.becomes)


def _directory(server: Server) -> Path:
    return RUNS / server.arm.name.replace(" ", "-")


def _schedule(servers: list[Server]) -> dict[str, float]:
    """Return how well the six streams agree: the same requests, due at the same moments after their starts."""
    starts, dues = [], []
    for server in servers:
        manifest = json.loads((_directory(server) / "run.json").read_text(encoding="utf-8"))
        start = manifest["arrivals"]["segments"][0]["from"]
        with (_directory(server) / "requests.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["scenario"] != "warm-up"]
        starts.append(manifest["started_unix"] + start)
        dues.append([(round(float(row["due"]) - start, 6), row["tokens_meant"]) for row in rows])
    common = min(len(due) for due in dues)
    ordered = [sorted(due)[:common] for due in dues]
    apart = [abs(mine[0] - first[0]) for other in ordered[1:] for mine, first in zip(other, ordered[0], strict=True)]
    return {
        "requests": common,
        "starts_apart": round(max(starts) - min(starts), 3),
        "dues_apart": round(max(apart), 6),
    }


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
        "diagnosis": capacity["diagnosis"],
        "gpu": capacity["gpu"],
    }


def _row(watched: dict[str, Any], server: Server) -> dict[str, Any]:
    return next(row for row in watched["servers"] if row["url"] == server.url)


if __name__ == "__main__":
    sys.exit(main())

"""``make gauntlet``: six simulated servers under one open stream of one swarm, with `probe scout --watch` beside.

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

from probe_ext.measure import clock
from probe_ext.workload.workload_file import folder_of
from scripts.gauntlet.commands import WORKLOAD, Load, board, load_test, workload_with
from scripts.gauntlet.page import page
from scripts.gauntlet.published import published_beside
from scripts.gauntlet.servers import ARMS, Server
from scripts.gauntlet.waiting import Times, cold_server, hung_server
from scripts.processes import PROBE

ROOT = Path(__file__).parents[2]
OUT, RUNS = ROOT / "reports" / "gauntlet", ROOT / "reports" / "runs" / "gauntlet"
SIX = RUNS / "six"
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
        run = _run(servers, load)
        _wait_for_the_middle(run, load)
        _switch([server for server in servers if server.arm.becomes])
        code = run.wait()
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
        "exit_code": code,
        "schedule": _schedule(servers),
        "swarm": _swarm(),
        "arms": {server.arm.name: {**_figures(server), "scout": _row(watched, server)} for server in servers},
    }


def _watch(servers: list[Server]) -> "subprocess.Popen[str]":
    command = [*PROBE, *board([server.url for server in servers], WINDOW_S)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _run(servers: list[Server], load: Load) -> "subprocess.Popen[bytes]":
    """Start the load test of all servers."""
    RUNS.mkdir(parents=True, exist_ok=True)
    urls, workload = [server.url for server in servers], RUNS / WORKLOAD.name
    workload.write_text(workload_with(urls, ARMS), encoding="utf-8")
    command = [*PROBE, *load_test(workload, urls, load), "--out", str(SIX), "--force"]
    with (RUNS / "six.log").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def _wait_for_the_middle(run: "subprocess.Popen[bytes]", load: Load) -> None:
    """Wait until half of the load is over; a run says in its manifest when the first request was due."""
    before = (SIX / "run.json").stat().st_mtime if (SIX / "run.json").exists() else 0.0
    while run.poll() is None:
        time.sleep(1.0)
        file = SIX / "run.json"
        if file.exists() and file.stat().st_mtime > before:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            if segments := manifest["arrivals"]["segments"]:
                began = manifest["started_unix"] + segments[0]["from"]
                time.sleep(max(0.0, began + load.hold / 2 - clock.wall()))
                return
    raise RuntimeError(f"the run ended with exit code {run.returncode}: see {RUNS / 'six.log'}")


def _switch(servers: list[Server]) -> None:
    """Restart servers with their other profile, with an outage in between."""
    for server in servers:
        server.stop()
    time.sleep(OUTAGE_S)
    for server in servers:
        server.start(server.arm.becomes)


def _directory(server: Server) -> Path:
    return SIX / "servers" / folder_of(server.arm.name)


def _schedule(servers: list[Server]) -> dict[str, Any]:
    """Return how well the streams of all servers agree: how many requests each was due, and how far apart in time."""
    dues = []
    for server in servers:
        with (_directory(server) / "requests.csv").open(newline="", encoding="utf-8") as file:
            dues.append(sorted(float(row["due"]) for row in csv.DictReader(file)))
    apart = [abs(mine - first) for other in dues[1:] for mine, first in zip(other, dues[0], strict=False)]
    return {"requests": sorted({len(due) for due in dues}), "dues_apart": round(max(apart), 6)}


def _swarm() -> dict[str, Any]:
    """Return what the load generators were, and whether they kept up."""
    manifest = json.loads((SIX / "run.json").read_text(encoding="utf-8"))
    workers = manifest["workers"]
    busiest = max(worker["cpu_seconds"] / manifest["duration"] for worker in workers)
    lag = max(worker["loop_lag_max"] for worker in workers)
    return {"workers": len(workers), "busiest": round(busiest, 3), "loop_lag_max": round(lag, 4)}


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

"""Beside the six: users who wait for their replies while a server hangs, and the first requests to a cold server."""

import csv
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from scripts.gauntlet.servers import COLD, HUNG, Server
from scripts.processes import PROBE

USERS, TOKENS, PATIENCE_S = 8, 128, 5.0
"""A reply of so many tokens takes 2.6 s with so many users; an attempt is given up after about twice as long."""
START_S = 10.0
WARM_UP_USERS = 64


@dataclass(frozen=True)
class Times:
    """Seconds."""

    hold: float
    window: float
    outage: float


def hung_server(run: Path, times: Times) -> dict[str, Any]:
    """Let users wait while a server hangs for an outage; return what the window showed, and what it should have."""
    server = Server(HUNG)
    server.start()
    try:
        load = [
            "capacity", "-u", str(USERS), "-r", str(USERS), "-t", f"{times.hold:g}s", "--max-tokens", str(TOKENS),
            "--input-tokens", "20", "--ignore-eos", "--warm-up", "off", "--window", f"{times.window:g}s",
            "--timeout-first", f"{PATIENCE_S:g}s", "--timeout-gap", f"{PATIENCE_S:g}s",
        ]  # fmt: skip
        process = subprocess.Popen(
            [*PROBE, "run", *load, "--host", server.url, "--out", str(run), "--force"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(START_S + times.hold / 2)
        server.freeze(frozen=True)
        time.sleep(times.outage)
        server.freeze(frozen=False)
        if process.wait() not in (0, 3):
            raise RuntimeError(f"the run beside the hung server ended with exit code {process.returncode}")
    finally:
        server.stop()
    served, failed = attempt_seconds(run)
    longer = failed / served
    rolling = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["rolling"]
    return {
        "command": " ".join(("probe run", *load)),
        "served_seconds": round(served, 3),
        "failed_seconds": round(failed, 3),
        "computed_share": round(times.outage / (times.outage + longer * (times.window - times.outage)), 4),
        "outages": rolling["outages"],
    }


def attempt_seconds(run: Path) -> tuple[float, float]:
    """Return the mean time of a served reply and of an attempt that came to nothing."""
    with (run / "requests.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        if row["sent"] and row["end"] and row["outcome"] != "ended_by_us":
            times[row["outcome"] == "complete"].append(float(row["end"]) - float(row["sent"]))
    return fmean(times[True]), fmean(times[False])


def cold_server(run: Path) -> dict[str, Any]:
    """Warm a server up that was never asked before, and time a user afterwards."""
    server = Server(COLD)
    server.start()
    try:
        load: Sequence[str] = (
            "baseline", "--warm-up", str(WARM_UP_USERS), "--input-tokens", "20", "--max-tokens", "32", "--ignore-eos",
        )  # fmt: skip
        command = [*PROBE, "run", *load, "--host", server.url, "--out", str(run), "--force"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    finally:
        server.stop()
    warm_up = json.loads((run / "run.json").read_text(encoding="utf-8"))["warm_up"]
    level = json.loads((run / "capacity.json").read_text(encoding="utf-8"))["levels"][0]
    return {
        "command": " ".join(("probe run", *load)),
        "seconds": warm_up["seconds"],
        "slowest_reply": warm_up["slowest_reply"],
        "warm_ttft": level["ttft_p50"],
    }

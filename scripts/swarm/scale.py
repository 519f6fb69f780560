"""How a swarm behaves at size: many workers and users on loopback, counts exact, costs measured.

python -m scripts.swarm.scale --workers 16 --users 10000 --think 34 --minutes 3 --out reports/runs/scale

Writes OUT/scale.json: what was started, counted and served; memory and CPU time of master and workers; messages of each
kind on the master's channel. The exit code is 1 where a count is not exact.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

from scripts.swarm.soak import HERE, PROBE, quick_server
from scripts.swarm.usage import Usage, children, usage

EVERY = 2.0


def main() -> int:
    """Run, sample, compare the counts."""
    parser = argparse.ArgumentParser(prog="python -m scripts.swarm.scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--think", type=float, default=34.0, help="seconds between a user's questions")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--out", type=Path, default=Path("reports/runs/scale"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wire = given.out / "wire.json"
    with quick_server("--pace", "0.01") as (host, server):
        looks, code, wall = _run(given, host, wire)
        with urllib.request.urlopen(f"{host}/served") as answer:  # noqa: S310 - our own server on loopback
            served = json.load(answer)["begun"]
        server_cpu = usage(server.pid)
    found = _found(given, served, looks, wall, json.loads(wire.read_text()))
    found["server_cpu_seconds"] = server_cpu.cpu if server_cpu else None
    (given.out / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return code or int(not found["exact"])


def _run(given: argparse.Namespace, host: str, wire: Path) -> tuple[dict[str, list[Usage]], int, float]:
    rate = max(1, round(given.users / given.think))  # users begin at the pace at which they will ask
    command = [PROBE, "run", HERE / "thinking.py", "--host", host, "--out", given.out, "--force", "--no-report"]
    command += ["-u", given.users, "-r", rate, "-t", f"{int(60 * given.minutes)}s", "--processes", given.workers]
    command += ["--warm-up", "off", "--input-tokens", "30", "--max-tokens", "16", "--timeout-connect", "60s"]
    environment = {**os.environ, "PROBE_THINK": str(given.think), "PROBE_WIRE_FILE": str(wire.resolve())}
    begun = time.monotonic()  # noqa: TID251 - a measuring script of its own
    run = subprocess.Popen([str(part) for part in command], env=environment)
    looks: dict[str, list[Usage]] = {}
    try:
        while run.poll() is None:
            pids = {"master": run.pid} | {f"worker {n}": pid for n, pid in enumerate(children(run.pid), 1)}
            for name, pid in pids.items():
                if one := usage(pid):
                    looks.setdefault(name, []).append(one)
            time.sleep(EVERY)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    return looks, run.returncode, time.monotonic() - begun  # noqa: TID251 - as above


def _found(
    given: argparse.Namespace, served: int, looks: dict[str, list[Usage]], wall: float, wire: dict[str, Any]
) -> dict[str, Any]:
    manifest = json.loads((given.out / "run.json").read_text())
    workers = manifest["workers"]
    with (given.out / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids, outcomes = [row["reply_id"] for row in rows], Counter(row["outcome"] for row in rows)
    with (given.out / "users.csv").open() as file:
        most = max(int(line.split(",")[1]) for line in file.readlines()[1:])
    counts = {
        "served": served,
        "started": sum(w["started"] or 0 for w in workers),
        "rows": len(ids),
        "different": len(set(ids)),
        "by_locust_and_ended_by_us": _locust(given.out) + outcomes["ended_by_us"],
    }
    each = [name for name in looks if name != "master"]
    return {
        "workers": len(workers),
        "users_reached": most,
        "duration": manifest["duration"],
        "counts": counts,
        "outcomes": dict(outcomes),
        "exact": len(set(counts.values())) == 1 and len(workers) == given.workers and most == given.users,
        "replies_per_second": round(len(ids) / manifest["duration"], 1),
        "master": _cost(looks["master"], wall),
        "worker": {key: round(fmean(_cost(looks[name], wall)[key] for name in each), 3) for key in ("mib", "cores")},
        "messages": wire,
        "bytes_in_per_second": round(sum(v["bytes"] for k, v in wire.items() if k.startswith("in ")) / wall),
        "messages_in_per_second": round(sum(v["messages"] for k, v in wire.items() if k.startswith("in ")) / wall, 1),
    }


def _cost(looks: list[Usage], wall: float) -> dict[str, float]:
    return {"mib": round(max(one.rss for one in looks), 1), "cores": round(looks[-1].cpu / wall, 3)}


def _locust(run: Path) -> int:
    lines = (run / "locust_stats.csv").read_text().splitlines()
    return int(next(line for line in lines if ",Aggregated," in line).split(",")[2])


if __name__ == "__main__":
    sys.exit(main())

"""Run a swarm at scale, with many workers and users on loopback; check that counts are exact and measure the cost.

python -m scripts.swarm.scale --workers 16 --users 10000 --think 34 --minutes 3 --out reports/runs/scale

Writes OUT/scale.json: replies started, recorded and served; memory and CPU of master and workers; messages to and from
the master by type. The exit code is 1 if the counts differ.
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

from scripts.process_usage import Usage, children, usage
from scripts.swarm.soak import HERE, PROBE, quick_server

SAMPLE_INTERVAL_S = 2.0
REQUESTS_BEFORE_RUN = 1  # to find out what the server accepts: this one accepts everything


def main() -> int:
    """Run the load test, sample the processes, compare the counts."""
    parser = argparse.ArgumentParser(prog="python -m scripts.swarm.scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=16, help="number of workers [16]")
    parser.add_argument("--users", type=int, default=10_000, help="number of users [10000]")
    parser.add_argument("--think", type=float, default=34.0, help="seconds between a user's requests [34]")
    parser.add_argument("--minutes", type=float, default=3, help="duration of the run [3]")
    parser.add_argument("--out", type=Path, default=Path("reports/runs/scale"), help="run directory")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wire = args.out / "wire.json"
    with quick_server("--pace", "0.01") as (host, server):
        samples, code, wall = _run(args, host, wire)
        with urllib.request.urlopen(f"{host}/served") as answer:  # noqa: S310 - our own server on loopback
            served = json.load(answer)["started"] - REQUESTS_BEFORE_RUN
        server_cpu = usage(server.pid)
    summary = _summary(args, served, samples, wall, json.loads(wire.read_text()))
    summary["server_cpu_seconds"] = server_cpu.cpu if server_cpu else None
    (args.out / "scale.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    return code or int(not summary["exact"])


def _run(args: argparse.Namespace, host: str, wire: Path) -> tuple[dict[str, list[Usage]], int, float]:
    rate = max(1, round(args.users / args.think))  # users start at the rate at which they will send requests
    command = [PROBE, "run", HERE / "thinking.py", "--host", host, "--out", args.out, "--force", "--no-report"]
    command += ["-u", args.users, "-r", rate, "-t", f"{int(60 * args.minutes)}s", "--processes", args.workers]
    command += ["--warm-up", "off", "--input-tokens", "30", "--max-tokens", "16", "--timeout-connect", "60s"]
    environment = {**os.environ, "PROBE_THINK": str(args.think), "PROBE_WIRE_FILE": str(wire.resolve())}
    start = time.monotonic()  # noqa: TID251 - a script outside the package
    run = subprocess.Popen([str(part) for part in command], env=environment)
    samples: dict[str, list[Usage]] = {}
    try:
        while run.poll() is None:
            pids = {"master": run.pid} | {f"worker {n}": pid for n, pid in enumerate(children(run.pid), 1)}
            for name, pid in pids.items():
                if sample := usage(pid):
                    samples.setdefault(name, []).append(sample)
            time.sleep(SAMPLE_INTERVAL_S)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    return samples, run.returncode, time.monotonic() - start  # noqa: TID251 - a script outside the package


def _summary(
    args: argparse.Namespace, served: int, samples: dict[str, list[Usage]], wall: float, wire: dict[str, Any]
) -> dict[str, Any]:
    manifest = json.loads((args.out / "run.json").read_text())
    workers = manifest["workers"]
    with (args.out / "requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    ids, outcomes = [row["reply_id"] for row in rows], Counter(row["outcome"] for row in rows)
    with (args.out / "users.csv").open() as file:
        max_users = max(int(line.split(",")[1]) for line in file.readlines()[1:])
    counts = {
        "served": served,
        "started": sum(w["started"] or 0 for w in workers),
        "rows": len(ids),
        "different": len(set(ids)),
        "by_locust_and_ended_by_us": _locust_count(args.out) + outcomes["ended_by_us"],
    }
    worker_names = [name for name in samples if name != "master"]
    return {
        "workers": len(workers),
        "users_reached": max_users,
        "duration": manifest["duration"],
        "counts": counts,
        "outcomes": dict(outcomes),
        "exact": len(set(counts.values())) == 1 and len(workers) == args.workers and max_users == args.users,
        "replies_per_second": round(len(ids) / manifest["duration"], 1),
        "master": _cost(samples["master"], wall),
        "worker": {
            key: round(fmean(_cost(samples[name], wall)[key] for name in worker_names), 3) for key in ("mib", "cores")
        },
        "messages": wire,
        "bytes_in_per_second": round(sum(v["bytes"] for k, v in wire.items() if k.startswith("in ")) / wall),
        "messages_in_per_second": round(sum(v["messages"] for k, v in wire.items() if k.startswith("in ")) / wall, 1),
    }


def _cost(samples: list[Usage], wall: float) -> dict[str, float]:
    return {"mib": round(max(sample.rss for sample in samples), 1), "cores": round(samples[-1].cpu / wall, 3)}


def _locust_count(run: Path) -> int:
    lines = (run / "locust_stats.csv").read_text().splitlines()
    return int(next(line for line in lines if ",Aggregated," in line).split(",")[2])


if __name__ == "__main__":
    sys.exit(main())

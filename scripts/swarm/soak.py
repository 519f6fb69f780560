"""Check that memory stays bounded: a light load for a long time, with the processes' memory sampled every ten seconds.

python -m scripts.swarm.soak --minutes 35 --out reports/runs/soak

Writes OUT/soak.csv (second, process, MiB, CPU seconds) and OUT/soak.json, and prints the memory growth of each process
over the second half of the run. The exit code is 1 if a process grew faster than --most MiB per hour.

With --lines SECOND, OUT/growth.json lists the lines of code whose allocations in the master grew most from that second
of the run on. Tracing needs memory itself, so the memory of the processes is not meaningful then.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression

from scripts.process_usage import children, usage
from scripts.processes import started

HERE = Path(__file__).parent
PROBE = Path(sys.executable).with_name("probe")
SAMPLE_INTERVAL_S = 10.0
EVALUATED_FROM = 0.5  # fraction of the run; earlier samples are ignored

Sample = tuple[float, str, float, float]
"""Second, process, MiB, CPU seconds."""


@contextmanager
def quick_server(*more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the quick server; yield its URL and process."""
    with started(sys.executable, HERE / "quick_server.py", *more) as (server, line):
        yield line.rpartition(" ")[2].strip(), server


def main() -> int:
    """Run the load test, sample the processes, evaluate the growth."""
    parser = argparse.ArgumentParser(prog="python -m scripts.swarm.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=35, help="duration of the run [35]")
    parser.add_argument("--users", type=int, default=300, help="number of users [300]")
    parser.add_argument("--think", type=float, default=10.0, help="seconds between a user's requests [10]")
    parser.add_argument("--workers", type=int, default=2, help="number of workers [2]")
    parser.add_argument("--most", type=float, default=20.0, help="maximum growth of a process, in MiB per hour [20]")
    parser.add_argument("--out", type=Path, default=Path("reports/runs/soak"), help="run directory")
    parser.add_argument(
        "--lines", type=int, metavar="SECOND", help="also trace memory by line of code, from this second on"
    )
    parser.add_argument("more", nargs="*", help="further options of `probe run`, after --")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with quick_server() as (host, _):
        samples, code = _run(args, host)
    with (args.out / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("t", "process", "rss_mib", "cpu_seconds"), *samples])
    summary = {"minutes": args.minutes, "replies": _replies(args.out), "processes": growth(samples)}
    (args.out / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, process in summary["processes"].items():
        memory = f"{process['first']:.1f} MiB at half-time, {process['last']:.1f} MiB at the end"
        print(f"{name}: {memory}; {process['per_hour']:+.2f} MiB per hour")
    return code or int(any(each["per_hour"] > args.most for each in summary["processes"].values()))


def _run(args: argparse.Namespace, host: str) -> tuple[list[Sample], int]:
    users = HERE / ("growing.py" if args.lines else "thinking.py")
    command = [PROBE, "run", users, "--host", host, "--out", args.out, "--force", "--no-report"]
    command += ["-u", args.users, "-r", "30", "-t", f"{int(60 * args.minutes)}s", "--processes", args.workers]
    command += ["--warm-up", "off", "--input-tokens", "30", "--max-tokens", "16", *args.more]
    environment = {**os.environ, "PROBE_THINK": str(args.think)}
    if args.lines:
        environment |= {
            "PROBE_GROWTH_FILE": str((args.out / "growth.json").resolve()),
            "PYTHONPATH": str(HERE.parents[1]),
        }
        environment["PROBE_GROWTH_SINCE"] = str(args.lines)
    run = subprocess.Popen([str(part) for part in command], env=environment)
    samples: list[Sample] = []
    start = time.monotonic()  # noqa: TID251 - a script outside the package
    try:
        while run.poll() is None:
            now = time.monotonic() - start  # noqa: TID251 - a script outside the package
            samples += _sample(now, run.pid)
            time.sleep(SAMPLE_INTERVAL_S)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    return samples, run.returncode


def _sample(now: float, master: int) -> list[Sample]:
    named = [("master", master), *((f"worker {n}", pid) for n, pid in enumerate(children(master), 1))]
    sampled = [(name, usage(pid)) for name, pid in named]
    return [(round(now, 1), name, round(used.rss, 2), used.cpu) for name, used in sampled if used is not None]


def growth(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Return each process's memory at the start and end of the evaluated part, and its slope there (least squares)."""
    result = {}
    since = EVALUATED_FROM * max(sample[0] for sample in samples)
    for name in sorted({sample[1] for sample in samples}):
        evaluated = [(t, rss) for t, who, rss, _ in samples if who == name and t >= since]
        if len(evaluated) > 2:
            slope = linear_regression(*zip(*evaluated, strict=True)).slope
            result[name] = {"first": evaluated[0][1], "last": evaluated[-1][1], "per_hour": round(3600 * slope, 2)}
    return result


def _replies(run: Path) -> int:
    workers = json.loads((run / "run.json").read_text())["workers"]
    started, rows = (sum(worker[key] for worker in workers) for key in ("started", "rows"))
    if started != rows:
        sys.exit(f"{started} replies started, but {rows} rows recorded")
    return int(rows)


if __name__ == "__main__":
    sys.exit(main())

"""Does memory stay bounded? A light load for a long time, the processes' memory looked at every ten seconds.

python -m scripts.swarm.soak --minutes 35 --out reports/runs/soak

Writes OUT/soak.csv (second, process, MiB, CPU seconds) and OUT/soak.json; prints what each process grew by over the
second half. The exit code is 1 where one grew faster than --most MiB an hour there.

With --lines SECOND, OUT/growth.json says by how much what each line of code holds in the master grew from that second
of the run on. Looking takes memory itself, so what the processes take means little then.
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

from scripts.swarm.usage import children, usage

HERE = Path(__file__).parent
PROBE = Path(sys.executable).with_name("probe")
EVERY = 10.0
SETTLED = 0.5
"""of the time: what is left of it is judged"""

Sample = tuple[float, str, float, float]
"""second, process, MiB, CPU seconds"""


@contextmanager
def quick_server(*more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The server that costs nothing, and its URL."""
    command = [sys.executable, HERE / "quick_server.py", *more]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = server.stdout.readline() if server.stdout else ""
        yield said.rpartition(" ")[2].strip(), server
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Run, sample, judge."""
    parser = argparse.ArgumentParser(prog="python -m scripts.swarm.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=35)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--think", type=float, default=10.0, help="seconds between a user's questions")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--most", type=float, default=20.0, help="MiB an hour that a process may grow by")
    parser.add_argument("--out", type=Path, default=Path("reports/runs/soak"))
    parser.add_argument("--lines", type=int, metavar="SECOND", help="also what grows, line by line, from then on")
    parser.add_argument("more", nargs="*", help="further options of probe run, behind --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with quick_server() as (host, _):
        samples, code = _run(given, host)
    with (given.out / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("t", "process", "rss_mib", "cpu_seconds"), *samples])
    found = {"minutes": given.minutes, "replies": _replies(given.out), "processes": growth(samples)}
    (given.out / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, one in found["processes"].items():
        print(f"{name}: {one['first']:.1f} MiB, {one['last']:.1f} at the end; {one['per_hour']:+.2f} MiB an hour")
    return code or int(any(one["per_hour"] > given.most for one in found["processes"].values()))


def _run(given: argparse.Namespace, host: str) -> tuple[list[Sample], int]:
    users = HERE / ("growing.py" if given.lines else "thinking.py")
    command = [PROBE, "run", users, "--host", host, "--out", given.out, "--force", "--no-report"]
    command += ["-u", given.users, "-r", "30", "-t", f"{int(60 * given.minutes)}s", "--processes", given.workers]
    command += ["--warm-up", "off", "--input-tokens", "30", "--max-tokens", "16", *given.more]
    environment = {**os.environ, "PROBE_THINK": str(given.think)}
    if given.lines:
        environment |= {
            "PROBE_GROWTH_FILE": str((given.out / "growth.json").resolve()),
            "PYTHONPATH": str(HERE.parents[1]),
        }
        environment["PROBE_GROWTH_SINCE"] = str(given.lines)
    run = subprocess.Popen([str(part) for part in command], env=environment)
    samples: list[Sample] = []
    begun = time.monotonic()  # noqa: TID251 - a measuring script of its own
    try:
        while run.poll() is None:
            now = time.monotonic() - begun  # noqa: TID251 - as above
            samples += _look(now, run.pid)
            time.sleep(EVERY)
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    return samples, run.returncode


def _look(now: float, master: int) -> list[Sample]:
    named = [("master", master), *((f"worker {n}", pid) for n, pid in enumerate(children(master), 1))]
    looked = [(name, usage(pid)) for name, pid in named]
    return [(round(now, 1), name, round(one.rss, 2), one.cpu) for name, one in looked if one is not None]


def growth(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Of each process: MiB at the start and the end of the judged part, and its slope there by least squares."""
    found = {}
    since = SETTLED * max(sample[0] for sample in samples)
    for name in sorted({sample[1] for sample in samples}):
        judged = [(t, rss) for t, who, rss, _ in samples if who == name and t >= since]
        if len(judged) > 2:
            slope = linear_regression(*zip(*judged, strict=True)).slope
            found[name] = {"first": judged[0][1], "last": judged[-1][1], "per_hour": round(3600 * slope, 2)}
    return found


def _replies(run: Path) -> int:
    workers = json.loads((run / "run.json").read_text())["workers"]
    started, rows = (sum(worker[key] for worker in workers) for key in ("started", "rows"))
    if started != rows:
        sys.exit(f"{started} replies were started, {rows} are here")
    return int(rows)


if __name__ == "__main__":
    sys.exit(main())

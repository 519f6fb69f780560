"""``python -m scripts.page``: measure time, memory and page size of the report of a large run.

Each run is synthetic. `probe report` evaluates and renders it in a separate process, whose CPU time and peak resident
memory are measured. `--long` adds a gauntlet of ten million requests, whose files take 4 GB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.page import big_run, long_gauntlet

PROBE = Path(sys.executable).with_name("probe")
RUNS: dict[str, Callable[[Path], Path]] = {
    "an hour of 100 users": partial(big_run.build, users=100, replies=16_500),
    "a million replies in an hour": partial(big_run.build, users=1000, replies=1_000_000, engines=4),
}
LONG_RUNS: dict[str, Callable[[Path], Path]] = {
    "a gauntlet of ten million requests in 28 hours": partial(long_gauntlet.build, replies=10_000_000),
}


def main() -> int:
    """Print a table with one row per run."""
    parser = argparse.ArgumentParser(prog="python -m scripts.page", description=__doc__)
    parser.add_argument("--keep", type=Path, help="keep the run directories in this folder")
    parser.add_argument("--long", action="store_true", help="also a gauntlet of ten million requests")
    args = parser.parse_args()
    print("| run | replies | server samples | seconds | CPU seconds | memory, MiB | page, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, build) in enumerate((RUNS | (LONG_RUNS if args.long else {})).items()):
            run = (args.keep or Path(scratch)) / f"run{number}"
            if not (run / "run.json").exists():
                build(run)
            print(f"| {name} | {measure(run)} |", flush=True)
    return 0


def measure(run: Path) -> str:
    """Return a run's cells: size of the input, time and memory, size of the page."""
    start = time.monotonic()  # noqa: TID251 - times a child process
    child = subprocess.Popen([PROBE, "report", run, "--quiet"])
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start  # noqa: TID251 - times a child process
    if (code := os.waitstatus_to_exitcode(status)) not in (0, 3):  # 3: the outage makes the gauntlet invalid
        raise SystemExit(f"probe report {run}: exit code {code}")
    child.returncode = 0
    size = (run / "capacity.html").stat().st_size / 1e6
    cells = [f"{_row_count(run / 'requests.csv'):,}", f"{_row_count(run / 'server.csv'):,}", f"{seconds:.1f}"]
    return " | ".join(
        [*cells, f"{usage.ru_utime + usage.ru_stime:.1f}", f"{usage.ru_maxrss / 1024:,.0f}", f"{size:.2f}"]
    )


def _row_count(path: Path) -> int:
    """Return the number of rows after the header."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1


if __name__ == "__main__":
    sys.exit(main())

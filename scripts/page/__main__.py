"""``python -m scripts.page``: measure time, memory and page size of the report of a large run.

Each run is synthetic. `probe report` evaluates and renders it in a separate process, whose CPU time and peak resident
memory are measured.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.page.big_run import build

PROBE = Path(sys.executable).with_name("probe")
RUNS = {"an hour of 100 users": (100, 16_500, 1), "a million replies in an hour": (1000, 1_000_000, 4)}
"""Users at the last level, replies, engines of the server."""


def main() -> int:
    """Print a table with one row per run."""
    parser = argparse.ArgumentParser(prog="python -m scripts.page", description=__doc__)
    parser.add_argument("--keep", type=Path, help="keep the run directories in this folder")
    args = parser.parse_args()
    print("| run | replies | server samples | seconds | CPU seconds | memory, MiB | page, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, (users, replies, engines)) in enumerate(RUNS.items()):
            run = (args.keep or Path(scratch)) / f"run{number}"
            if not (run / "run.json").exists():
                build(run, users=users, replies=replies, engines=engines)
            print(f"| {name} | {measure(run)} |", flush=True)
    return 0


def measure(run: Path) -> str:
    """Return a run's cells: size of the input, time and memory, size of the page."""
    start = time.monotonic()  # noqa: TID251 - times a child process
    child = subprocess.Popen([PROBE, "report", run, "--quiet"])
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start  # noqa: TID251 - times a child process
    if code := os.waitstatus_to_exitcode(status):
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

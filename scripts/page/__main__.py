"""``python -m scripts.page``: what the report of a big run costs: seconds, memory and the page's size.

Each run is written with a stated course, then judged and rendered by `probe report` as a user would call it, in a
process of its own whose processor time and greatest resident memory the system tells.
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
"""users at the last level, replies, engines of the server"""


def main() -> int:
    """Print a line a run."""
    parser = argparse.ArgumentParser(prog="python -m scripts.page", description=__doc__)
    parser.add_argument("--keep", type=Path, help="keep the runs here")
    given = parser.parse_args()
    print("| run | replies | server samples | seconds | processor s | memory, MiB | page, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, (users, replies, engines)) in enumerate(RUNS.items()):
            run = (given.keep or Path(scratch)) / f"run{number}"
            if not (run / "run.json").exists():
                build(run, users=users, replies=replies, engines=engines)
            print(f"| {name} | {measured(run)} |", flush=True)
    return 0


def measured(run: Path) -> str:
    """One run's cells: how much went in, what it took, how large the page is."""
    began = time.monotonic()  # noqa: TID251 (a script that times a child from outside)
    child = subprocess.Popen([PROBE, "report", run, "--quiet"])
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began  # noqa: TID251 (see above)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"probe report {run}: exit code {code}")
    child.returncode = 0
    size = (run / "capacity.html").stat().st_size / 1e6
    cells = [f"{_lines(run / 'requests.csv'):,}", f"{_lines(run / 'server.csv'):,}", f"{seconds:.1f}"]
    return " | ".join([*cells, f"{used.ru_utime + used.ru_stime:.1f}", f"{used.ru_maxrss / 1024:,.0f}", f"{size:.2f}"])


def _lines(path: Path) -> int:
    """Rows behind the header."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1


if __name__ == "__main__":
    sys.exit(main())

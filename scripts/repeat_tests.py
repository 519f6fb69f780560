"""Run the test suite several times, every other time next to processes that keep the cores busy: `make test-repeat`.

A test that depends on the speed of the machine fails sooner or later. The exit code is 1 if any run failed.

  .venv/bin/python scripts/repeat_tests.py                              the whole suite, ten times
  .venv/bin/python scripts/repeat_tests.py --times 4 -- tests/client    other arguments for pytest
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-q", "-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep that many cores busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def main() -> int:
    """Return 0 if every run passed."""
    parser = argparse.ArgumentParser(description="Run the test suite several times.")
    parser.add_argument("--times", type=int, default=10, help="number of runs [10]")
    parser.add_argument("--busy", type=int, default=2, help="busy processes next to every other run [2]")
    parser.add_argument("arguments", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    results = []
    for number in range(1, options.times + 1):
        processes = options.busy if number % 2 == 0 else 0
        began = time.monotonic()  # noqa: TID251 - times a test run
        with busy(processes):
            done = subprocess.run([*PYTEST, *options.arguments], cwd=ROOT, check=False)
        seconds = time.monotonic() - began  # noqa: TID251 - as above
        outcome = "passed" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"
        results.append(f"run {number} of {options.times}, {processes} busy processes: {outcome} in {seconds:.0f} s")
        print(results[-1], flush=True)
    print("\n".join(["", *results]))
    return int(any("FAILED" in line for line in results))


if __name__ == "__main__":
    sys.exit(main())

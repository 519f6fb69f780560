"""Commands of `probe` in a process of their own, such as a run against a simulated server."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.processes import PROBE, simulated

TIMEOUT_S = 7200.0
"""Several times the longest of these runs, which holds its level for 20 minutes: only one that hangs is ended."""


def simulated_run(server: Sequence[str], load: Sequence[str], out: Path) -> None:
    """Run the load against `probe sim` with these options. StartError if the server does not start, else as `call`."""
    with simulated(*server) as host:
        call(["run", *load, "--host", host, "--out", str(out), "--force"])


def call(arguments: Sequence[str], folder: Path | None = None) -> None:
    """Run a command of `probe`. RuntimeError if its exit code isn't 0, TimeoutExpired after two hours."""
    done = subprocess.run(
        [*PROBE, *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"probe {' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-2000:]}")

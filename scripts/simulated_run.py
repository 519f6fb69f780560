"""One `probe run` against a simulated server of its own, each in its own process."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.processes import PROBE, simulated

RUN_TIMEOUT_S = 7200.0


def simulated_run(server: Sequence[str], load: Sequence[str], out: Path) -> None:
    """Run the load against `probe sim` with these options.

    StartError if the server does not start, RuntimeError if the run ends with an exit code other than 0,
    TimeoutExpired after two hours.
    """
    with simulated(*server) as host:
        command = [*PROBE, "run", *load, "--host", host, "--out", str(out), "--force"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")

"""One `probe run` against a simulated server of its own, each in its own process."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROBE = (sys.executable, "-m", "probe_ext")
RUN_TIMEOUT_S = 7200.0


def simulated_run(server: Sequence[str], load: Sequence[str], out: Path) -> None:
    """Run the load against `probe sim` with these options. RuntimeError if either fails; exit code 1 is a gate."""
    process = subprocess.Popen([*PROBE, "sim", "--port", "0", *server], stdout=subprocess.PIPE, text=True)
    try:
        host = (process.stdout.readline() if process.stdout else "").rpartition(" ")[2].strip()
        command = [*PROBE, "run", *load, "--host", host, "--out", str(out), "--force"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    finally:
        process.terminate()
        process.wait()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")

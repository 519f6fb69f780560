"""Run the trials for real: a simulated server and the probe's command line, each in a process of its own."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.seeds.figures import Figures, figures
from scripts.seeds.trials import Trial

PROBE = Path(sys.executable).with_name("probe")
LONGEST = 900.0
"""seconds that one run may take"""


@dataclass(frozen=True)
class Result:
    """A trial and what the probe measured."""

    trial: Trial
    figures: Figures


def drive(trial: Trial, keep: Path | None = None) -> Result:
    """Serve, measure, read. RuntimeError when the server, or the run, did not come to its end."""
    with tempfile.TemporaryDirectory() as scratch:
        run = (keep or Path(scratch)) / trial.name
        serve = [str(PROBE), "sim", "--profile", trial.model, "--port", "0", "--speed", str(trial.speed)]
        server = subprocess.Popen([*serve, "--personality", trial.personality], stdout=subprocess.PIPE, text=True)
        try:
            host = (server.stdout.readline() if server.stdout else "").rpartition(" ")[2].strip()
            _measure(trial, host, run)
        finally:
            server.terminate()
            server.wait()
        return Result(trial, figures(run, trial.speed))


def _measure(trial: Trial, host: str, run: Path) -> None:
    report = () if trial.table == "mixed" else ("--no-report",)
    command = [PROBE, "run", trial.scenario, "--host", host, "--out", run, "--force", *trial.options, *report]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    if done.returncode:
        raise RuntimeError(f"{trial.name}: code {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")

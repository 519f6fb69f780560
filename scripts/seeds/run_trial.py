"""Run a trial: a simulated server and `probe run`, each in its own process."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.seeds.figures import Figures, figures
from scripts.seeds.trials import Trial

PROBE = Path(sys.executable).with_name("probe")
RUN_TIMEOUT_S = 900.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Result:
    """A trial and what `probe` measured."""

    trial: Trial
    figures: Figures


def run_trial(trial: Trial, keep: Path | None = None) -> Result:
    """Run a trial, again if it got too few replies. RuntimeError if a run fails or all attempts got too few."""
    replies = []
    for _ in range(ATTEMPTS):
        result = _run_once(trial, keep)
        replies.append(int(result.figures["requests"] or 0))
        if replies[-1] >= trial.min_replies:
            return result
    raise RuntimeError(f"{trial.name}: {replies} replies instead of {trial.min_replies}; is the machine too busy?")


def _run_once(trial: Trial, keep: Path | None) -> Result:
    """Start the server, run the load test, read its figures."""
    with tempfile.TemporaryDirectory() as scratch:
        run = (keep or Path(scratch)) / trial.name
        server = subprocess.Popen([PROBE, *trial.server_command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            host = (server.stdout.readline() if server.stdout else "").rpartition(" ")[2].strip()
            _measure(trial, host, run)
        finally:
            server.terminate()
            server.wait()
        return Result(trial, figures(run, trial.speed))


def _measure(trial: Trial, host: str, run: Path) -> None:
    report = () if trial.table == "mixed" else ("--no-report",)
    command = [PROBE, *trial.load_command, "--host", host, "--out", run, "--force", *report]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    if completed.returncode:
        raise RuntimeError(
            f"{trial.name}: exit code {completed.returncode}: {completed.stdout[-500:]} {completed.stderr[-2000:]}"
        )

"""Run a trial: a simulated server and `probe run`, each in its own process."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.seeds.figures import Figures, figures
from scripts.seeds.trials import Trial
from scripts.simulated_run import simulated_run

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
        report = () if trial.table == "mixed" else ("--no-report",)
        simulated_run(trial.server_options, [*trial.load_arguments, *report], run)
        return Result(trial, figures(run, trial.speed))

"""What a worker keeps on its own disk: its rows, and beside them whose and which run's they are."""

import json
from pathlib import Path
from typing import Any

from probe_ext.run.directory import GAPS, REQUESTS
from probe_ext.run.manifest import replace_text


def requests_of(worker: str) -> str:
    """Name of the file of its replies."""
    return REQUESTS.replace(".csv", f"-{worker}.csv")


def gaps_of(worker: str) -> str:
    """Name of the file of its gaps."""
    return GAPS.replace(".csv", f"-{worker}.csv")


def label_of(worker: str) -> str:
    """Name of the file that says which run they belong to."""
    return f"worker-{worker}.json"


def write_label(directory: Path, worker: str, run: str) -> None:
    """Say whose the files are. OSError when the disk refuses."""
    replace_text(directory / label_of(worker), json.dumps({"run": run, "worker": worker}) + "\n")


def run_of(directory: Path, worker: str) -> str | None:
    """The run that the worker's files in this directory belong to; None where nothing says."""
    try:
        label: Any = json.loads((directory / label_of(worker)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    said = label.get("run") if isinstance(label, dict) and label.get("worker") == worker else None
    return said if isinstance(said, str) else None

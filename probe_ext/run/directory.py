"""Where a run's files lie, and how a fresh place for one is found."""

import shutil
from pathlib import Path

from probe_ext.measure import clock

MANIFEST = "run.json"
REQUESTS = "requests.csv"
GAPS = "gaps.csv"
USERS = "users.csv"
SERVER = "server.csv"
SKETCHES = "sketches.jsonl"
LOCUST_PREFIX = "locust"
CAPACITY_JSON = "capacity.json"
CAPACITY_HTML = "capacity.html"
SUMMARY = "summary.md"
JUNIT = "junit.xml"

DEFAULT_PARENT = Path("reports/runs")


class RunDirectoryError(Exception):
    """The directory cannot be used; the message names it and says why."""


def fresh(asked: Path | None, scenario: str, *, force: bool, numbered: bool) -> Path:
    """Make the directory of a new run and return it.

    `asked` is the directory itself; without it, `reports/runs/<UTC time>-<scenario>`. One that holds a run is refused,
    unless `force` empties it, or `numbered` (a further run of one web UI) takes `-2`, `-3`, … behind the name.
    RunDirectoryError when it is refused or cannot be made or written.
    """
    path = asked or DEFAULT_PARENT / f"{clock.utc_compact(clock.wall())}-{scenario}"
    if holds_run(path):
        if numbered or asked is None:
            path = _next_free(path)
        elif force:
            _empty(path)
        else:
            raise RunDirectoryError(f"--out {path}: holds a run already; choose another, or add --force to replace it")
    try:
        path.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except OSError as error:
        raise RunDirectoryError(f"--out {path}: cannot be written: {error.strerror or error}") from error
    return path


def holds_run(path: Path) -> bool:
    """Whether a run's manifest or replies lie in this directory."""
    return (path / MANIFEST).exists() or (path / REQUESTS).exists()


def check_writable(path: Path) -> None:
    """Write and remove a small file. OSError when that fails."""
    trial = path / ".writable"
    trial.write_bytes(b"probe")
    trial.unlink()


def _next_free(path: Path) -> Path:
    n = 2
    while holds_run(path.with_name(f"{path.name}-{n}")):
        n += 1
    return path.with_name(f"{path.name}-{n}")


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()

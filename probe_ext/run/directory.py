"""Where a run's files lie, and how a fresh place for one is found."""

import contextlib
import itertools
from fnmatch import fnmatchcase
from pathlib import Path

from probe_ext.measure import clock

MANIFEST = "run.json"
REQUESTS = "requests.csv"
GAPS = "gaps.csv"
USERS = "users.csv"
SERVER = "server.csv"
SERVER_PROMETHEUS = "server-prometheus.csv"
PROMETHEUS = "server-prometheus.json"
SKETCHES = "sketches.jsonl"
LOCUST_PREFIX = "locust"
PAUSES = "pauses.csv"
CAPACITY_JSON = "capacity.json"
CAPACITY_HTML = "capacity.html"
SUMMARY = "summary.md"
JUNIT = "junit.xml"

_OF_A_RUN = (
    *(MANIFEST, REQUESTS, GAPS, USERS, SERVER, SERVER_PROMETHEUS, PROMETHEUS, SKETCHES),
    *(PAUSES, CAPACITY_JSON, CAPACITY_HTML, SUMMARY, JUNIT),
    *("requests-*.csv", "gaps-*.csv", "worker-*.json", f"{LOCUST_PREFIX}_*.csv"),
    *("*.json.new", "*.jsonl.new", "*.csv.new"),
)
"""names that a run writes, and readers read: `--force` removes these"""

DEFAULT_PARENT = Path("reports/runs")


class RunDirectoryError(Exception):
    """The directory cannot be used; the message names it and says why."""


def fresh(asked: Path | None, scenario: str, *, force: bool, numbered: bool) -> Path:
    """Make the directory of a new run and return it.

    `asked` is the directory itself; without it, `reports/runs/<UTC time>-<scenario>`. One that holds a run is refused,
    unless `force` removes that run's files, or `numbered` (a further run of one web UI) puts `-2`, `-3`, … behind the
    name.
    RunDirectoryError when it is refused or cannot be made or written.
    """
    path = asked or DEFAULT_PARENT / f"{clock.utc_compact(clock.wall())}-{scenario}"
    if not path.name:  # `.`: a further run needs a name to count on
        path = path.absolute()
    try:
        if asked is None:
            path = _made_alone(path)
        elif holds_run(path):
            path = _instead(path, force=force, numbered=numbered)
        path.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except OSError as error:
        raise RunDirectoryError(f"--out {path}: cannot be written: {error.strerror or error}") from error
    return path


def _made_alone(path: Path) -> Path:
    """A folder that nobody else has: two runs may begin within one second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for n in itertools.count(1):
        one = path if n == 1 else path.with_name(f"{path.name}-{n}")
        with contextlib.suppress(FileExistsError):
            one.mkdir()
            break
    return one


def _instead(path: Path, *, force: bool, numbered: bool) -> Path:
    """Where to go when the directory holds a run."""
    if numbered:
        return _next_free(path)
    if not force:
        raise RunDirectoryError(f"--out {path}: holds a run already; choose another, or add --force to replace it")
    _remove_run(path)
    return path


def holds_run(path: Path) -> bool:
    """Whether a run's manifest or replies lie in this directory."""
    return (path / MANIFEST).exists() or (path / REQUESTS).exists()


def check_writable(path: Path) -> None:
    """Write and remove a small file. OSError when that fails."""
    trial = path / ".writable"
    try:
        trial.write_bytes(b"probe")
    finally:
        trial.unlink(missing_ok=True)


def _next_free(path: Path) -> Path:
    n = 2
    while holds_run(path.with_name(f"{path.name}-{n}")):
        n += 1
    return path.with_name(f"{path.name}-{n}")


def _remove_run(path: Path) -> None:
    """Remove the files of a run, and no others: `--out` may name a directory that holds more than a run."""
    for entry in path.iterdir():
        if any(fnmatchcase(entry.name, pattern) for pattern in _OF_A_RUN) and not entry.is_dir():
            entry.unlink()

"""The files of a run directory, and how the directory of a new run is made."""

import contextlib
import fcntl
import itertools
import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from probe_ext.measure import clock
from probe_ext.recording.recording_files import HEAD_FILE, REQUESTS_FILE

MANIFEST = "run.json"
REQUESTS = "requests.csv"
GAPS = "gaps.csv"
USERS = "users.csv"
SERVER = "server.csv"
GPU = "gpu.csv"
SERVER_PROMETHEUS = "server-prometheus.csv"
PROMETHEUS = "server-prometheus.json"
SKETCHES = "sketches.jsonl"
LOCUST_PREFIX = "locust"
PAUSES = "pauses.csv"
CAPACITY_JSON = "capacity.json"
CAPACITY_HTML = "capacity.html"
COMPARE_JSON = "compare.json"
SERVERS = "servers"
"""folder of a run over several servers, with a run directory for each"""
SERVERS_JSON = "servers.json"
SUMMARY = "summary.md"
JUNIT = "junit.xml"

_WORKER_ROWS = "requests-*.csv"
_RUN_FILE_PATTERNS = (
    *(MANIFEST, REQUESTS, GAPS, USERS, SERVER, GPU, SERVER_PROMETHEUS, PROMETHEUS, SKETCHES),
    *(PAUSES, CAPACITY_JSON, CAPACITY_HTML, SUMMARY, JUNIT, SERVERS_JSON),
    *(_WORKER_ROWS, "gaps-*.csv", "worker-*.json", f"{LOCUST_PREFIX}_*.csv"),
    *("*.json.new", "*.jsonl.new", "*.csv.new"),
)
"""files that `--force` removes"""

_OTHER_OUTPUTS = {
    HEAD_FILE: "a recording of probe tap",
    REQUESTS_FILE: "a recording of probe tap",
    COMPARE_JSON: "a comparison",
}
"""by file: what `probe tap` and `probe compare` write"""

MIN_FREE_BYTES = 2_800_000
"""without this much free space no run begins: manifest, some replies and the page take as much (see disk_reserve.py)"""

_locks: dict[Path, int] = {}
"""descriptors of the directories that runs of this process use; the kernel frees them when it ends, however it ends"""

DEFAULT_PARENT = Path("reports/runs")


class RunDirectoryError(Exception):
    """The directory cannot be used; the message names it and the reason."""


def make_run_directory(out: Path | None, scenario: str, *, force: bool, numbered: bool) -> Path:
    """Make the directory of a new run and return it: `out`, or `reports/runs/<UTC time>-<scenario>` if None.

    If `out` already contains a run, `numbered` (another run of the same web UI) appends `-2`, `-3`, … to its name,
    `force` removes the old run's files, which is also done if it has no reply. RunDirectoryError otherwise, and if it
    cannot be written.
    """
    path = out or DEFAULT_PARENT / f"{clock.utc_compact(clock.wall())}-{scenario}"
    if not path.name:  # `.` has no name to append a number to
        path = path.absolute()
    try:
        if out is None:
            path = _make_new(path)
        elif contains_run(path):
            path = _replace_or_number(path, force=force, numbered=numbered)
        elif holds := _other_output(path):
            raise RunDirectoryError(f"--out {path}: contains {holds}, not a run; choose another directory")
        _make(path)
        _lock(path)
        check_writable(path)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise RunDirectoryError(f"--out {path}: cannot be written: {error.strerror or error}") from error
    if free < MIN_FREE_BYTES:
        raise RunDirectoryError(f"--out {path}: the disk is full ({free / 1000:.0f} kB free)")
    return path


def _make(path: Path) -> None:
    """Make a directory and its parents if it does not exist. RunDirectoryError if that fails."""
    if path.is_dir():
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunDirectoryError(f"--out {path}: cannot be created: a file with this name exists") from error
    except OSError as error:
        raise RunDirectoryError(f"--out {path}: cannot be created: {error.strerror or error}") from error


def _other_output(path: Path) -> str | None:
    """Return what another command has written to a directory, into which a run would mix its files."""
    return next((what for name, what in _OTHER_OUTPUTS.items() if (path / name).exists()), None)


def _lock(path: Path) -> None:
    """Hold the directory until this process ends. RunDirectoryError if a run of another process is going on in it."""
    path = path.resolve()
    if path in _locks:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunDirectoryError(f"--out {path}: a run is still going on in it; choose another directory") from error
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    _locks[path] = descriptor


def _make_new(path: Path) -> Path:
    """Make a directory that did not exist, with a number where two runs start within a second."""
    _make(path.parent)
    for n in itertools.count(1):
        candidate = path if n == 1 else path.with_name(f"{path.name}-{n}")
        with contextlib.suppress(FileExistsError):
            candidate.mkdir()
            break
    return candidate


def _replace_or_number(path: Path, *, force: bool, numbered: bool) -> Path:
    if numbered:
        return _next_free(path)
    if not force and not _has_no_reply(path):
        raise RunDirectoryError(
            f"--out {path}: already contains a run; choose another directory, or add --force to replace it"
        )
    _lock(path)
    _remove_run(path)
    return path


def contains_run(path: Path) -> bool:
    """Return whether the directory contains a manifest or replies."""
    return (path / MANIFEST).exists() or (path / REQUESTS).exists()


def _has_no_reply(path: Path) -> bool:
    """Return whether a run is complete, with no row of a reply in it, nor in a worker's own copy."""
    tables = [path / REQUESTS, *path.glob(_WORKER_ROWS)]
    return all((path / name).exists() for name in (MANIFEST, REQUESTS)) and not any(map(_has_rows, tables))


def _has_rows(table: Path) -> bool:
    with table.open("rb") as lines:
        return any(itertools.islice(lines, 1, None))


def check_writable(path: Path) -> None:
    """Write and remove a small file. OSError if that fails."""
    trial = path / ".writable"
    try:
        trial.write_bytes(b"probe")
    finally:
        trial.unlink(missing_ok=True)


def _next_free(path: Path) -> Path:
    n = 2
    while contains_run(path.with_name(f"{path.name}-{n}")):
        n += 1
    return path.with_name(f"{path.name}-{n}")


def _remove_run(path: Path) -> None:
    """Remove the files of a run only: `--out` may name a directory with other contents."""
    for entry in path.iterdir():
        if any(fnmatchcase(entry.name, pattern) for pattern in _RUN_FILE_PATTERNS) and not entry.is_dir():
            entry.unlink()
    servers = path / SERVERS
    if servers.is_dir() and not servers.is_symlink():
        for part in servers.iterdir():
            if part.is_dir() and not part.is_symlink() and contains_run(part):
                _remove_run(part)
                with contextlib.suppress(OSError):  # it has other contents
                    part.rmdir()
        with contextlib.suppress(OSError):
            servers.rmdir()

"""Do all workers have the master's prompt files? A run does not begin before that is known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.link.workers import Worker

Files = Sequence[Mapping[str, Any]]
"""path, field and SHA-256 of each, as prepared for the run"""
TIMEOUT_S = 120.0
_POLL_S = 0.5
_MAX_PROBLEM_LENGTH = 500


def note(worker: Worker, compared: Mapping[str, Any] | None) -> None:
    """Take what a worker says of its files; None: it is still reading them."""
    if compared is not None:
        worker.compared_files = tuple(compared["digests"])
        worker.file_problems = tuple(safe_text(problem, length=_MAX_PROBLEM_LENGTH) for problem in compared["problems"])


def has_compared(worker: Worker, files: Files) -> bool:
    """Whether a worker has compared its copies of these files."""
    return not files or worker.compared_files == tuple(entry["sha256"] for entry in files)


def await_agreement(
    files: Files,
    present: Callable[[], Sequence[Worker]],
    ping: Callable[[str], None],
    sleep: Callable[[float], object],
) -> None:
    """Wait until every connected worker has compared its files. SettingsError names a worker that has others."""
    until = clock.monotonic() + TIMEOUT_S
    for worker in present():
        if worker.file_problems:
            worker.compared_files = None  # they may be mended by now
    while files:
        workers = present()
        reading = [worker for worker in workers if not has_compared(worker, files)]
        for worker in workers:
            if worker not in reading and worker.file_problems:
                raise SettingsError(f"worker {worker.id} on {worker.host}: {worker.file_problems[0]}")
        if not reading:
            return
        if clock.monotonic() > until:
            late = f"worker {reading[0].id} on {reading[0].host}"
            raise SettingsError(f"{late} has not read its prompt files within {TIMEOUT_S:.0f} s")
        for worker in reading:
            ping(worker.id)
        sleep(_POLL_S)

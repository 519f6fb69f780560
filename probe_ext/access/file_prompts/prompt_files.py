"""The prompt files that one process has opened: on the master for the checks, in every process for its users."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from probe_ext.measure.safe_text import safe_text
from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_queue import PromptQueue
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.workload.traces.tap_recording import is_recording, requests_file
from probe_ext.workload.traces.trace_lines import TraceError, digest_of

_SHOWN_DIGITS = 12


class PromptFiles:
    """Opens each file once, and again if it has changed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None], PromptFile] = {}
        self._queues: dict[tuple[str, str | None], PromptQueue] = {}
        self._lost = False

    def open(self, path: str, field: str | None = None) -> PromptFile:
        """Return a file that was read and checked. PromptFileError, in one line, if it cannot be used."""
        file = self._open.get((path, field))
        if file is None or not file.is_current():
            if file is not None:
                file.close()
            file = self._open[path, field] = PromptFile(Path(path), field)
        return file

    def difference(self, path: str, field: str | None, digest: str) -> str | None:
        """Say in one line why this process's copy of a file is not the master's; None if it is."""
        return _difference(path, digest, lambda: self.open(path, field).digest)

    def forget_queues(self) -> None:
        """End a run: the next one begins with the first prompt of its order."""
        self._queues, self._lost = {}, False

    def lose(self) -> bool:
        """Note that a prompt could not be read in this run; return whether it is the first."""
        first, self._lost = not self._lost, True
        return first

    def queue(
        self, prepared: Iterable[Mapping[str, Any]], kind: str, seed: int | str, slot: int, slots: int
    ) -> tuple[PromptQueue, Mapping[str, Any]] | None:
        """Return the queue from which this process's users of a kind take prompts, and what is known of its file.

        None if the kind uses no file. `prepared`: all files, as the master has prepared them. Kinds that use the same
        file share a queue; the master has left out for each what is too long for any of them. `slot`, `slots`: as of
        `PromptQueue`, by the first call in a run. PromptFileError if the file cannot be used.
        """
        files = {entry["kind"]: entry for entry in prepared}
        if kind not in files:
            return None
        entry = files[kind]
        key = entry["path"], entry["field"]
        if key not in self._queues:
            file = self.open(*key)
            if file.digest != entry["sha256"]:
                raise PromptFileError(f"{file.name}: has changed since the run was prepared")
            self._queues[key] = PromptQueue(file, seed, entry["left_out"], slot=slot, slots=slots)
        return self._queues[key], entry


def trace_difference(path: str, digest: str) -> str | None:
    """Say in one line why this process's copy of a trace is not the master's; None if it is."""
    return _difference(path, digest, lambda: digest_of(_requests(Path(path))))


def _requests(path: Path) -> Path:
    """Return the file that holds a trace's requests."""
    return requests_file(path) if is_recording(path) else path


def _difference(path: str, wanted: str, own: Callable[[], str]) -> str | None:
    try:
        found = own()
    except (PromptFileError, TraceError) as error:
        missing = not Path(path).is_absolute() and not Path(path).exists()
        return f"{error}{f' in {Path.cwd()}' if missing else ''}"
    if found == wanted:
        return None
    shown = f"SHA-256 {found[:_SHOWN_DIGITS]}… instead of {wanted[:_SHOWN_DIGITS]}…"
    return f"{safe_text(path)}: is not the master's ({shown})"

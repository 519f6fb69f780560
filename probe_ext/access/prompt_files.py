"""The prompt files that one process has opened: on the master for the checks, in every process for its users."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_queue import PromptQueue
from probe_ext.prompts.files.source import PromptFileError

_SHOWN_DIGITS = 12


class PromptFiles:
    """Opens each file once, and again if it has changed."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str | None], PromptFile] = {}
        self._queues: dict[tuple[str, str | None], PromptQueue] = {}

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
        try:
            file = self.open(path, field)
        except PromptFileError as error:
            missing = not Path(path).is_absolute() and not Path(path).exists()
            return f"{error}{f' in {Path.cwd()}' if missing else ''}"
        if file.digest == digest:
            return None
        shown, wanted = file.digest[:_SHOWN_DIGITS], digest[:_SHOWN_DIGITS]
        return f"{file.name}: is not the master's (SHA-256 {shown}… instead of {wanted}…)"

    def deal(self, files: Iterable[Mapping[str, Any]], seed: int | str, slot: int, slots: int) -> None:
        """Begin a run: this process is number `slot` of `slots`. PromptFileError if a file cannot be used.

        `files`: path, field and `left_out`, as the master has prepared them.
        """
        self._queues = {
            (entry["path"], entry["field"]): PromptQueue(
                self.open(entry["path"], entry["field"]), seed, entry["left_out"], slot=slot, slots=slots
            )
            for entry in files
        }

    def queue(self, path: str, field: str | None = None) -> PromptQueue:
        """Return the queue from which all users of this process take a file's prompts."""
        return self._queues[path, field]

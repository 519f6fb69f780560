"""Room on the run's disk, held back from the start, so that a disk that fills up meanwhile can still be told of it.

The file that holds it has no name (it is unlinked as soon as it is made): a kill gives its room back.
"""

import contextlib
import os
import tempfile
from pathlib import Path

FOR_MANIFEST = 64 * 1024
"""bytes: the last `run.json`, which says what was lost"""
FOR_ROWS = 512 * 1024
"""bytes: rows that wait in memory when the run ends; some 1,500 replies"""


class Room:
    """Holds bytes of a directory's disk until `free`; nothing where the disk does not have them to spare."""

    def __init__(self, directory: Path, size: int) -> None:
        self.held = 0
        with contextlib.ExitStack() as undo:
            try:
                file = undo.enter_context(tempfile.TemporaryFile(dir=directory, prefix=".room-"))
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError:
                return
            self.held = size
            self._kept = undo.pop_all()

    def free(self) -> None:
        """Give the bytes back; again, it does nothing."""
        if self.held:
            self.held = 0
            self._kept.close()

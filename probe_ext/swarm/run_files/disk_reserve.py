"""Disk space reserved at the start of a run, so that its last files can be written even if the disk fills up.

On a full disk the final `run.json`, which says what was lost, and the rows still in memory would fail to be written.
The reserving file has no name (it is unlinked at once), so a kill gives the space back.
"""

import os
import tempfile
from pathlib import Path
from typing import IO

FOR_MANIFEST = 64 * 1024
FOR_ROWS = 512 * 1024  # bytes; some 1,500 replies
FOR_REPORT = 2 * 1024 * 1024  # the page and what comes with it


class DiskReserve:
    """Reserves bytes in a directory until `free`; none if the disk has too little."""

    def __init__(self, directory: Path, size: int) -> None:
        self._file: IO[bytes] | None = None
        try:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - held until `free`
            _allocate(self._file.fileno(), size)
        except OSError:
            self.free()

    def free(self) -> None:
        """Give the space back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:  # macOS
        os.write(descriptor, bytes(size))

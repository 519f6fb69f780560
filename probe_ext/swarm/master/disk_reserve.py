"""Room on the run's disk, held back from the start, so that a disk that fills up meanwhile can still be told of it.

The file that holds it has no name (it is unlinked as soon as it is made): a kill gives its room back.
"""

import os
import tempfile
from pathlib import Path
from typing import IO

FOR_MANIFEST = 64 * 1024
"""bytes: the last `run.json`, which says what was lost"""
FOR_ROWS = 512 * 1024
"""bytes: rows that wait in memory when the run ends; some 1,500 replies"""


class DiskReserve:
    """Holds bytes of a directory's disk until `free`; nothing where the disk does not have them to spare."""

    def __init__(self, directory: Path, size: int) -> None:
        self._file: IO[bytes] | None = None
        try:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - held until `free`
            _take(self._file.fileno(), size)
        except OSError:
            self.free()

    def free(self) -> None:
        """Give the bytes back; again, it does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _take(descriptor: int, size: int) -> None:
    """OSError where the disk has too little. Without `posix_fallocate` (macOS), zeros are written."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.write(descriptor, bytes(size))

"""Open only regular files: a pipe in a run directory would block a reader for ever, a device has no end."""

import errno
import os
import stat
from pathlib import Path
from typing import IO


def check_regular(path: Path, max_bytes: int | None = None) -> None:
    """OSError if a file is missing, not regular, or larger than `max_bytes`."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if max_bytes is not None and about.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes / 1e6:.0f} MB", str(path))


def create_new(path: Path) -> IO[bytes]:
    """Open a new file for reading and writing; whatever has its name, perhaps a link to elsewhere, is removed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "w+b")

"""Ctrl-C while modules are imported: the process ends at once.

A KeyboardInterrupt inside an import may come out as any other exception, or leave an extension or a lock half made. No
command has begun anything by then that would have to be put in order.

This is the first module that the command imports, so it imports little itself: contextlib alone takes as long as
Python's own start.
"""

import os
import signal
import sys
from types import FrameType, TracebackType

from probe_ext.exit_codes import ExitCode

INTERRUPTED = "probe: interrupted"


class ImportInterrupts:
    """Ends the process on Ctrl-C in the meantime, unless it is ignored, as in a shell's background job, or handled."""

    def __enter__(self) -> None:
        self._set = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._set:
            signal.signal(signal.SIGINT, _end)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self._set and signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError, AttributeError, RuntimeError):  # closed, absent, or interrupted in a write
        pass
    try:
        os.write(2, f"{INTERRUPTED}\n".encode())
    finally:
        os._exit(ExitCode.INTERRUPTED)

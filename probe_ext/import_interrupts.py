"""Ctrl-C while modules are imported: the process ends at once.

A KeyboardInterrupt inside an import may come out as any other exception, or leave an extension or a lock half made. No
command has begun anything by then that would have to be put in order.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from probe_ext.exit_codes import ExitCode

INTERRUPTED = "probe: interrupted"


@contextmanager
def interrupts_end_at_once() -> Iterator[None]:
    """End the process on Ctrl-C in the meantime, unless it is ignored, as in a shell's background job, or handled."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError, RuntimeError):  # closed, absent, or interrupted in a write
            stream.flush()
    with suppress(OSError):
        os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(ExitCode.INTERRUPTED)

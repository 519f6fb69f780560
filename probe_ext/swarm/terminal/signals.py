"""Ctrl-C and SIGTERM end a run in order, on every kind of node.

Locust installs its own SIGTERM handler only after a headless load shape has ended, and its KeyboardInterrupt may strike
in the middle of any greenlet. So both signals are caught here, on the hub, from the start: the first asks the runner
to quit (which drains), the second cuts what is in flight, the third leaves at once.
"""

import os
import signal
from collections.abc import Callable

import gevent

from probe_ext.exit_codes import ExitCode


class SignalEnd:
    """Turns signals into an orderly end."""

    def __init__(self, stop: Callable[[str], object], force_stop: Callable[[], None]) -> None:
        self._stop, self._force_stop = stop, force_stop
        self._times = 0
        gevent.signal_handler(signal.SIGINT, self._on_signal, "interrupted")
        gevent.signal_handler(signal.SIGTERM, self._on_signal, "terminated")

    def _on_signal(self, reason: str) -> None:
        self._times += 1
        if self._times == 1:
            self._stop(reason)
        elif self._times == 2:
            self._force_stop()
        else:
            os._exit(ExitCode.INTERRUPTED)

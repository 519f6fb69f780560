"""End a run in order on Ctrl-C, SIGTERM and SIGHUP (the terminal was closed), in every kind of process.

Locust installs its own SIGTERM handler only after a headless load shape has ended, and its KeyboardInterrupt may be
raised in any greenlet. So the hub handles these signals from the start: the first asks the runner to quit, which
drains, the second aborts replies in flight, the third exits at once.
"""

import os
import signal
from collections.abc import Callable

import gevent

from probe_ext.exit_codes import ExitCode


class SignalEnd:
    """Calls `stop` with the reason on the first signal, `force_stop` on the second, and exits on the third."""

    def __init__(self, stop: Callable[[str], object], force_stop: Callable[[], None]) -> None:
        self._stop, self._force_stop = stop, force_stop
        self._signals = 0
        gevent.signal_handler(signal.SIGINT, self._on_signal, "interrupted")
        gevent.signal_handler(signal.SIGTERM, self._on_signal, "terminated")
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # with nohup, it is ignored
            gevent.signal_handler(signal.SIGHUP, self._on_hang_up)

    def _on_hang_up(self) -> None:
        for descriptor in (0, 1, 2):
            if os.isatty(descriptor):  # writing to a terminal that is gone would fail
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        if not self._signals:  # both the shell and the kernel may send it
            self._on_signal("terminated")

    def _on_signal(self, reason: str) -> None:
        self._signals += 1
        if self._signals == 1:
            self._stop(reason)
        elif self._signals == 2:
            self._force_stop()
        else:
            os._exit(ExitCode.INTERRUPTED)

"""The phase that a master's run is in. Whoever must not act in a phase waits here until it is over."""

from enum import Enum, auto

import gevent
from gevent.event import Event


class Phase(Enum):
    """In the order in which a run goes through them."""

    IDLE = auto()
    PREPARING = auto()
    """the server is asked about itself, or warmed up"""
    CANCELLED = auto()
    """Stop was pressed while preparing"""
    PREPARED = auto()
    """waiting for Locust to start the test"""
    STARTING = auto()
    """the run directory is being set up"""
    RUNNING = auto()
    DRAINING = auto()
    """no new request; replies in flight may finish"""
    DRAINED = auto()
    """every worker has sent its last batch, or was given up"""
    CLOSING = auto()
    """the last files are being written; IDLE follows"""


class RunPhase:
    """The current phase, to be changed and waited for by several greenlets."""

    def __init__(self) -> None:
        self.now = Phase.IDLE
        self._changed = Event()

    def enter(self, phase: Phase) -> None:
        """Change the phase."""
        self.now = phase
        changed, self._changed = self._changed, Event()
        changed.set()

    def wait_while(self, phase: Phase, timeout: float | None = None) -> bool:
        """Wait until the phase is another one; False if it is not after `timeout` seconds."""
        with gevent.Timeout(timeout, False):  # type: ignore[arg-type]
            while self.now is phase:
                self._changed.wait()
        return self.now is not phase

"""Locust's worker judges its master's silence, and the order of its orders, by the wall clock, which may be stepped.

A step of a minute forward and it leaves in mid-run; a step of the master's backward and it discards what it is told to
do. Here the silence is counted in turns of the worker's own loop instead: a machine that stood still was not waiting.
"""

import logging
from collections.abc import Callable
from typing import Any

from locust.runners import MASTER_HEARTBEAT_TIMEOUT, WorkerRunner

logger = logging.getLogger(__name__)

_TURN = 1.0


class MasterWatch:
    """Leaves when the master was not heard for as many turns as Locust would wait seconds."""

    def __init__(self, runner: WorkerRunner, leave: Callable[[], object]) -> None:
        self._runner = runner
        self._leave = leave
        self._silent: int | None = None
        """turns since the last heartbeat; None before the first"""
        runner.environment.events.heartbeat_received.add_listener(self._on_heartbeat)

    def _on_heartbeat(self, **_: Any) -> None:
        self._silent = 0
        self._runner.last_heartbeat_timestamp = None  # Locust's own check then finds nothing to judge
        self._runner.last_received_spawn_timestamp = 0

    def watch(self, sleep: Callable[[float], object]) -> None:
        """Until the master is given up."""
        while not self.turn():
            sleep(_TURN)

    def turn(self) -> bool:
        """One turn; True where the master was given up."""
        if self._silent is None:
            return False
        self._silent += 1
        if self._silent <= MASTER_HEARTBEAT_TIMEOUT:
            return False
        logger.error("probe: the master was not heard for %d s: this worker leaves", MASTER_HEARTBEAT_TIMEOUT)
        self._leave()
        return True

"""Notice a lost master by the worker's own event loop instead of the wall clock, which may be stepped.

After a step of a minute forward, Locust's worker would quit in mid-run; after a step of the master's backward, it
would ignore spawn messages. Here missed heartbeats are counted in turns of the loop: while a machine was suspended,
its worker was not waiting.
"""

import logging
from collections.abc import Callable
from typing import Any

from locust.runners import MASTER_HEARTBEAT_TIMEOUT, WorkerRunner

logger = logging.getLogger(__name__)

_TURN_S = 1.0


class MasterWatch:
    """Calls `leave` after as many turns without a heartbeat as Locust would wait seconds."""

    def __init__(self, runner: WorkerRunner, leave: Callable[[], object]) -> None:
        self._runner = runner
        self._leave = leave
        self._silent_turns: int | None = None
        """since the last heartbeat; None before the first"""
        runner.environment.events.heartbeat_received.add_listener(self._on_heartbeat)

    def _on_heartbeat(self, **_: Any) -> None:
        self._silent_turns = 0
        self._runner.last_heartbeat_timestamp = None  # disables Locust's own checks
        self._runner.last_received_spawn_timestamp = 0

    def watch(self, sleep: Callable[[float], object]) -> None:
        """Watch until contact is lost."""
        while not self.turn():
            sleep(_TURN_S)

    def turn(self) -> bool:
        """Count one turn; True if contact is lost."""
        if self._silent_turns is None:
            return False
        self._silent_turns += 1
        if self._silent_turns <= MASTER_HEARTBEAT_TIMEOUT:
            return False
        logger.error("probe: lost contact with the master for %d s: this worker exits", MASTER_HEARTBEAT_TIMEOUT)
        self._leave()
        return True

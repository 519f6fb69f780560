"""Workers that have knocked on the master's port, but have not shown yet that they are ours.

Locust gives users to whoever says `client_ready`, in mid-run too. Such a message is held back until its sender has
answered a ping with a version and a clock, as only probe-ext's workers do.
"""

from typing import Any

_MAX_WAITING = 1000
_MAX_TURNS = 60


class Lobby:
    """Keeps the `client_ready` of each sender that waits; the oldest goes if there are too many."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Any, int]] = {}
        """message, and turns waited"""

    def __contains__(self, sender: str) -> bool:
        return sender in self._waiting

    def hold(self, sender: str, message: Any) -> None:
        """Keep a message."""
        turns = self._waiting.pop(sender, (message, 0))[1]
        self._waiting[sender] = message, turns
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def release(self, sender: str) -> Any | None:
        """Return the message of a sender that may come in, None if it does not wait."""
        return self._waiting.pop(sender, (None, 0))[0]

    def turn(self, grace: int) -> list[str]:
        """Count a turn; return who has waited for more than `grace`. After a minute, nobody waits."""
        self._waiting = {
            name: (message, turns + 1) for name, (message, turns) in self._waiting.items() if turns < _MAX_TURNS
        }
        return [name for name, (_, turns) in self._waiting.items() if turns > grace]

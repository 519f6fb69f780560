"""The turns of a replayed session in order: one waits until the turn before it has ended.

Its wait counts from when it was due, as that for a free connection does, so a server that is slower than the recorded
one is seen to fall behind.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from probe_ext.workload.traces.replay_times import Replayed

Key = tuple[int, int]


class Turn(Protocol):
    """What is known of an arrival."""

    @property
    def due(self) -> float: ...
    @property
    def replayed(self) -> Replayed | None: ...


T = TypeVar("T", bound=Turn)


class SessionOrder(Generic[T]):
    """Holds turns back. Arrivals that are of no session pass."""

    def __init__(self) -> None:
        self._held: dict[Key, deque[T]] = {}
        """later turns, by the session whose current one has not ended"""

    def admits(self, turn: T) -> bool:
        """Whether a turn may be sent now; from then on, it is the current one of its session. Else it is held back."""
        if turn.replayed is None:
            return True
        if (held := self._held.get(turn.replayed.key)) is not None:
            held.append(turn)
            return False
        self._held[turn.replayed.key] = deque()
        return True

    def ended(self, turn: T) -> T | None:
        """Note that a turn has ended; return the next one of its session if it is due already."""
        held = self._held.get(turn.replayed.key) if turn.replayed is not None else None
        if held:
            return held.popleft()
        if turn.replayed is not None:
            self._held.pop(turn.replayed.key, None)
        return None

    def next_due(self) -> float | None:
        """Return when the turn that has been held back for longest was due; None without any."""
        return min((held[0].due for held in self._held.values() if held), default=None)

    def take_overdue(self, is_overdue: Callable[[T], bool]) -> Iterator[T]:
        """Yield the turns that have waited for too long, and hold them back no more."""
        for held in list(self._held.values()):
            while held and is_overdue(held[0]):
                yield held.popleft()

"""When the requests of a trace are due: at their recorded times, or with sessions that begin faster or slower.

A speed scales when sessions begin. Within a session, the time from one turn to the next stays as recorded: people and
tools do not get faster because there are more of them. A pass of the trace ends after its duration ÷ speed; turns that
would come later belong to no pass.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from probe_ext.workload.traces.trace import Trace


@dataclass(frozen=True)
class DueRequest:
    """A request of a pass."""

    due: float
    """seconds since the start of the pass"""
    place: int
    """in the trace's requests"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """Which request of a trace an arrival stands for."""

    place: int
    """in the trace's requests"""
    session: int
    replay: int
    """how many times the trace was replayed before"""

    @property
    def key(self) -> tuple[int, int]:
        """What tells its session from all others of the run."""
        return self.replay, self.session


@dataclass(frozen=True)
class Pass:
    """One replay of a whole trace."""

    trace: Trace
    speed: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.trace.seconds / self.speed

    @cached_property
    def schedule(self) -> tuple[DueRequest, ...]:
        """All requests in the order in which they are due."""
        requests, last = self.trace.requests, self.seconds
        due = [
            DueRequest(requests[turns[0]].at / self.speed + requests[place].at - requests[turns[0]].at, place)
            for turns in self.trace.sessions
            for place in turns
        ]
        return tuple(sorted((one for one in due if one.due < last), key=lambda one: (one.due, one.place)))

    @property
    def rate(self) -> float:
        """Requests per second on average."""
        return len(self.schedule) / self.seconds

    def count_until(self, seconds: float) -> int:
        """Return how many requests are due before a moment of the pass."""
        return bisect_left(self.schedule, seconds, key=lambda one: one.due)

    def own(self, index: int, of: int, since: float) -> Iterator[DueRequest]:
        """Yield what worker `index` of `of` sends from a moment of the pass on: all turns of every `of`-th session."""
        requests = self.trace.requests
        for one in self.schedule[self.count_until(since) :]:
            if requests[one.place].session % of == index:
                yield one

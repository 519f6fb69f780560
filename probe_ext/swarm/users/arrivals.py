"""The open stream of one process: requests arrive by a schedule, and take whichever user is free.

A user is then a slot, one of --max-in-flight, and no person. An arrival that finds no free slot waits for one, first
come, first served. Its wait counts from when it was due, so a server that falls behind is seen to. After `give_up`
seconds, or those of its kind, it is recorded as not sent. Nothing is ever skipped: each arrival becomes one row.

A workload's arrivals are of a kind, and wait for a slot of that kind.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.workload.arrival_times import ArrivalForm, ScheduledArrival, own_arrivals, segment_seed

_MAX_SLEEP_S = 1.0
"""between two looks, with nothing due: a bound in case a wake-up is lost"""
_MIN_SLEEP_S = 0.001
"""overdue work must not spin"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One scheduled request."""

    due: float
    """monotonic seconds of this process"""
    number: int
    """of its row"""
    kind: str = ""
    """of user; empty without a workload of several kinds"""
    in_run: int = 0
    """how many arrivals of the run come before it, in all processes; what is asked depends on it"""
    in_kind: int = 0
    """how many of them are of its kind"""


Unsent = Callable[[Arrival, Outcome, str], None]
"""records an arrival that no request was made for: how it ended, and why"""


@dataclass
class _Segment:
    """A stretch of constant rate in this process's monotonic seconds."""

    start: float
    arrivals: Iterator[ScheduledArrival]
    """this process's part, in order"""


class Arrivals:
    """Hands arrivals to the slots of this process, and records those that find none."""

    def __init__(self, recorder: Recorder, unsent: Unsent) -> None:
        self._recorder, self._unsent = recorder, unsent
        self._give_up = 0.0
        self._give_up_of: Mapping[str, float] = {}
        """by kind, where it has its own"""
        self._segments: deque[_Segment] = deque()
        """the one in force, and those to come"""
        self._latest = -1
        """number of the newest segment"""
        self._next: ScheduledArrival | None = None
        """the next arrival; None: look it up"""
        self._waiting: defaultdict[str, deque[Arrival]] = defaultdict(deque)
        """arrivals without a slot, by kind"""
        self._idle: defaultdict[str, list[Any]] = defaultdict(list)
        """slots without work, by kind; the one that became free last is used first, as its connection is fresh"""
        self._slots: set[str] = set()
        """kinds that have had a slot in this process"""
        self._changed = Event()
        self._pump: Any = None
        self._stopped = False

    def update(self, plan: Mapping[str, Any]) -> None:
        """Take over segments from the master; those known already, and their repetitions, change nothing."""
        self._give_up, self._give_up_of = plan["give_up"], plan["give_up_of"]
        for segment in sorted(plan["segments"], key=lambda one: int(one["number"])):
            if segment["number"] > self._latest:
                self._latest = segment["number"]
                self._segments.append(_Segment(segment["start"], _arrivals_of(segment, plan)))
        if self._pump is None:
            self._pump = gevent.spawn(self._run)
        self._changed.set()

    def take(self, kind: str = "") -> Arrival:
        """Wait for an arrival of a kind, as a slot. Each is handed out once, even if its slot is killed meanwhile."""
        self._slots.add(kind)
        if self._waiting[kind]:
            return self._waiting[kind].popleft()
        slot: Any = AsyncResult()
        self._idle[kind].append(slot)
        try:
            arrival: Arrival = slot.get()
        except BaseException:
            if slot.ready():
                self.give_back(slot.value)
            else:
                self._idle[kind].remove(slot)
            raise
        return arrival

    def give_back(self, arrival: Arrival) -> None:
        """Take back an arrival that its slot could not send: another slot does, or it is recorded as not sent."""
        self._hand_out(arrival)

    def stop(self) -> None:
        """End the stream now: what is due and was not sent is recorded as such."""
        if self._pump is not None:
            self._pump.kill(block=False)
        self._take_due(clock.monotonic())
        self._give_up_on_late(clock.monotonic())
        self._segments.clear()
        self._stopped = True
        for waiting in list(self._waiting.values()):
            while waiting:
                self._hand_out(waiting.popleft())

    def _run(self) -> None:
        while True:
            now = clock.monotonic()
            self._take_due(now)
            self._give_up_on_late(now)
            self._changed.wait(self._seconds_to_sleep(clock.monotonic()))
            self._changed.clear()

    def _patience(self, kind: str) -> float:
        """Return the seconds after which an arrival of a kind is given up."""
        return self._give_up_of.get(kind, self._give_up)

    def _seconds_to_sleep(self, now: float) -> float:
        moments = [now + _MAX_SLEEP_S]
        if (due := self._next_due()) is not None:
            moments.append(due)
        moments += [waiting[0].due + self._patience(kind) for kind, waiting in self._waiting.items() if waiting]
        return max(_MIN_SLEEP_S, min(moments) - now)

    def _take_due(self, now: float) -> None:
        """Hand out every arrival that is due. One that we notice too late is our own fault, and not the server's."""
        while (due := self._next_due()) is not None and due <= now and (following := self._next) is not None:
            self._next = None
            arrival = Arrival(due, self._recorder.reserve(), following.kind, following.in_run, following.in_kind)
            if now - due < self._patience(following.kind):
                self._hand_out(arrival)
            else:
                self._unsent(arrival, Outcome.CLIENT_ERROR, f"the load generator was {now - due:.1f} s late to send it")

    def _hand_out(self, arrival: Arrival) -> None:
        if self._stopped:
            self._unsent(arrival, Outcome.ENDED_BY_US, "the run ended before it could be sent")
        elif self._idle[arrival.kind]:
            self._idle[arrival.kind].pop().set(arrival)
        else:
            self._waiting[arrival.kind].append(arrival)

    def _give_up_on_late(self, now: float) -> None:
        """Record what has waited too long for a slot."""
        for kind, waiting in list(self._waiting.items()):
            patience = self._patience(kind)
            while waiting and now - waiting[0].due >= patience:
                if kind in self._slots:
                    why = f"no free connection within {patience:g} s of its arrival (--max-in-flight)"
                    self._unsent(waiting.popleft(), Outcome.NOT_SENT, why)
                else:
                    why = f"this worker has no connection for {kind or 'requests'}: --max-in-flight is too small"
                    self._unsent(waiting.popleft(), Outcome.CLIENT_ERROR, why)

    def _next_due(self) -> float | None:
        """Look the next arrival up, without taking it; return when it is due, None if there is none."""
        while self._segments:
            segment = self._segments[0]
            self._next = self._next or next(segment.arrivals, None)
            due = segment.start + self._next.at if self._next else math.inf
            if len(self._segments) == 1 or due < self._segments[1].start:
                return due if self._next else None
            self._segments.popleft()
            self._next = None
        return None


def _arrivals_of(segment: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[ScheduledArrival]:
    """Return this process's part of a segment; without a rate, or for others only, nothing arrives."""
    if not segment["rate"] or segment["index"] is None:
        return iter(())
    seed = segment_seed(plan["seed"], segment["number"])
    times = ArrivalForm.from_json(plan).times(segment["rate"], seed)
    return own_arrivals(times, plan["kinds"], seed, segment["before"], segment["index"], segment["of"])

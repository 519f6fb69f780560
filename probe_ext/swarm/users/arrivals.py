"""The open stream of one process: requests arrive by a schedule, and take whichever user is free.

A user is then a slot, one of --max-in-flight, and no person. An arrival that finds no free slot waits for one, first
come, first served. Its wait counts from when it was due, so a server that falls behind is seen to. After `give_up`
seconds, or those of its kind, it is recorded as not sent. Nothing is ever skipped: each arrival becomes one row.

A workload's arrivals are of a kind, and wait for a slot of that kind. Those of a replayed trace may also have to wait
for the turn before them in their session.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.swarm.users.session_order import SessionOrder
from probe_ext.workload.arrival_times import TRACE, ArrivalForm, ScheduledArrival, own_arrivals, segment_seed
from probe_ext.workload.traces.replay_times import Pass, Replayed

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
    replayed: Replayed | None = None
    """which request of a trace it stands for"""
    ready: float = 0.0
    """monotonic seconds before which it could not be sent, as the turn before it had not ended"""


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

    def __init__(self, recorder: Recorder, unsent: Unsent, passes: Callable[[], Sequence[Pass]] = tuple) -> None:
        """`passes`: returns the replays of the run's trace."""
        self._recorder, self._unsent, self._passes = recorder, unsent, passes
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
        self._sessions = SessionOrder[Arrival]()
        self._changed = Event()
        self._pump: Any = None
        self._stopped = False

    def update(self, plan: Mapping[str, Any]) -> None:
        """Take over segments from the master; those known already, and their repetitions, change nothing."""
        self._give_up, self._give_up_of = plan["give_up"], plan["give_up_of"]
        for segment in sorted(plan["segments"], key=lambda one: int(one["number"])):
            if segment["number"] > self._latest:
                self._latest = segment["number"]
                self._segments.append(_Segment(segment["start"], self._arrivals_of(segment, plan)))
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
        self._offer(arrival)

    def end(self, arrival: Arrival) -> None:
        """Note that the reply to an arrival has ended, or that it is not sent: its session goes on."""
        following = self._sessions.ended(arrival)
        if following is not None:
            self._offer(replace(following, ready=clock.monotonic()))

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
                self._offer(waiting.popleft())
        for arrival in self._sessions.take_overdue(lambda _: True):
            self._offer(arrival)

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
        if (held := self._sessions.next_due()) is not None:
            moments.append(held + self._give_up)
        return max(_MIN_SLEEP_S, min(moments) - now)

    def _take_due(self, now: float) -> None:
        """Hand out every arrival that is due. One that we notice too late is our own fault, and not the server's."""
        while (due := self._next_due()) is not None and due <= now and (following := self._next) is not None:
            self._next = None
            arrival = Arrival(
                due,
                self._recorder.reserve(following.kind),
                following.kind,
                following.in_run,
                following.in_kind,
                following.replayed,
            )
            if now - due < self._patience(following.kind):
                if self._sessions.admits(arrival):
                    self._offer(arrival)
            else:
                self._unsent(arrival, Outcome.CLIENT_ERROR, f"the load generator was {now - due:.1f} s late to send it")

    def _offer(self, arrival: Arrival) -> None:
        """Hand an arrival to a free slot, or let it wait for one."""
        if self._stopped:
            self._unsent(arrival, Outcome.ENDED_BY_US, "the run ended before it could be sent")
        elif self._idle[arrival.kind]:
            self._idle[arrival.kind].pop().set(arrival)
        else:
            self._waiting[arrival.kind].append(arrival)

    def _give_up_on_late(self, now: float) -> None:
        """Record what has waited too long for a slot, or for the turn before it."""
        for arrival in self._sessions.take_overdue(lambda one: now - one.due >= self._patience(one.kind)):
            why = f"the turn before it had not ended {self._patience(arrival.kind):g} s after it was due"
            self._unsent(arrival, Outcome.NOT_SENT, why)
        for kind, waiting in list(self._waiting.items()):
            patience = self._patience(kind)
            while waiting and now - waiting[0].due >= patience:
                arrival = waiting.popleft()
                if kind in self._slots:
                    why = f"no free connection within {patience:g} s of its arrival (--max-in-flight)"
                    self._unsent(arrival, Outcome.NOT_SENT, why)
                else:
                    why = f"this worker has no connection for {kind or 'requests'}: --max-in-flight is too small"
                    self._unsent(arrival, Outcome.CLIENT_ERROR, why)
                self.end(arrival)

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

    def _arrivals_of(self, segment: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[ScheduledArrival]:
        """Return this process's part of a segment; without a rate, or for others only, nothing arrives."""
        if not segment["rate"] or segment["index"] is None:
            return iter(())
        if plan["form"] == TRACE:
            return self._replayed(segment)
        seed = segment_seed(plan["seed"], segment["number"])
        times = ArrivalForm.from_json(plan).times(segment["rate"], seed)
        return own_arrivals(
            times,
            plan["kinds"],
            seed,
            segment["before"],
            segment["index"],
            segment["of"],
            to_each=plan.get("to_each", False),
        )

    def _replayed(self, segment: Mapping[str, Any]) -> Iterator[ScheduledArrival]:
        """Return this process's part of a segment of a trace: all turns of its share of the sessions."""
        passes, replay, since = self._passes(), segment["replay"], segment["start"] - segment["since"]
        if replay < len(passes):
            requests = passes[replay].trace.requests
            for one in passes[replay].own(segment["index"], segment["of"], since):
                replayed = Replayed(one.place, requests[one.place].session, replay)
                yield ScheduledArrival(one.due - since, "", 0, 0, replayed)


class Slot:
    """One connection of an open stream, which takes one arrival after another."""

    def __init__(self, arrivals: Arrivals, kind: str) -> None:
        self._arrivals, self._kind = arrivals, kind
        self._last: Arrival | None = None

    def take(self) -> Arrival:
        """Wait for the next arrival; the reply to the last one has ended."""
        if self._last is not None:
            self._arrivals.end(self._last)
            self._last = None
        self._last = self._arrivals.take(self._kind)
        return self._last

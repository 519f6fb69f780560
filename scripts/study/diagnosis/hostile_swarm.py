"""People around servers that are not what they seem: with a gateway, a proxy, a cache or a long way in front.

A `Path` decides when a request reaches an engine and when its tokens reach the client. Times are seconds of the run.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request
from probe_ext.sim.profile import Profile
from scripts.study.virtual.people import Draws, People
from scripts.study.virtual.reply_notes import Notes
from scripts.study.virtual.server_book import ServerBook

OWN_TOKENS = 1_000_000
REPLY_TOKENS = tuple(range(500_000_000, 500_010_000))
AFTER_REJECTION_S = 1.0
"""Until a rejected user asks again."""


class PacedEngine(Engine):
    """An engine whose speed changes over time: `slowdown(t)` times as long per step."""

    def __init__(self, profile: Profile, slowdown: Callable[[float], float] = lambda _: 1.0) -> None:
        super().__init__(profile)
        self.slowdown = slowdown

    def _duration(self, plan: Any) -> float:
        return super()._duration(plan) * self.slowdown(self.now)


@dataclass
class Flight:
    """One request on its way."""

    notes: Notes
    user: int
    own: int
    reply: int
    engine: int | None = None
    started: bool = False
    """whether an engine has it"""
    over: bool = False
    ended: float | None = None
    cached: int = 0
    held: list[float] = field(default_factory=list)


class Path:
    """The straight way: requests reach an engine at once, round robin, and tokens their client."""

    connect = 0.0
    usage = True

    def __init__(self) -> None:
        self.world: HostileSwarm
        self.random = Random("path")  # noqa: S311 - a simulation, not a secret

    def pick(self, flight: Flight) -> int:
        """Choose the engine."""
        return flight.notes.number % len(self.world.engines)

    def ask(self, flight: Flight, now: float) -> None:
        """Take a request from a client."""
        self.world.submit(flight, now)

    def token(self, flight: Flight, now: float) -> None:
        """Take a token from an engine."""
        self.world.receive(flight, now)

    def finish(self, flight: Flight, now: float) -> None:
        """Take the end of a reply from an engine."""
        self.world.end(flight, now)

    def aborted(self, flight: Flight, now: float) -> None:
        """Learn that a client left."""

    def tick(self, now: float) -> None:
        """Look around once a second."""

    def row(self, row: ReplyRow) -> ReplyRow:
        """Change what the client notes down."""
        return row


class HostileSwarm:
    """As `Swarm`, around a path and several engines."""

    def __init__(
        self, engines: Sequence[Engine], path: Path, people: People, seed: int, on_reply: Callable[[ReplyRow], None]
    ) -> None:
        self.engines, self.path = list(engines), path
        self.books = [ServerBook(engine) for engine in engines]
        self.server = self
        self.gaps: list[GapRow] = []
        self.tokens: Counter[int] = Counter()
        self.started = 0
        self.ending = False
        self.people = people
        self.draws = Draws(people, seed)
        self._on_reply = on_reply
        self._shared = tuple(range(people.shared))
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order, self._numbers, self._names = itertools.count(), itertools.count(1), itertools.count()
        self._users: dict[int, Flight | None] = {}
        self.flying: dict[int, Flight] = {}
        self.for_others: set[int] = set()
        """requests that no client of this run waits for"""
        path.world, path.random = self, Random(f"path/{seed}")  # noqa: S311

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self._users)

    @property
    def in_flight(self) -> int:
        """Replies that go on."""
        return len(self.flying)

    def sample(self, t: float) -> list[ServerRow]:
        """What the server tells, each engine for itself."""
        self.path.tick(t)
        rows = [(number, row) for number, book in enumerate(self.books) for row in book.sample(t)]
        return [replace(row, engine=str(number)) for number, row in rows]

    def at(self, moment: float, do: Callable[[float], None]) -> None:
        """Do something at a moment."""
        heapq.heappush(self._events, (moment, next(self._order), do))

    def join(self, now: float) -> None:
        """One user more, who asks at once."""
        user = next(self._names)
        self._users[user] = None
        self._ask_at(now, user)

    def leave(self, now: float) -> None:
        """One user less, the newest; a reply in flight is ended by us."""
        user = next(reversed(self._users))
        flight = self._users.pop(user)
        if flight is not None:
            self._cut(flight, now)

    def cut_all(self, now: float) -> None:
        """End what is still in flight."""
        for flight in list(self.flying.values()):
            self._users[flight.user] = None
            self._cut(flight, now)

    def run_until(self, moment: float) -> None:
        """Let time pass."""
        while True:
            starts = [(start, n) for n, engine in enumerate(self.engines) if (start := engine.next_start()) is not None]
            start, number = min(starts) if starts else (float("inf"), -1)
            if self._events and self._events[0][0] <= min(moment, start):
                when, _, do = heapq.heappop(self._events)
                do(when)
            elif start < moment:
                self._step(number)
            else:
                return

    def _ask_at(self, moment: float, user: int) -> None:
        self.at(moment, lambda now: self._ask(now, user))

    def _ask(self, now: float, user: int) -> None:
        if self.ending or user not in self._users:
            return
        question, number = self.draws.question(), next(self._numbers)
        self.started += 1
        notes = Notes(number, f"virtual:{user}", now, len(self._shared) + question.own)
        flight = Flight(notes, user, question.own, question.reply)
        self._users[user] = self.flying[number] = flight
        self.path.ask(flight, now)

    def submit(self, flight: Flight, now: float, engine: int | None = None) -> None:
        """Hand a request to an engine, unless its client has left."""
        if flight.over:
            return
        flight.engine, flight.started = self.path.pick(flight) if engine is None else engine, True
        self._add(flight.engine, flight.notes.number, flight, now)

    def _add(self, engine: int, number: int, flight: Flight, now: float) -> None:
        own = tuple(range(OWN_TOKENS * number, OWN_TOKENS * number + flight.own))
        self.engines[engine].add(Request(number, now, self._shared + own, REPLY_TOKENS[: flight.reply], "stop"))

    def ask_for_others(self, engine: int, own: int, reply: int, now: float) -> None:
        """Hand an engine a request that no client of this run waits for."""
        number = next(self._numbers)
        self.for_others.add(number)
        self._add(engine, number, Flight(Notes(number, "", now, own), -1, own, reply), now)

    def _step(self, engine: int) -> None:
        step = self.engines[engine].step()
        if step is None:
            return
        self.books[engine].observe(step)
        flying, path, end = self.flying, self.path, step.end
        for output in step.outputs:
            if output.request_id in flying:
                path.token(flying[output.request_id], end)
        for done in step.finished:
            self.for_others.discard(done.request_id)
            if done.request_id in flying:
                flying[done.request_id].cached = done.cached_tokens
                path.finish(flying[done.request_id], end)

    def receive(self, flight: Flight, now: float) -> None:
        """A token reaches its client."""
        if not flight.over:
            flight.notes.token(now)
            self.tokens[int(now)] += 1

    def end(self, flight: Flight, now: float, outcome: str = "complete", status: int = 200) -> None:
        """A reply is over for its client."""
        if flight.over:
            return
        flight.over = True
        del self.flying[flight.notes.number]
        flight.notes.cached = flight.cached
        self.gaps += flight.notes.gaps
        row = flight.notes.row(now, "stop")
        if outcome != "complete":
            row = replace(row, outcome=outcome, status=status, finish_reason=None)
        self._on_reply(self.path.row(replace(row, connect=self.path.connect)))
        if flight.user in self._users:
            self._users[flight.user] = None
            pause = AFTER_REJECTION_S if status != 200 else self.draws.think()
            self._ask_at(now + pause, flight.user)

    def _cut(self, flight: Flight, now: float) -> None:
        if flight.over:
            return
        flight.over = True
        del self.flying[flight.notes.number]
        if flight.started and flight.engine is not None:
            self.engines[flight.engine].abort(flight.notes.number)
        self.gaps += flight.notes.gaps
        self._on_reply(self.path.row(flight.notes.row(max(now, flight.notes.last or now), None)))
        self.path.aborted(flight, now)

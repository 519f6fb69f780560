"""The workers that a master knows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from locust.runners import STATE_MISSING, WorkerNode

from probe_ext.swarm.link import clock_sync
from probe_ext.swarm.link.absences import Absences


@dataclass
class Worker:
    """A worker as the master knows it."""

    id: str
    host: str = ""
    version: str = ""
    same_clock: bool = False
    """whether its monotonic clock is the master's own"""
    clock: clock_sync.ClockSync = field(default_factory=clock_sync.ClockSync)
    """how it lies to the master's, where it is another"""
    begun_at: clock_sync.Offset | None = None
    """the offset by which it was told the run's zero: its own rows count from there"""
    clock_error: float = 0.0
    """seconds: the largest error with which a row of this run was placed"""
    refused: bool = False
    drained: int | None = None
    """the number of its last batch, once it has said so"""
    left_at: float | None = None
    """when it gave its last word, where the run went on without it"""
    absences: Absences = field(default_factory=Absences)
    looks: int = 0
    """how often the master has looked after it"""

    @property
    def measured(self) -> bool:
        """Whether its clock is known."""
        return self.same_clock or bool(self.clock)

    @property
    def lost_at(self) -> float | None:
        """Second of the run at which it was last heard, where it is not heard now."""
        return self.absences.spans[-1][0] if self.absences.away else None

    def offset(self, t: float) -> clock_sync.Offset:
        """At master's time `t`. ValueError before the first measurement."""
        return clock_sync.SAME_CLOCK if self.same_clock else self.clock.at(t)

    def behind(self, t: float) -> float:
        """Seconds that a moment of its rows, `t` by what it was told, is to be moved to lie on the master's axis."""
        if self.same_clock or self.begun_at is None or not self.clock:
            return 0.0
        now = self.clock.at(t)
        self.clock_error = max(self.clock_error, now.error)
        return self.begun_at.seconds - now.seconds

    def new_run(self) -> None:
        """Forget what belongs to the last run."""
        self.drained = self.begun_at = self.left_at = None
        self.clock_error = 0.0
        self.absences = Absences()


@dataclass
class Workers:
    """All workers that ever joined, by id."""

    known: dict[str, Worker] = field(default_factory=dict)

    def join(self, worker: str) -> Worker:
        """A worker says hello, perhaps again."""
        return self.known.setdefault(worker, Worker(worker))

    def hosts(self, clients: Iterable[WorkerNode]) -> Counter[str]:
        """How many of these workers of Locust's are on each machine, without those that it does not hear."""
        heard = [client.id for client in clients if client.state != STATE_MISSING]
        named = [(self.known[worker].host if worker in self.known else "") for worker in heard]
        return Counter(host or worker.rpartition("_")[0] for host, worker in zip(named, heard, strict=True))

    @property
    def last_left_in_order(self) -> bool:
        """Whether of those that took part the last to go had given its last word."""
        gone = [(peer.absences.heard if peer.left_at is None else peer.left_at, peer) for peer in self.known.values()]
        took_part = [one for one in gone if one[1].begun_at is not None]
        return bool(took_part) and max(took_part, key=lambda one: one[0])[1].left_at is not None

"""The workers that a master knows: their clocks, and when contact with them was lost."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from locust.runners import STATE_MISSING, WorkerNode

from probe_ext.swarm.link.clock_sync import SAME_CLOCK, ClockSync, Offset


@dataclass
class Absences:
    """Spans of a run, in seconds, without contact to one worker: it was killed, hung or disconnected."""

    last_contact: float = 0.0
    spans: list[list[float | None]] = field(default_factory=list)
    """`from, until`: `until` is None while the worker is away"""

    def reconnect(self, now: float) -> None:
        """Note a sign of life."""
        self.last_contact = now
        if self.away:
            self.spans[-1][1] = now

    def disconnect(self) -> None:
        """Note that contact is lost: since the last contact, as the worker may have died right after it."""
        if not self.away:
            self.spans.append([self.last_contact, None])

    @property
    def away(self) -> bool:
        """Whether contact is lost now."""
        return bool(self.spans) and self.spans[-1][1] is None


@dataclass
class Worker:
    """A worker as the master knows it."""

    id: str
    host: str = ""
    version: str = ""
    same_clock: bool = False
    """whether it reads the same monotonic clock as the master"""
    clock: ClockSync = field(default_factory=ClockSync)
    begun_at: Offset | None = None
    """clock offset used for the run's zero that the worker was sent: its rows count from there"""
    clock_error: float = 0.0
    """largest error, in seconds, with which a row of this run was placed on the master's time axis"""
    refused: bool = False
    compared_files: tuple[str, ...] | None = None
    """digests of the master's prompt files that it has compared with its own"""
    file_problems: tuple[str, ...] = ()
    """why its own are not the same, one line each"""
    last_batch: int | None = None
    """number of its last batch, once it has drained"""
    left_at: float | None = None
    """when it left gracefully while the run went on"""
    absences: Absences = field(default_factory=Absences)
    ticks: int = 0
    """how often the master has checked on it"""

    @property
    def clock_known(self) -> bool:
        """Whether its clock was measured."""
        return self.same_clock or bool(self.clock)

    @property
    def lost_at(self) -> float | None:
        """Second of the run of the last contact, if contact is lost now."""
        return self.absences.spans[-1][0] if self.absences.away else None

    def clock_offset(self, t: float) -> Offset:
        """Return the offset at the master's time `t`. ValueError before the first measurement."""
        return SAME_CLOCK if self.same_clock else self.clock.at(t)

    def offset_at(self, t: float) -> float:
        """Return the seconds to add to a time `t` of its rows to place it on the master's time axis."""
        if self.same_clock or self.begun_at is None or not self.clock:
            return 0.0
        now = self.clock.at(t)
        self.clock_error = max(self.clock_error, now.error)
        return self.begun_at.seconds - now.seconds

    def start_run(self) -> None:
        """Forget the last run."""
        self.last_batch = self.begun_at = self.left_at = None
        self.clock_error = 0.0
        self.absences = Absences()


@dataclass
class Workers:
    """Every worker that ever connected, by id."""

    known: dict[str, Worker] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    """messages that the master did not handle, by reason"""

    def join(self, worker_id: str) -> Worker:
        """Return the worker of this id, a new one if it is unknown."""
        return self.known.setdefault(worker_id, Worker(worker_id))

    def count_by_host(self, clients: Iterable[WorkerNode]) -> Counter[str]:
        """Count Locust's connected workers by machine."""
        ids = [client.id for client in clients if client.state != STATE_MISSING]
        hosts = [self.known[worker_id].host if worker_id in self.known else "" for worker_id in ids]
        return Counter(host or worker_id.rpartition("_")[0] for host, worker_id in zip(hosts, ids, strict=True))

    @property
    def last_left_gracefully(self) -> bool:
        """Whether the last participant to go left gracefully."""
        participants = [worker for worker in self.known.values() if worker.begun_at is not None]
        ends = [(w.absences.last_contact if w.left_at is None else w.left_at, w.left_at) for w in participants]
        return bool(ends) and max(ends, key=lambda end: end[0])[1] is not None

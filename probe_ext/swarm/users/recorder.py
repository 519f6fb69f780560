"""Record the replies of one process that runs users: each started reply becomes exactly one row."""

import contextlib
import gc
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe_ext.client.exchange import Exchange
from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.sketch import use_bin_counts
from probe_ext.measure.table_rows import GapRow, ReplyRow, shifted_values
from probe_ext.measure.unfinished import Counts, UnfinishedReplies
from probe_ext.measure.window_sketches import WindowSketches
from probe_ext.run import worker_files
from probe_ext.run.tables import TableWriter
from probe_ext.swarm.users.bin_counts import bin_counts
from probe_ext.swarm.users.reply_rows import long_gaps, reply_row, write_windows

_Values = tuple[Any, ...]
"""of a row, in order: rows are neither made nor taken apart again on their way to a file or the master"""
_GC_THRESHOLDS = 20_000, 20, 10
_MAX_PENDING_BYTES = 16 * 1024 * 1024  # of the backup, kept in memory while the disk is full
_FORGET_SLACK_S = 60.0  # beyond the longest reply
_ENDED_TOGETHER = 50  # what can wait is done for so many replies at a time, which takes half as long, and 1 ms
_MAX_FOLLOWED = 1000  # replies whose progress is looked at once a second, which wakes the greenlet of each

Batch = dict[str, Any]
"""plain types: sent to the master, or handed to the collector of the same process"""


@dataclass(slots=True)  # a frozen one takes several times as long to make
class RequestInfo:
    """Where a request came from."""

    user: str
    scenario: str
    kind: str
    tokens_meant: int | None = None
    """length that the prompt was made for"""
    tokens_shared: int | None = None
    """of these, what earlier requests of a replayed trace began with, too"""
    windows_of: str = ""
    """kind of user whose windows are kept apart, as it asks a server of its own; else empty"""


@dataclass
class Recorder:
    """Counts started replies, keeps ended ones, and packs them into numbered batches.

    A batch stays in `unacknowledged` until the master has it. Batches may be sent repeatedly.
    """

    worker: str
    started: int = 0
    started_by_kind: Counter[str] = field(default_factory=Counter)
    """the same by kind of user, for arrivals of an open stream that are of a kind"""
    finished: int = 0
    users: int = 0
    in_flight: set[Exchange] = field(default_factory=set)
    ending: bool = False
    """no new request may start"""
    loop_lag_max: float = 0.0
    stamped: bool | None = None
    """whether receive times are the kernel's; None before the first connection"""
    reading_path: str | None = None
    """what reads the sockets, see `Connection.reading_path`; None before the first connection"""
    unacknowledged: dict[int, Batch] = field(default_factory=dict)
    disk_error: str | None = None
    run: str | None = None
    """id of the recorded run; None until the master has announced it"""

    def __post_init__(self) -> None:
        self._origin = 0.0
        self._cpu = clock.cpu()
        self._longest = math.inf
        self._deadlines: Deadlines | None = None
        self._before_run: list[tuple[Reply, RequestInfo, int]] = []
        self._ended: list[tuple[Reply, ReplyRow, str]] = []
        """the newest, which are in neither rows, gaps nor windows yet"""
        self._rows: list[_Values] = []
        self._gaps: list[_Values] = []
        self._book = WindowSketches()
        self._number = 0
        self._flushed: tuple[int, int, Counts] | None = None
        self._unfinished: UnfinishedReplies | None = None
        self._backup_error: str | None = None
        self._backup_file: Path | None = None
        self._backup_incomplete = False
        self._tables: tuple[TableWriter[ReplyRow], TableWriter[GapRow]] | None = None

    def begin(
        self,
        run: str,
        origin: float,
        directory: Path | None,
        longest: float = math.inf,
        deadlines: Deadlines | None = None,
        *,
        follow: bool = False,
    ) -> None:
        """Start recording a run, whose zero is `origin` in our monotonic seconds.

        `directory`: for a backup of the rows. `longest`: seconds that a reply may take; older windows no longer change
        and are forgotten. `deadlines`: when the run's profile wants each token; `follow`: report how
        replies do before they end.
        """
        self._longest, self._deadlines = longest, deadlines
        self._unfinished = UnfinishedReplies(deadlines) if deadlines and follow else None
        self.run, self._origin = run, origin
        tune_garbage_collection()
        use_bin_counts(bin_counts)
        self.loop_lag_max, self._cpu = 0.0, clock.cpu()  # start-up is not part of the run
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                worker_files.write_label(directory, self.worker, run)
                self._tables = (
                    TableWriter(directory / worker_files.REQUESTS_TABLE.file_name(self.worker), ReplyRow),
                    TableWriter(directory / worker_files.GAPS_TABLE.file_name(self.worker), GapRow),
                )
                self._backup_file = self._tables[0].path
            except OSError as error:
                self.disk_error = f"{directory}: {error.strerror or error}; no backup of the rows"
        for reply, info, number in self._before_run:
            self._keep(reply, info, number)
        self._before_run.clear()

    @property
    def backup(self) -> str:
        """The file with the backup of the replies, closed or not, and what is wrong with it; `none` without one."""
        if self._backup_file is None:
            return "none"
        return f"{self._backup_file}{' (incomplete)' if self._backup_incomplete else ''}"

    def note_connection(self, stamped: bool, reading_path: str | None) -> None:
        """Note how the sockets of this process are read, which the first connection shows; one that failed does not."""
        if self.reading_path is None and reading_path is not None:
            self.stamped, self.reading_path = stamped, reading_path

    def new_user(self) -> str:
        """Return an id for a new simulated user."""
        self.users += 1
        return f"{self.worker}:{self.users}"

    def reserve(self, kind: str = "") -> int:
        """Note a request that is due, sent or not, and return its number."""
        self.started += 1
        if kind:
            self.started_by_kind[kind] += 1
        return self.started

    def start(self, exchange: Exchange, number: int | None = None) -> int:
        """Note that a request is sent, and return its number, which may have been reserved."""
        self.in_flight.add(exchange)
        return self.reserve() if number is None else number

    def end(self, exchange: Exchange | None, reply: Reply, info: RequestInfo, number: int) -> ReplyRow:
        """Note the end of a reply, and return its row in this process's monotonic seconds.

        `exchange`: None if no request was sent.
        """
        if exchange is not None:
            self.in_flight.discard(exchange)
        if self.run is None:
            self._before_run.append((reply, info, number))
            return self._row(reply, info, number)
        return self._keep(reply, info, number)

    def _row(self, reply: Reply, info: RequestInfo, number: int) -> ReplyRow:
        return reply_row(
            reply,
            reply_id=f"{self.worker}:{number}",
            worker=self.worker,
            user=info.user,
            scenario=info.scenario,
            kind=info.kind,
            tokens_meant=info.tokens_meant,
            tokens_shared=info.tokens_shared,
            deadlines=self._deadlines,
        )

    def _keep(self, reply: Reply, info: RequestInfo, number: int) -> ReplyRow:
        row = self._row(reply, info, number)
        self.finished += 1
        self._ended.append((reply, row, info.windows_of))
        if len(self._ended) >= _ENDED_TOGETHER:
            self._store_ended()
        return row

    def _store_ended(self) -> None:
        for reply, row, windows_of in self._ended:
            self._rows.append(shifted_values(row, -self._origin))
            self._gaps += long_gaps(reply, row, -self._origin)
            write_windows(self._book, reply, row, self._origin, windows_of)
        self._ended.clear()

    def flush(self) -> None:
        """Pack what is new into a batch, and append it to the backup."""
        self._store_ended()
        early = self._count_unfinished()
        counts = (self.started, self.finished, early)
        if self.run is None or (counts == self._flushed and not self._rows):
            return
        self._book.drop_before(clock.monotonic() - self._origin - self._longest - _FORGET_SLACK_S)
        self._back_up()
        self._number += 1
        self.unacknowledged[self._number] = {
            "run": self.run,
            "worker": self.worker,
            "number": self._number,
            "started": self.started,
            "started_by_kind": dict(self.started_by_kind),
            "finished": self.finished,
            "early": [list(of_age) for of_age in early],
            "cpu_seconds": clock.cpu() - self._cpu,
            "loop_lag_max": self.loop_lag_max,
            "stamped": self.stamped,
            "reading_path": self.reading_path,
            "disk_error": self.disk_error,
            "rows": self._rows,
            "gaps": self._gaps,
            "windows": self._book.take_changes(),
        }
        self._rows, self._gaps, self._flushed = [], [], counts

    def _count_unfinished(self) -> Counts:
        if self._unfinished is None or len(self.in_flight) > _MAX_FOLLOWED:
            return ()
        progress = {id(exchange): exchange.look() for exchange in self.in_flight}
        return self._unfinished.count({key: reply for key, reply in progress.items() if reply is not None})

    def _back_up(self) -> None:
        if self._tables is None:
            return
        requests, gaps = self._tables
        errors = _append(requests, self._rows), _append(gaps, self._gaps)
        error = errors[0] or errors[1]
        self._backup_incomplete = bool(error)
        if error:
            self._backup_error = f"{requests.path}: {error.strerror or error}"
            self.disk_error = f"{self._backup_error}; the backup of the rows is incomplete"
            if requests.pending_bytes + gaps.pending_bytes > _MAX_PENDING_BYTES:
                self.close()  # the master has the rows: no memory for a backup
        elif self._backup_error:
            self.disk_error = f"{self._backup_error}; temporary, every row was written later"

    @property
    def last_number(self) -> int:
        """Number of the newest batch."""
        return self._number

    def abort_all(self) -> None:
        """Abort every reply in flight."""
        for exchange in list(self.in_flight):
            exchange.cancel()

    def close(self) -> None:
        """Close the backup. Disk errors no longer matter: the master has the rows."""
        tables, self._tables = self._tables or (), None
        for table in tables:
            with contextlib.suppress(OSError):
                table.close()


def _append(table: TableWriter[Any], rows: list[_Values]) -> OSError | None:
    try:
        table.append_values(rows)
    except OSError as error:
        return error
    return None


def tune_garbage_collection() -> None:
    """Keep garbage collection out of the way of reads.

    A full collection takes tens of milliseconds once Locust is loaded, and the default thresholds start one every few
    hundred replies. So what exists now is frozen, and collections of young objects are made rare: a finished reply is
    freed by its reference count, without cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def watch_loop(recorder: Callable[[], Recorder], sleep: Callable[[float], None], every: float = 0.1) -> None:
    """Measure the event loop's lag every `every` seconds, without end, and keep the largest."""
    while True:
        before = clock.monotonic()
        sleep(every)
        late = clock.monotonic() - before - every
        recorder().loop_lag_max = max(recorder().loop_lag_max, late)

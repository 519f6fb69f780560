"""What one process that runs users measures: every started reply ends here as a row, exactly once."""

import contextlib
import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from probe_ext.client.converse import Conversation
from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, moved, values_of
from probe_ext.measure.window_sketches import Book
from probe_ext.run import own_copy
from probe_ext.run.tables import TableWriter
from probe_ext.swarm.users.reply_rows import long_gaps, reply_row, write_windows

R = TypeVar("R", ReplyRow, GapRow)
_GC_THRESHOLDS = 20_000, 20, 10
_WAITING_MOST = 16 * 1024 * 1024
"""bytes of its own copy that a worker keeps in memory while its disk is full"""
_SLACK = 60.0
"""seconds beyond the longest reply"""

Batch = dict[str, Any]
"""Plain types: what goes over Locust's wire, or straight to the collector in a lone Locust"""


@dataclass(frozen=True)
class Asked:
    """Who asked for a reply."""

    user: str
    scenario: str
    kind: str


@dataclass
class Recorder:
    """Counts replies as they start, keeps them as they end, and hands them on in numbered batches.

    A batch stays in `unacknowledged` until the master has it; sending one twice changes nothing there.
    """

    worker: str
    started: int = 0
    finished: int = 0
    users: int = 0
    in_flight: set[Conversation] = field(default_factory=set)
    ending: bool = False
    """no further reply may start"""
    loop_lag_max: float = 0.0
    stamped: bool | None = None
    """whether receive times are the kernel's; None before the first connection"""
    unacknowledged: dict[int, Batch] = field(default_factory=dict)
    disk_error: str | None = None
    run: str | None = None
    """the run that is being recorded; None before the master has said which"""

    def __post_init__(self) -> None:
        self._origin = 0.0
        self._cpu = clock.cpu()
        self._longest = math.inf
        self._deadlines: Deadlines | None = None
        self._waiting: list[tuple[Reply, Asked, int]] = []
        self._rows: list[ReplyRow] = []
        self._gaps: list[GapRow] = []
        self._book = Book()
        self._number = 0
        self._told: tuple[int, int] = (-1, -1)
        self._refusal: str | None = None
        self._tables: tuple[TableWriter[ReplyRow], TableWriter[GapRow]] | None = None

    def begin(
        self,
        run: str,
        origin: float,
        directory: Path | None,
        longest: float = math.inf,
        deadlines: Deadlines | None = None,
    ) -> None:
        """A run has begun: its zero in our monotonic seconds, and where our own copy of the rows goes, if anywhere.

        `longest`: seconds that a reply may take; windows older than that change no more and are forgotten.
        `deadlines`: when the run's profile wants each token.
        """
        self._longest, self._deadlines = longest, deadlines
        self.run, self._origin = run, origin
        tune_garbage_collection()
        self.loop_lag_max, self._cpu = 0.0, clock.cpu()  # a start-up's lateness and work are no part of the run
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                own_copy.write_label(directory, self.worker, run)
                self._tables = (
                    TableWriter(directory / own_copy.requests_of(self.worker), ReplyRow),
                    TableWriter(directory / own_copy.gaps_of(self.worker), GapRow),
                )
            except OSError as error:
                self.disk_error = f"{directory}: {error.strerror or error}; it keeps no copy of the rows"
        for reply, asked, number in self._waiting:
            self._keep(reply, asked, number)
        self._waiting.clear()

    @property
    def copy_at(self) -> Path | None:
        """Our own copy of the replies, where one is kept."""
        return self._tables[0].path if self._tables else None

    def new_user(self) -> str:
        """An identity for one simulated person."""
        self.users += 1
        return f"{self.worker}:{self.users}"

    def start(self, conversation: Conversation) -> int:
        """A reply is asked for; its number."""
        self.started += 1
        self.in_flight.add(conversation)
        return self.started

    def end(self, conversation: Conversation, reply: Reply, asked: Asked, number: int) -> ReplyRow:
        """A reply has ended, however it did; its row in this process's monotonic seconds."""
        self.in_flight.discard(conversation)
        if self.run is None:
            self._waiting.append((reply, asked, number))
            return self._row(reply, asked, number)
        return self._keep(reply, asked, number)

    def _row(self, reply: Reply, asked: Asked, number: int) -> ReplyRow:
        return reply_row(
            reply,
            reply_id=f"{self.worker}:{number}",
            worker=self.worker,
            user=asked.user,
            scenario=asked.scenario,
            kind=asked.kind,
            deadlines=self._deadlines,
        )

    def _keep(self, reply: Reply, asked: Asked, number: int) -> ReplyRow:
        row = self._row(reply, asked, number)
        self.finished += 1
        self._rows.append(moved(row, -self._origin, REPLY_MARKS))
        self._gaps.extend(moved(gap, -self._origin, GAP_MARKS) for gap in long_gaps(reply, row))
        write_windows(self._book, reply, row, self._origin)
        return row

    def flush(self) -> None:
        """Put what is new into a batch and on our own disk."""
        news = (self.started, self.finished)
        if self.run is None or (news == self._told and not self._rows):
            return
        self._book.forget(clock.monotonic() - self._origin - self._longest - _SLACK)
        self._to_disk()
        self._number += 1
        self.unacknowledged[self._number] = {
            "run": self.run,
            "worker": self.worker,
            "number": self._number,
            "started": self.started,
            "finished": self.finished,
            "cpu_seconds": clock.cpu() - self._cpu,
            "loop_lag_max": self.loop_lag_max,
            "stamped": self.stamped,
            "disk_error": self.disk_error,
            "rows": [values_of(row) for row in self._rows],
            "gaps": [values_of(gap) for gap in self._gaps],
            "windows": self._book.changes(),
        }
        self._rows, self._gaps, self._told = [], [], news

    def _to_disk(self) -> None:
        if self._tables is None:
            return
        requests, gaps = self._tables
        said = _refusal(requests, self._rows), _refusal(gaps, self._gaps)
        refused = said[0] or said[1]
        if refused:
            self._refusal = f"{requests.path}: {refused.strerror or refused}"
            self.disk_error = f"{self._refusal}; its own copy of the rows is not whole"
            if requests.waiting_bytes + gaps.waiting_bytes > _WAITING_MOST:
                self.close()  # the master has the rows; memory must not pay for a copy of them
        elif self._refusal:
            self.disk_error = f"{self._refusal}; it refused for a while, every row was written later"

    @property
    def last_number(self) -> int:
        """The number of the newest batch."""
        return self._number

    def cut_all(self) -> None:
        """End every reply in flight."""
        for conversation in list(self.in_flight):
            conversation.cut()

    def close(self) -> None:
        """Close our own tables; what the disk refuses now is only our copy, the master has the rows."""
        tables, self._tables = self._tables or (), None
        for table in tables:
            with contextlib.suppress(OSError):
                table.close()


def _refusal(table: TableWriter[R], rows: list[R]) -> OSError | None:
    """Append; what the disk says against it."""
    try:
        table.append(rows)
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
    """Measure how late the event loop runs: forever, `every` seconds, the longest overshoot is kept."""
    while True:
        before = clock.monotonic()
        sleep(every)
        late = clock.monotonic() - before - every
        recorder().loop_lag_max = max(recorder().loop_lag_max, late)

"""Where all rows of a run come together: on the master, or in a lone Locust."""

import itertools
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, ServerRow, UserRow, moved
from probe_ext.measure.window_sketches import MasterBook
from probe_ext.run import directory as places
from probe_ext.run.manifest import replace_lines
from probe_ext.run.tables import TableWriter
from probe_ext.swarm.link.sequence_set import SequenceSet
from probe_ext.swarm.users.recorder import Batch

logger = logging.getLogger(__name__)
R = TypeVar("R", ReplyRow, GapRow, UserRow, ServerRow)

OffsetAt = Callable[[str, float], float]
"""worker and a time on its clock → seconds to add to place that time on the master's axis"""

_REPORTED = ("started", "finished", "cpu_seconds", "loop_lag_max", "stamped", "disk_error")


def _same_clock(worker: str, t: float) -> float:
    """Of a lone Locust, and of workers on the master's own machine."""
    return 0.0


class Collector:
    """Takes batches in any order, each once, and appends them to the run directory.

    A disk that takes no more is told once and tried again: rows wait in memory meanwhile.
    """

    def __init__(
        self, run: str, directory: Path, on_reply: Callable[[ReplyRow], None], offset_at: OffsetAt = _same_clock
    ) -> None:
        self.run = run
        self.directory = directory
        self.book = MasterBook()
        self.rows = 0
        self.reported: dict[str, dict[str, Any]] = {}
        """what each worker's newest batch says of it, and how many rows came from it"""
        self.disk_errors: dict[str, str] = {}
        """what the disk said, by file name; it may have taken the lines later"""
        self.incomplete: set[str] = set()
        """files of these names that are not as new as what was collected"""
        self.closed = False
        self._finalized: list[bytes] = []
        """compressed lines of windows that no longer change: 2 MiB an hour instead of 85"""
        self._numbers: dict[str, SequenceSet] = {}
        self._on_reply = on_reply
        self._offset_at = offset_at
        self._requests = TableWriter(directory / places.REQUESTS, ReplyRow)
        self._gaps = TableWriter(directory / places.GAPS, GapRow)
        self._users = TableWriter(directory / places.USERS, UserRow)
        self._server = TableWriter(directory / places.SERVER, ServerRow)

    def accept(self, batch: Batch) -> None:
        """Take one batch; one that came before, or too late, or belongs to another run, changes nothing."""
        worker, number = batch["worker"], batch["number"]
        seen = self._numbers.setdefault(worker, SequenceSet())
        if self.closed or batch["run"] != self.run or number in seen:
            return
        if number > seen.highest:
            reported = self.reported.setdefault(worker, {"rows": 0})
            reported.update({key: batch[key] for key in _REPORTED})
        seen.add(number)
        rows = [self._placed(worker, ReplyRow(*values)) for values in batch["rows"]]
        self.reported[worker]["rows"] += len(rows)
        self.rows += len(rows)
        for row in rows:
            self._on_reply(row)
        self.book.absorb(worker, batch["windows"])
        self._append(self._requests, rows)
        gaps = [GapRow(*values) for values in batch["gaps"]]
        self._append(self._gaps, [moved(gap, self._offset_at(worker, gap.end), GAP_MARKS) for gap in gaps])

    def _placed(self, worker: str, row: ReplyRow) -> ReplyRow:
        """On the master's axis: all its marks move as one, so that what lies between them stays as it was measured."""
        seconds = self._offset_at(worker, row.end)
        return moved(row, seconds, REPLY_MARKS) if seconds else row

    def has_all(self, worker: str, last: int) -> bool:
        """Whether every batch up to this number has come."""
        return worker in self._numbers and self._numbers[worker].whole >= last

    def add_users(self, row: UserRow) -> None:
        """Note how many users there are."""
        self._append(self._users, [row])

    def add_server(self, rows: list[ServerRow]) -> None:
        """Note what a server said of itself."""
        self._append(self._server, rows)

    def _append(self, table: TableWriter[R], rows: list[R]) -> None:
        if self.closed:
            return  # its descriptor may be another file's by now
        name = table.path.name
        try:
            table.append(rows)
        except OSError as error:
            if name not in self.disk_errors:
                logger.warning("%s: %s; rows wait in memory", table.path, error.strerror or error)
            self.disk_errors[name] = error.strerror or str(error)

    def add_windows(self) -> None:
        """Append the windows that changed to `sketches.jsonl`; the end puts the file in place as a whole."""
        news = self.book.news()
        try:
            _append_whole(self.directory / places.SKETCHES, "".join(_json(news)).encode())
        except OSError as error:
            self.book.restore(news)
            self.disk_errors[places.SKETCHES] = error.strerror or str(error)

    def finalize_windows(self, before: float) -> None:
        """Compress the windows that ended before this second of the run: they no longer change."""
        self._finalized.append(zlib.compress("".join(_json(self.book.seal(before))).encode()))

    def write_windows(self) -> None:
        """Put `sketches.jsonl` in place as a whole, one line a metric and window."""
        try:
            finalized = (zlib.decompress(lines).decode() for lines in self._finalized)
            replace_lines(self.directory / places.SKETCHES, itertools.chain(finalized, _json(self.book.lines())))
        except OSError as error:
            self.disk_errors[places.SKETCHES] = error.strerror or str(error)
            self.incomplete.add(places.SKETCHES)
        else:
            self.incomplete.discard(places.SKETCHES)

    @property
    def unwritten(self) -> dict[str, int]:
        """How many lines of a table the disk has not taken, by file name; none where it has them all."""
        tables = (self._requests, self._gaps, self._users, self._server)
        return {table.path.name: table.unwritten for table in tables if table.unwritten}

    def write_again(self) -> None:
        """Try to write what waits in memory."""
        self._append(self._requests, [])
        self._append(self._gaps, [])
        self._append(self._users, [])
        self._append(self._server, [])

    def close(self) -> None:
        """Write what is left, the replies first, and close the tables."""
        self.write_again()
        self.write_windows()
        self.closed = True
        for table in (self._requests, self._gaps, self._users, self._server):
            try:
                table.close()
            except OSError as error:
                self.disk_errors[table.path.name] = error.strerror or str(error)


def _json(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(record, separators=(",", ":")) + "\n" for record in records)


def _append_whole(path: Path, data: bytes) -> None:
    """All or nothing: what a full disk took of it is given back."""
    with path.open("ab", buffering=0) as file:
        size, rest = file.tell(), memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise

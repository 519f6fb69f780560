"""Collect all rows of a run, on the master or in a single-process Locust, and append them to the run directory."""

import itertools
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, ServerRow, UserRow, shifted, values_of
from probe_ext.measure.unfinished import EarlyCount
from probe_ext.measure.window_sketches import MergedWindows
from probe_ext.run import directory as places
from probe_ext.run.manifest import replace_lines
from probe_ext.run.tables import TableWriter
from probe_ext.swarm.link.sequence_set import SequenceSet
from probe_ext.swarm.users.recorder import Batch

logger = logging.getLogger(__name__)
R = TypeVar("R", ReplyRow, GapRow, UserRow, ServerRow, GpuRow)

OffsetAt = Callable[[str, float], float]
"""worker and a time on its clock → seconds to add to place that time on the master's axis"""

_REPORTED = (
    "started",
    "started_by_kind",
    "finished",
    "cpu_seconds",
    "loop_lag_max",
    "stamped",
    "reading_path",
    "disk_error",
)


def _same_clock(worker: str, t: float) -> float:
    return 0.0


class Collector:
    """Accepts batches in any order, each once. After a disk error, rows wait in memory for the next attempt."""

    def __init__(
        self, run: str, directory: Path, on_reply: Callable[[ReplyRow], None], offset_at: OffsetAt = _same_clock
    ) -> None:
        self.run = run
        self.directory = directory
        self.book = MergedWindows()
        self.rows = 0
        self.reported: dict[str, dict[str, Any]] = {}
        """per worker: what its newest batch reports of it, and `rows`, how many came from it"""
        self.disk_errors: dict[str, str] = {}
        """disk errors by file name; the lines may have been written later"""
        self.incomplete: set[str] = set()
        """names of files that lack what was collected last"""
        self.closed = False
        self._finalized: list[bytes] = []
        """compressed lines of windows that no longer change: 2 MiB per hour instead of 85 MiB"""
        self._received: dict[str, SequenceSet] = {}
        self._on_reply = on_reply
        self._offset_at = offset_at
        self._requests = TableWriter(directory / places.REQUESTS, ReplyRow)
        self._gaps = TableWriter(directory / places.GAPS, GapRow)
        self._users = TableWriter(directory / places.USERS, UserRow)
        self._server = TableWriter(directory / places.SERVER, ServerRow)
        self._gpu: TableWriter[GpuRow] | None = None

    def accept(self, batch: Batch) -> bool:
        """Add a batch unless it is a repetition; False if it came too late or belongs to another run."""
        worker, number = batch["worker"], batch["number"]
        if batch["run"] != self.run:
            return False
        seen = self._received.setdefault(worker, SequenceSet())
        if self.closed or number in seen:
            return number in seen
        if number > seen.highest:
            reported = self.reported.setdefault(worker, {"rows": 0})
            reported.update({key: batch.get(key) for key in _REPORTED})
            reported["early"] = [EarlyCount(*counts) for counts in batch.get("early", ())]
        seen.add(number)
        rows = [ReplyRow(*values) for values in batch["rows"]]
        offsets = [self._offset_at(worker, row.end) for row in rows]
        if any(offsets):  # all marks of a row move together, so intervals stay as measured
            rows = [shifted(row, seconds) for row, seconds in zip(rows, offsets, strict=True)]
        self.reported[worker]["rows"] += len(rows)
        self.rows += len(rows)
        for row in rows:
            self._on_reply(row)
        self.book.merge(worker, batch["windows"])
        self._append_values(self._requests, map(values_of, rows) if any(offsets) else batch["rows"])
        self._append_values(self._gaps, [self._gap_on_master_axis(worker, values) for values in batch["gaps"]])
        return True

    def _gap_on_master_axis(self, worker: str, values: Sequence[Any]) -> Sequence[Any]:
        """Move a gap's values to the master's time axis; both its ends move together."""
        reply_id, start, end, *rest = values
        seconds = self._offset_at(worker, end)
        return (reply_id, start + seconds, end + seconds, *rest) if seconds else values

    def has_all(self, worker: str, last: int) -> bool:
        """Whether every batch up to this number has arrived."""
        return worker in self._received and self._received[worker].complete_up_to >= last

    def add_users(self, row: UserRow) -> None:
        """Append a row of user counts."""
        self._append(self._users, [row])

    def add_server(self, rows: list[ServerRow]) -> None:
        """Append server metrics."""
        self._append(self._server, rows)

    def add_gpu(self, rows: list[GpuRow]) -> None:
        """Append GPU metrics; their table is made with the first."""
        if self._gpu is None and not self.closed:
            try:
                self._gpu = TableWriter(self.directory / places.GPU, GpuRow)
            except OSError as error:
                self.disk_errors[places.GPU] = error.strerror or str(error)
        if self._gpu is not None:
            self._append(self._gpu, rows)

    def _append(self, table: TableWriter[R], rows: list[R]) -> None:
        self._append_values(table, map(values_of, rows))

    def _append_values(self, table: TableWriter[Any], rows: Iterable[Sequence[Any]]) -> None:
        if self.closed:
            return  # its descriptor may belong to another file by now
        name = table.path.name
        try:
            table.append_values(rows)
        except OSError as error:
            if name not in self.disk_errors:
                logger.warning("%s: %s; keeping rows in memory", table.path, error.strerror or error)
            self.disk_errors[name] = error.strerror or str(error)

    def add_windows(self) -> None:
        """Append changed windows to `sketches.jsonl`, which is replaced as a whole at the end."""
        news = self.book.take_changes()
        try:
            _append_whole(self.directory / places.SKETCHES, "".join(_json(news)).encode())
        except OSError as error:
            self.book.return_changes(news)
            self.disk_errors[places.SKETCHES] = error.strerror or str(error)

    def finalize_windows(self, before: float) -> None:
        """Compress the windows that ended before this second of the run: they no longer change."""
        self._finalized.append(zlib.compress("".join(_json(self.book.finalize(before))).encode()))

    def write_windows(self) -> None:
        """Replace `sketches.jsonl`: one line per metric and window."""
        try:
            finalized = (zlib.decompress(lines).decode() for lines in self._finalized)
            replace_lines(self.directory / places.SKETCHES, itertools.chain(finalized, _json(self.book.records())))
        except OSError as error:
            self.disk_errors[places.SKETCHES] = error.strerror or str(error)
            self.incomplete.add(places.SKETCHES)
        else:
            self.incomplete.discard(places.SKETCHES)

    @property
    def unwritten(self) -> dict[str, int]:
        """Lines not written yet, by file name; only files that lack some."""
        return {table.path.name: table.unwritten for table in self._tables if table.unwritten}

    @property
    def _tables(self) -> tuple[TableWriter[Any], ...]:
        tables = (self._requests, self._gaps, self._users, self._server)
        return tables if self._gpu is None else (*tables, self._gpu)

    def write_again(self) -> None:
        """Try again to write the rows in memory."""
        for table in self._tables:
            self._append(table, [])

    def close(self) -> None:
        """Write what is left, replies first, and close the tables."""
        self.write_again()
        self.write_windows()
        self.closed = True
        for table in self._tables:
            try:
                table.close()
            except OSError as error:
                self.disk_errors[table.path.name] = error.strerror or str(error)


def _json(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(record, separators=(",", ":")) + "\n" for record in records)


def _append_whole(path: Path, data: bytes) -> None:
    """Append all or nothing: a part that a full disk took is removed."""
    with path.open("ab", buffering=0) as file:
        size, rest = file.tell(), memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise

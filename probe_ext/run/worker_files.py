"""The files a worker keeps on its own disk: its rows, and a label that says which run they belong to."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, columns
from probe_ext.run.directory import GAPS, REQUESTS
from probe_ext.run.manifest import Manifest, replace_text
from probe_ext.run.regular_files import check_regular

Row = dict[str, str]
_MAX_LABEL_BYTES = 10_000
_MAX_TABLE_BYTES = 2 * 10**9
"""seven million replies; the table is read as a whole"""


class MergeError(Exception):
    """A file that cannot be merged; the message names it and the reason."""


@dataclass(frozen=True)
class Table:
    """One of a worker's tables; `marks` are the columns that hold times."""

    name: str
    columns: tuple[str, ...]
    marks: tuple[str, ...]

    def file_name(self, worker: str) -> str:
        """Return the worker's file name, such as `requests-w1.csv`."""
        return self.name.replace(".csv", f"-{worker}.csv")


REQUESTS_TABLE = Table(REQUESTS, columns(ReplyRow), REPLY_MARKS)
GAPS_TABLE = Table(GAPS, columns(GapRow), GAP_MARKS)
TABLES = (REQUESTS_TABLE, GAPS_TABLE)


@dataclass(frozen=True)
class WorkerFile:
    """A worker's table as read from its disk."""

    path: Path
    table: Table
    worker: str
    rows: list[Row]
    truncated: bool
    """whether an incomplete last line was skipped"""


def label_name(worker: str) -> str:
    """Return the name of the label file."""
    return f"worker-{worker}.json"


def write_label(directory: Path, worker: str, run: str) -> None:
    """Record which run the worker's files belong to. OSError if that fails."""
    replace_text(directory / label_name(worker), json.dumps({"run": run, "worker": worker}) + "\n")


def read(manifest: Manifest, file: Path) -> WorkerFile:
    """Read a worker's table. MergeError, naming file and line, unless all of it belongs to the manifest's run."""
    table, worker = _parse_name(file)
    ids = [entry.get("id") for entry in workers_of(manifest)]
    if worker not in ids:
        raise MergeError(f"{file}: worker {worker} is not in this run (workers: {', '.join(map(str, ids)) or 'none'})")
    run = _labelled_run(file.parent, worker)
    if run is None:
        raise MergeError(f"{file}: {label_name(worker)}, which names the run, is missing beside it: copy both")
    if run != manifest.get("run_id"):
        raise MergeError(f"{file}: belongs to run {run}, not to {manifest.get('run_id')}")
    try:
        check_regular(file, _MAX_TABLE_BYTES)
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not valid UTF-8"
        raise MergeError(f"{file}: {why}") from error
    complete, _, rest = text.rpartition("\n")
    return WorkerFile(file, table, worker, list(_rows(file, table, complete + "\n")), bool(rest))


def _parse_name(file: Path) -> tuple[Table, str]:
    for table in TABLES:
        prefix = table.name.removesuffix(".csv") + "-"
        if file.name.startswith(prefix) and file.suffix == ".csv":
            return table, file.name.removeprefix(prefix).removesuffix(".csv")
    raise MergeError(f"{file}: the name must be requests-<worker>.csv or gaps-<worker>.csv")


def _labelled_run(directory: Path, worker: str) -> str | None:
    try:
        check_regular(directory / label_name(worker), _MAX_LABEL_BYTES)
        label: Any = json.loads((directory / label_name(worker)).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    run = label.get("run") if isinstance(label, dict) and label.get("worker") == worker else None
    return run if isinstance(run, str) else None


def _rows(file: Path, table: Table, text: str) -> Iterator[Row]:
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        yield from _parsed(file, table, lines)
    except csv.Error as error:
        raise MergeError(f"{file}: line {lines.line_num + 1}: {error}; nothing was merged") from error


def _parsed(file: Path, table: Table, lines: Any) -> Iterator[Row]:
    header: list[str] = next(lines, [])
    if tuple(header) != table.columns:
        raise MergeError(f"{file}: line 1: not the header of this version's {table.name}")
    for values in lines:
        row = dict(zip(table.columns, values, strict=False))
        if len(values) != len(table.columns) or not row["reply_id"] or not _has_valid_times(row, table.marks):
            raise MergeError(f"{file}: line {lines.line_num}: not a valid row of {table.name}; nothing was merged")
        yield row


def _has_valid_times(row: Row, marks: tuple[str, ...]) -> bool:
    try:
        return bool(row["end"]) and all(abs(float(row[mark])) < float("inf") for mark in marks if row[mark])
    except ValueError:
        return False


def workers_of(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the manifest's worker entries, none if damaged."""
    workers = manifest.get("workers")
    return [entry for entry in workers if isinstance(entry, dict)] if isinstance(workers, list) else []

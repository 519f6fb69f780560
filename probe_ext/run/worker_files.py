"""A file that a worker kept of its own: read line by line, and refused unless it is wholly of this run."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.measure.table_rows import GAP_MARKS, REPLY_MARKS, GapRow, ReplyRow, columns
from probe_ext.run import directory, manifest, own_copy

Row = dict[str, str]


class MergeError(Exception):
    """A file that cannot be merged; the message names it and says why."""


@dataclass(frozen=True)
class Table:
    """One of the two that a worker writes."""

    name: str
    columns: tuple[str, ...]
    marks: tuple[str, ...]


TABLES = (
    Table(directory.REQUESTS, columns(ReplyRow), REPLY_MARKS),
    Table(directory.GAPS, columns(GapRow), GAP_MARKS),
)


@dataclass(frozen=True)
class WorkerFile:
    """What it holds."""

    path: Path
    table: Table
    worker: str
    rows: list[Row]
    torn: bool
    """whether its last line was cut off, and left out"""


def read(stated: manifest.Manifest, file: Path) -> WorkerFile:
    """Check and read it. MergeError names file and line."""
    table, worker = _whose(file)
    if not any(one.get("id") == worker for one in workers_of(stated)):
        known = ", ".join(str(one.get("id")) for one in workers_of(stated)) or "none"
        raise MergeError(f"{file}: worker {worker} took no part in this run; it had {known}")
    run = own_copy.run_of(file.parent, worker)
    if run is None:
        label = own_copy.label_of(worker)
        raise MergeError(f"{file}: {label}, which says which run it belongs to, is not beside it: copy both")
    if run != stated.get("run_id"):
        raise MergeError(f"{file}: belongs to the run {run}, not to {stated.get('run_id')}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no UTF-8"
        raise MergeError(f"{file}: {why}") from error
    whole, _, rest = text.rpartition("\n")
    return WorkerFile(file, table, worker, list(_rows(file, table, whole + "\n")), bool(rest))


def _whose(file: Path) -> tuple[Table, str]:
    for table in TABLES:
        stem = table.name.removesuffix(".csv") + "-"
        if file.name.startswith(stem) and file.suffix == ".csv":
            return table, file.name.removeprefix(stem).removesuffix(".csv")
    raise MergeError(f"{file}: is named neither requests-<worker>.csv nor gaps-<worker>.csv")


def _rows(file: Path, table: Table, text: str) -> Iterator[Row]:
    lines = csv.reader(text.splitlines(keepends=True))
    header = next(lines, [])
    if tuple(header) != table.columns:
        raise MergeError(f"{file}: line 1: not the header of this version's {table.name}")
    for values in lines:
        row = dict(zip(table.columns, values, strict=False))
        if len(values) != len(table.columns) or not row["reply_id"] or not _timed(row, table.marks):
            raise MergeError(f"{file}: line {lines.line_num}: no row of {table.name}; nothing was merged")
        yield row


def _timed(row: Row, marks: tuple[str, ...]) -> bool:
    try:
        return bool(row["end"]) and all(abs(float(row[mark])) < float("inf") for mark in marks if row[mark])
    except ValueError:
        return False


def workers_of(stated: manifest.Manifest) -> list[dict[str, Any]]:
    """As the manifest has them."""
    told = stated.get("workers")
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []

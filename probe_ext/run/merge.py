"""Merge rows from a worker's own disk into a run: each row once, on the master's time axis, all or nothing."""

import csv
import os
import shutil
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.measure.findings import recorded_finding
from probe_ext.run import directory, manifest, worker_files
from probe_ext.run.regular_files import check_regular, create_new
from probe_ext.run.worker_files import REQUESTS_TABLE, TABLES, MergeError, Row, Table, WorkerFile, workers_of


@dataclass(frozen=True)
class Merged:
    """The result for one file."""

    file: WorkerFile
    added: int
    """rows that the run did not have yet"""


def merge(run: Path, files: list[Path]) -> list[Merged]:
    """Merge all files or none: MergeError or ManifestError before anything changes. OSError if writing fails."""
    run_manifest = manifest.read(run)
    worker_tables = [worker_files.read(run_manifest, file) for file in files]
    results = []
    for table in TABLES:
        known = _reply_ids(run / table.name)
        added: list[Row] = []
        for file in (file for file in worker_tables if file.table is table):
            new = [row for row in file.rows if row["reply_id"] not in known]
            known |= {row["reply_id"] for row in new}
            offsets = _clock_offsets(run_manifest, file.worker)
            added += [_shifted(row, table.marks, offsets) for row in new]
            results.append(Merged(file, len(new)))
        if added:
            _append(run / table.name, table, added)
    # Also without new rows: an earlier merge may have been interrupted before it wrote the manifest.
    manifest.write(run, _updated(run, run_manifest, results))
    return results


@dataclass(frozen=True)
class ClockOffsets:
    """Offsets between a worker's clock and the master's, from the manifest. Seconds."""

    applied: float
    """offset that the worker's rows were written with"""
    points: tuple[tuple[float, float], ...]
    """time since the run's start, offset measured then"""

    def correction_at(self, t: float) -> float:
        """Return the seconds to add to a time of the worker's rows; linear between points, constant beyond them."""
        if not self.points:
            return 0.0
        n = bisect_right(self.points, t, key=lambda point: point[0])
        if n == 0 or n == len(self.points):
            return self.applied - self.points[max(0, n - 1)][1]
        (before, low), (after, high) = self.points[n - 1], self.points[n]
        return self.applied - (low + (high - low) * (t - before) / (after - before))


def _clock_offsets(run_manifest: manifest.Manifest, worker: str) -> ClockOffsets:
    (entry,) = (entry for entry in workers_of(run_manifest) if entry.get("id") == worker)
    applied, points = entry.get("clock_offset"), entry.get("clock_line")
    if not isinstance(applied, (int, float)):
        raise MergeError(f"worker {worker}: {directory.MANIFEST} has no clock_offset for it")
    return ClockOffsets(float(applied), tuple((float(p[0]), float(p[1])) for p in points or ()))


def _shifted(row: Row, marks: tuple[str, ...], offsets: ClockOffsets) -> Row:
    """Shift all times of a reply by the same correction, so that its durations stay exact."""
    correction = offsets.correction_at(float(row["end"]))
    if not correction:
        return row
    return row | {mark: repr(round(float(row[mark]) + correction, 9)) for mark in marks if row[mark]}


def _reply_ids(path: Path) -> set[str]:
    """Return the reply ids in a table. The rows of a reply are sent together, so a known id has all its rows."""
    if not path.exists():
        return set()
    check_regular(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return {line.partition(",")[0].rstrip("\n") for line in file} - {""}  # ids are never quoted


def _append(path: Path, table: Table, rows: list[Row]) -> None:
    """Append rows to a copy without an incomplete last line, then replace the table with it."""
    new = path.with_name(path.name + ".new")
    with create_new(new) as file:
        if path.exists():
            with path.open("rb") as old:
                shutil.copyfileobj(old, file)
            _truncate_to_last_line(file)
        with open(file.fileno(), "a", newline="", encoding="utf-8", closefd=False) as text:
            writer = csv.DictWriter(text, table.columns, lineterminator="\n")
            if not os.fstat(file.fileno()).st_size:
                writer.writeheader()
            writer.writerows(rows)
        os.fsync(file.fileno())
    new.replace(path)


def _truncate_to_last_line(file: Any) -> None:
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        cut = file.read(end - start).rfind(b"\n")
        if cut >= 0:
            end = start + cut + 1
            break
        end = start
    file.truncate(end)
    file.seek(0, os.SEEK_END)


def _updated(run: Path, run_manifest: manifest.Manifest, results: list[Merged]) -> manifest.Manifest:
    """Return the manifest with the workers' new counts and a note of what was merged."""
    rows: Counter[str] = Counter()
    last_number: Counter[str] = Counter()
    for reply_id in _reply_ids(run / directory.REQUESTS) - {"reply_id"}:
        worker, _, number = reply_id.rpartition(":")
        rows[worker] += 1
        last_number[worker] = max(last_number[worker], int(number) if number.isdecimal() else 0)
    for entry in workers_of(run_manifest):
        name = str(entry.get("id"))
        entry["rows"], entry["started"] = rows[name], max(int(entry.get("started") or 0), last_number[name])
    before = run_manifest.get("merged")
    new = [
        {"worker": result.file.worker, "replies": result.added}
        for result in results
        if result.added and result.file.table is REQUESTS_TABLE
    ]
    merged = [*(before if isinstance(before, list) else []), *new]
    findings = [finding for finding in run_manifest.get("findings") or [] if finding.get("check") != "merged"]
    if total := sum(int(entry["replies"]) for entry in merged):
        findings.append(_finding(total))
    return {**run_manifest, "merged": merged, "findings": findings}


def _finding(replies: int) -> dict[str, Any]:
    merged = "1 reply was" if replies == 1 else f"{replies:,} replies were"
    why = (
        f"{merged} merged from workers' own disks after the run. Users and waiting times include them; tokens "
        "per second and the distributions over all gaps do not."
    )
    return recorded_finding("merged", why, "Read tokens per second as a lower bound at those times.")

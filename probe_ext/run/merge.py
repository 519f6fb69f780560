"""Put rows that a worker left on its own disk into a run: each once, moved onto the master's axis, or none at all."""

import csv
import os
import shutil
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.run import directory, manifest, worker_file
from probe_ext.run.worker_file import TABLES, MergeError, Row, Table, workers_of


@dataclass(frozen=True)
class Merged:
    """What became of one file."""

    file: Path
    worker: str
    rows: int
    """whole lines in it"""
    added: int
    torn: bool
    """whether its last line was cut off, and left out"""


def merge(run: Path, files: list[Path]) -> list[Merged]:
    """All files, or none: MergeError or ManifestError before anything is changed. OSError where the disk refuses."""
    stated = manifest.read(run)
    read = [worker_file.read(stated, file) for file in files]
    done = []
    for table in TABLES:
        known = _replies(run / table.name)
        added: list[Row] = []
        for one in (file for file in read if file.table is table):
            new = [row for row in one.rows if row["reply_id"] not in known]
            known |= {row["reply_id"] for row in new}
            line = _line(stated, one.worker)
            added += [_moved(row, table.marks, line) for row in new]
            done.append(Merged(one.path, one.worker, len(one.rows), len(new), one.torn))
        if added:
            _append(run / table.name, table, added)
    manifest.write(run, _told(run, stated, done))  # also where nothing is new: the last time may have ended before this
    return done


@dataclass(frozen=True)
class Line:
    """How a worker's clock lay to the master's, from the manifest."""

    zero: float
    """the offset by which its rows were written"""
    points: tuple[tuple[float, float], ...]
    """second of the run, offset"""

    def behind(self, t: float) -> float:
        """Seconds to add to a moment of its rows."""
        if not self.points:
            return 0.0
        n = bisect_right(self.points, t, key=lambda point: point[0])
        if n == 0 or n == len(self.points):
            return self.zero - self.points[max(0, n - 1)][1]
        (before, low), (after, high) = self.points[n - 1], self.points[n]
        return self.zero - (low + (high - low) * (t - before) / (after - before))


def _line(stated: manifest.Manifest, worker: str) -> Line:
    (told,) = (one for one in workers_of(stated) if one.get("id") == worker)
    zero, points = told.get("clock_offset"), told.get("clock_line")
    if not isinstance(zero, (int, float)):
        raise MergeError(f"worker {worker}: {directory.MANIFEST} does not say how its clock lay to the master's")
    return Line(float(zero), tuple((float(p[0]), float(p[1])) for p in points or ()))


def _moved(row: Row, marks: tuple[str, ...], line: Line) -> Row:
    """All marks of a reply move as one; nothing changes where the clocks were the same."""
    seconds = line.behind(float(row["end"]))
    if not seconds:
        return row
    return row | {mark: repr(round(float(row[mark]) + seconds, 9)) for mark in marks if row[mark]}


def _replies(path: Path) -> set[str]:
    """The replies that a table of the run knows. All rows of a reply came together, so its id tells."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return {row[0] for row in csv.reader(file) if row}


def _append(path: Path, table: Table, rows: list[Row]) -> None:
    """Beside, then renamed over: the table as it was, less a last line that was cut off, and the rows."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w+b") as file:
        if path.exists():
            with path.open("rb") as old:
                shutil.copyfileobj(old, file)
            _cut_torn(file)
        with open(file.fileno(), "a", newline="", encoding="utf-8", closefd=False) as text:
            writer = csv.DictWriter(text, table.columns, lineterminator="\n")
            if not os.fstat(file.fileno()).st_size:
                writer.writeheader()
            writer.writerows(rows)
        os.fsync(file.fileno())
    beside.replace(path)


def _cut_torn(file: Any) -> None:
    """Leave the file at its last line end."""
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


def _told(run: Path, stated: manifest.Manifest, done: list[Merged]) -> manifest.Manifest:
    """The manifest, with what each worker is now known to have started, and that rows came after the run."""
    rows: Counter[str] = Counter()
    highest: Counter[str] = Counter()
    for reply in _replies(run / directory.REQUESTS) - {"reply_id"}:
        worker, _, number = reply.rpartition(":")
        rows[worker] += 1
        highest[worker] = max(highest[worker], int(number) if number.isdecimal() else 0)
    for one in workers_of(stated):
        name = str(one.get("id"))
        one["rows"], one["started"] = rows[name], max(int(one.get("started") or 0), highest[name])
    before = stated.get("merged") if isinstance(stated.get("merged"), list) else []
    replies = [one for one in done if one.added and one.file.name.startswith("requests-")]
    new = [{"worker": one.worker, "replies": one.added} for one in replies]
    stated["merged"] = [*(before or []), *new]
    findings = [one for one in stated.get("findings") or [] if one.get("check") != "merged"]
    total = sum(int(one["replies"]) for one in stated["merged"])
    if total:
        why = f"{total:,} replies were merged from workers' own disks after the run: users and waits are judged with"
        why += " them, but tokens a second, and the distributions over all gaps, are without them."
        advice = "Take tokens a second as a lower bound where such replies were."
        findings.append({"check": "merged", "state": "fail", "invalidates": False, "why": why, "advice": advice})
    return {**stated, "findings": findings}

"""Load a run directory into the plain columns that the verdict works on.

Missing or damaged data (the last line of a killed run, a missing file) add a line to `Evidence.damage`; only an
unreadable manifest raises.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, Row, ServerRow, UserRow
from probe_ext.report.inputs import csvs
from probe_ext.report.inputs.line_scan import MAX_HEADER_BYTES, numbered
from probe_ext.report.inputs.packed_columns import first_of_each, joined
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.run.regular_files import check_regular
from probe_ext.verdict.evidence.columns import known_ids, numbers, select, size
from probe_ext.verdict.evidence.evidence import Columns, Evidence, LocustCounts, Window
from probe_ext.verdict.phrasing.plurals import things

_MAX_TIME_S = 1e9
_MAX_RATE = 1e9  # requests per second
_MAX_RECORD_BYTES = 1 << 24
_MAX_LOCUST_BYTES = 2 * 10**9
_OUR_TYPE = "LLM"
"""Type of our replies' rows in Locust's tables."""
_LOCUST_COUNTS = ("Request Count", "Failure Count")
WindowKey = tuple[str, float, float]
"""Metric, start, seconds."""


def load(run: Path) -> Evidence:
    """Load all files of a run. ManifestError if there is no run, or its manifest cannot be read."""
    content = manifest.read(run)
    if content.get("by_host"):
        raise ManifestError(f"{run}: is a run over several servers; give one of {run / directory.SERVERS}")
    damage: list[str] = []
    prometheus = _prometheus(run)
    replies = _merged(run, directory.REQUESTS, ReplyRow, ["reply_id"], damage)
    gaps = _merged(run, directory.GAPS, GapRow, ["reply_id", "start", "end", "tokens_before"], damage)
    return Evidence(
        replies=replies,
        gaps=gaps,
        users=_master_table(run / directory.USERS, UserRow, damage),
        server=_master_table(
            run / (directory.SERVER if prometheus is None else directory.SERVER_PROMETHEUS), ServerRow, damage
        ),
        gpu=_gpu_table(run / directory.GPU, damage),
        windows=_windows(run / directory.SKETCHES, damage),
        manifest=content if prometheus is None else {**content, "prometheus": prometheus},
        locust=_locust(run / f"{directory.LOCUST_PREFIX}_stats.csv", damage),
        locust_history=_locust_history(run / f"{directory.LOCUST_PREFIX}_stats_history.csv", content, damage),
        damage=tuple(damage),
    )


def _prometheus(run: Path) -> dict[str, Any] | None:
    """Return which Prometheus the server metrics were read from, and how; None if they were not."""
    if not (run / directory.SERVER_PROMETHEUS).exists():
        return None
    try:
        check_regular(run / directory.PROMETHEUS, manifest.MAX_BYTES)
        about = manifest.parsed((run / directory.PROMETHEUS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def _merged(run: Path, name: str, row_type: type[Row], key: list[str], damage: list[str]) -> Columns:
    """Merge the master's table with the rows of each worker's own table that the master lacks."""
    stem = name.removesuffix(".csv")
    paths = [run / name, *sorted(run.glob(f"{stem}-*.csv"))]
    present = [path for path in paths if path.exists()]
    if not present:
        damage.append(f"{name}: missing")
    merged = csvs.empty(row_type)
    for path in present:
        rows = csvs.read(path, row_type, damage)
        first = first_of_each(rows, key)
        rows = rows if first is None else select(rows, first)
        if size(merged) and size(rows):
            # All rows of a reply are written together, so a known reply is complete.
            new = ~known_ids(rows, merged, "reply_id")
            merged = joined([merged, select(rows, new)]) if new.any() else merged
        elif size(rows):
            merged = rows
    return merged


def _master_table(path: Path, row_type: type[Row], damage: list[str]) -> Columns:
    """Return a table that only the master writes, in order of time."""
    if not path.exists():
        damage.append(f"{path.name}: missing")
        return csvs.empty(row_type)
    rows = csvs.read(path, row_type, damage)
    t = numbers(rows, "t")
    return select(rows, np.argsort(t, kind="stable")) if (np.diff(t) < 0).any() else rows


def _gpu_table(path: Path, damage: list[str]) -> Columns:
    """Return the GPUs' table, which only runs with --gpu-metrics have."""
    return _master_table(path, GpuRow, damage) if path.exists() else csvs.empty(GpuRow)


def _windows(path: Path, damage: list[str]) -> tuple[Window, ...]:
    """Merge the sketches and counts of all workers by metric and window, in order."""
    merged: dict[WindowKey, tuple[int | None, LatencySketch | None]] = {}
    for (_, key), record in _records(path, damage).items():
        count, sketch = merged.get(key, (None, None))
        if isinstance(record, int):
            count = (count or 0) + record
        else:
            if sketch:
                record.merge(sketch)
            sketch = record
        merged[key] = (count, sketch)
    return tuple(Window(*key, *merged[key]) for key in sorted(merged))


def _records(path: Path, damage: list[str]) -> dict[tuple[str, WindowKey], int | LatencySketch]:
    """Return the readable lines; of several for the same worker, metric and window, the last one."""
    records: dict[tuple[str, WindowKey], int | LatencySketch] = {}
    bad: list[int] = []
    if not path.exists():
        damage.append(f"{path.name}: missing")
        return records
    if not path.is_file():
        damage.append(f"{path.name}: not a regular file, ignored")
        return records
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_RECORD_BYTES), b""), 1):
            if not line.endswith(b"\n"):
                damage.append(f"{path.name}: line {number}: cut off (no line end), ignored")
                break  # the rest of a longer line, or nothing
            try:
                record = json.loads(line)
                key = (str(record["metric"]), float(record["start"]), float(record["seconds"]))
                content = _content(record)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                bad.append(number)
            else:
                records[str(record.get("worker")), key] = content
    if bad:
        damage.append(f"{path.name}: {numbered(bad)}: not sketches of this version, ignored")
    return records


def _content(record: dict[str, Any]) -> int | LatencySketch:
    """Return a record's count or sketch. ValueError, KeyError or TypeError if it has neither, or an absurd time."""
    if not (abs(float(record["start"])) < _MAX_TIME_S and 0 < float(record["seconds"]) < _MAX_TIME_S):
        raise ValueError("not a time of a run")
    return int(record["count"]) if "count" in record else LatencySketch.from_wire(record["sketch"])


def _locust(path: Path, damage: list[str]) -> LocustCounts | None:
    """Return the Aggregated row of Locust's own statistics; None if it cannot be read."""
    if not path.is_file():
        damage.append(f"{path.name}: missing")
        return None
    try:
        _check_locust_table(path)
        names = ["Type", "Name", *_LOCUST_COUNTS]
        table = pd.read_csv(
            path, usecols=names, dtype=str, keep_default_na=False, encoding_errors="replace", on_bad_lines="skip"
        )
        table[table["Name"] == "Aggregated"].iloc[-1]  # the last row: without it, the file is incomplete
        ours = table[table["Type"] == _OUR_TYPE]  # a locustfile may have other users beside ours
        return LocustCounts(*(int(ours[name].astype(int).sum()) for name in _LOCUST_COUNTS))
    except (OSError, KeyError, IndexError, ValueError, OverflowError) as error:
        damage.append(f"{path.name}: no Aggregated row with counts ({_short(error)})")
        return None


def _locust_history(path: Path, content: manifest.Manifest, damage: list[str]) -> Columns:
    """Return Locust's own rates, with Unix time converted to seconds of the run (Locust writes whole seconds)."""
    started = content.get("started_unix")
    if not path.is_file() or not isinstance(started, int | float):
        return {}
    names = ["Timestamp", "Name", "Requests/s", "Failures/s"]
    try:
        _check_locust_table(path)
        table = pd.read_csv(path, usecols=names, dtype=str, encoding_errors="replace", on_bad_lines="skip")
        table = table[table["Name"] == "Aggregated"].drop(columns="Name").apply(pd.to_numeric, errors="coerce").dropna()
    except (OSError, ValueError) as error:
        damage.append(f"{path.name}: cannot be read ({_short(error)})")
        return {}
    absurd = (table["Timestamp"] - float(started)).abs() > _MAX_TIME_S
    absurd |= ~table[["Requests/s", "Failures/s"]].apply(lambda rate: rate.between(0, _MAX_RATE)).all(axis=1)
    if absurd.any():
        damage.append(f"{path.name}: {things(int(absurd.sum()), 'line')} with an impossible time or rate, ignored")
        table = table[~absurd]
    t = table["Timestamp"].to_numpy(dtype=np.float64) - float(started)
    rates = {"requests_per_s": table["Requests/s"], "failures_per_s": table["Failures/s"]}
    return {"t": t, **{name: rate.to_numpy(dtype=np.float64) for name, rate in rates.items()}}


def _check_locust_table(path: Path) -> None:
    """OSError or ValueError if a table of Locust's could keep the parser busy: pandas takes long over many columns."""
    check_regular(path, _MAX_LOCUST_BYTES)
    with path.open("rb") as file:
        if len(file.readline(MAX_HEADER_BYTES)) == MAX_HEADER_BYTES:
            raise ValueError("the header is too long")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]

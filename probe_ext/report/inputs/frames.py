"""A run directory into the plain columns that the verdict is made from.

What was lost on the way (a killed run's last line, a file that is not there) is a line of `Evidence.damage`; nothing
raises but a manifest that cannot be read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import GapRow, ReplyRow, Row, ServerRow, UserRow
from probe_ext.report.inputs import csvs
from probe_ext.report.inputs.line_scan import numbered
from probe_ext.run import directory, manifest
from probe_ext.verdict.values.evidence import Columns, Evidence, LocustCounts, Window

WindowKey = tuple[str, float, float]
"""metric, start, seconds"""


def load(run: Path) -> Evidence:
    """Everything a run's files say. ManifestError when there is no run, or its manifest cannot be read."""
    stated = manifest.read(run)
    damage: list[str] = []
    asked = _prometheus(run)
    replies = _merged(run, directory.REQUESTS, ReplyRow, ["reply_id"], damage)
    gaps = _merged(run, directory.GAPS, GapRow, ["reply_id", "start", "end", "tokens_before"], damage)
    return Evidence(
        replies=_arrays(replies),
        gaps=_arrays(gaps),
        users=_arrays(_one(run / directory.USERS, UserRow, damage)),
        server=_arrays(
            _one(run / (directory.SERVER if asked is None else directory.SERVER_PROMETHEUS), ServerRow, damage)
        ),
        windows=_windows(run / directory.SKETCHES, damage),
        manifest=stated if asked is None else {**stated, "prometheus": asked},
        locust=_locust(run / f"{directory.LOCUST_PREFIX}_stats.csv", damage),
        locust_history=_locust_history(run / f"{directory.LOCUST_PREFIX}_stats_history.csv", stated, damage),
        damage=tuple(damage),
    )


def _prometheus(run: Path) -> dict[str, Any] | None:
    """Where the server's figures were read from a Prometheus: from which, and how; None where they were not."""
    if not (run / directory.SERVER_PROMETHEUS).exists():
        return None
    try:
        about = json.loads((run / directory.PROMETHEUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _merged(run: Path, name: str, row_type: type[Row], key: list[str], damage: list[str]) -> pd.DataFrame:
    """The master's table, and of each worker's own table the rows that the master lacks."""
    stem = name.removesuffix(".csv")
    paths = [run / name, *sorted(run.glob(f"{stem}-*.csv"))]
    present = [path for path in paths if path.exists()]
    if not present:
        damage.append(f"{name}: missing")
    merged = csvs.empty(row_type)
    for path in present:
        fresh = csvs.read(path, row_type, damage).drop_duplicates(key)
        fresh = fresh[
            ~fresh["reply_id"].isin(pd.Index(merged["reply_id"].unique()))
        ]  # all rows of a reply came together
        merged = pd.concat([merged, fresh], ignore_index=True) if len(merged) and len(fresh) else _fuller(merged, fresh)
    return merged


def _fuller(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    return other if len(other) else one


def _one(path: Path, row_type: type[Row], damage: list[str]) -> pd.DataFrame:
    """A table that only the master writes, in order of time."""
    if not path.exists():
        damage.append(f"{path.name}: missing")
        return csvs.empty(row_type)
    return csvs.read(path, row_type, damage).sort_values("t", kind="stable", ignore_index=True)


def _arrays(frame: pd.DataFrame) -> Columns:
    return {str(name): np.asarray(frame[name].to_numpy()) for name in frame}


def _windows(path: Path, damage: list[str]) -> tuple[Window, ...]:
    """Every worker's sketches and counts, put together by metric and window, in order."""
    merged: dict[WindowKey, tuple[int | None, LatencySketch | None]] = {}
    for record in _records(path, damage).values():
        key = (str(record["metric"]), float(record["start"]), float(record["seconds"]))
        count, sketch = merged.get(key, (None, None))
        if "count" in record:
            count = (count or 0) + int(record["count"])
        else:
            mine = LatencySketch.from_wire(record["sketch"])
            if sketch:
                mine.merge(sketch)
            sketch = mine
        merged[key] = (count, sketch)
    return tuple(Window(*key, *merged[key]) for key in sorted(merged))


def _records(path: Path, damage: list[str]) -> dict[tuple[str, WindowKey], dict[str, Any]]:
    """The readable lines; of several for one worker, metric and window, the last."""
    found: dict[tuple[str, WindowKey], dict[str, Any]] = {}
    bad: list[int] = []
    if not path.exists():
        damage.append(f"{path.name}: missing")
        return found
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                damage.append(f"{path.name}: line {number}: cut off (no line end), left out")
                continue
            try:
                record = json.loads(line)
                key = (str(record["metric"]), float(record["start"]), float(record["seconds"]))
                _check(record)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                bad.append(number)
            else:
                found[str(record.get("worker")), key] = record
    if bad:
        damage.append(f"{path.name}: {numbered(bad)}: no sketch of this version, left out")
    return found


def _check(record: dict[str, Any]) -> None:
    """ValueError, KeyError or TypeError when a record holds neither a count nor a sketch that can be merged."""
    if "count" in record:
        int(record["count"])
    else:
        LatencySketch.from_wire(record["sketch"])


def _locust(path: Path, damage: list[str]) -> LocustCounts | None:
    """The Aggregated row of Locust's own table; None when it cannot be had."""
    if not path.exists():
        damage.append(f"{path.name}: missing")
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="replace", on_bad_lines="skip")
        row = table[table["Name"] == "Aggregated"].iloc[-1]
        return LocustCounts(int(row["Request Count"]), int(row["Failure Count"]))
    except (OSError, KeyError, IndexError, ValueError) as error:
        damage.append(f"{path.name}: no row Aggregated with its counts ({_short(error)})")
        return None


def _locust_history(path: Path, stated: manifest.Manifest, damage: list[str]) -> Columns:
    """Locust's own rates, moved from Unix time onto the run's axis (to the second: Locust writes no finer)."""
    started = stated.get("started_unix")
    if not path.exists() or not isinstance(started, int | float):
        return {}
    wanted = ["Timestamp", "Name", "Requests/s", "Failures/s"]
    try:
        table = pd.read_csv(path, usecols=wanted, dtype=str, encoding_errors="replace", on_bad_lines="skip")
        table = table[table["Name"] == "Aggregated"].drop(columns="Name").apply(pd.to_numeric, errors="coerce").dropna()
    except (OSError, ValueError) as error:
        damage.append(f"{path.name}: cannot be read ({_short(error)})")
        return {}
    t = table["Timestamp"].to_numpy(dtype=np.float64) - float(started)
    rates = {"requests_per_s": table["Requests/s"], "failures_per_s": table["Failures/s"]}
    return {"t": t, **{name: rate.to_numpy(dtype=np.float64) for name, rate in rates.items()}}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:80]

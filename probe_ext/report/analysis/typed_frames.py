"""Frames with one type per column: missing values are missing, never zero or an empty text.

Times and other measured values are float64, counts Int64, flags bool, and names categories or strings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from probe_ext.measure.table_rows import Row
from probe_ext.report.analysis.column_units import units_of
from probe_ext.report.inputs import csvs
from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.server.find_pauses import find_pauses, threshold
from probe_ext.verdict.server.pause_list import columns as pause_columns
from probe_ext.verdict.server.server_series import read_metrics

_OWN_TEXTS = ("reply_id", "message")
"""differ from row to row, so categories would not save memory"""


def recorded(table: str, values: Columns, row_type: type[Row]) -> pd.DataFrame:
    """Return a recorded table with the types of its rows."""
    kinds = csvs.kinds(row_type)
    typed: dict[str, Any] = {}
    for name, column in values.items():
        if name in kinds.text:
            typed[name] = texts(column, categories=name not in _OWN_TEXTS)
        elif name in kinds.counts:
            typed[name] = counts(column)
        else:
            typed[name] = column if name in kinds.flags else np.asarray(column, dtype=np.float64)
    return with_units(table, pd.DataFrame(typed))


def with_units(table: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the units of its columns as `attrs["units"]`."""
    frame.attrs["units"] = units_of(table, map(str, frame.columns))
    return frame


def texts(values: Any, *, categories: bool) -> Any:
    """Return a column of text, in which an empty one is missing."""
    column = pd.Series([None if value in {None, ""} else str(value) for value in values], dtype="string")
    return column.astype("category") if categories else column


def counts(values: Any) -> Any:
    """Return a column of whole numbers; NaN becomes a missing value. A damaged value with a fraction is missing."""
    numbers = pd.Series(np.asarray(values, dtype=np.float64))
    return numbers.where(numbers == numbers.round()).astype("Int64")


def levels(of_run: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per level, in order of time. Lists are joined by commas; what has parts of its own is left out."""
    typed: dict[str, Any] = {}
    for name, schema in capacity_schema()["$defs"]["LevelResult"]["properties"].items():
        values, kind = [level[name] for level in of_run], _kind(schema)
        if kind == "array":
            typed[name] = texts([", ".join(value) for value in values], categories=False)
        elif kind == "enum":
            typed[name] = pd.Categorical(values, schema["enum"])
        elif kind == "boolean":
            typed[name] = np.array(values, dtype=np.bool_)
        elif kind in {"integer", "number"}:
            numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            typed[name] = counts(numbers) if kind == "integer" else numbers
    return with_units("levels", pd.DataFrame(typed))


def _kind(schema: Mapping[str, Any]) -> str:
    named = schema.get("type", "enum" if "enum" in schema else "object")
    return str(named[0] if isinstance(named, list) else named)


def pauses(evidence: Evidence, profile: SloProfile) -> pd.DataFrame:
    """Return one row per silent pause, in order of time: the columns of `pauses.csv`."""
    values = pause_columns(evidence, read_metrics(evidence.server), find_pauses(evidence, threshold(profile)))
    typed: dict[str, Any] = {name: np.array(values[name], dtype=np.float64) for name in ("start", "end", "kv_usage")}
    typed |= {name: texts(values[name], categories=name == "user") for name in ("reply_id", "user")}
    typed |= {name: pd.array(values[name], dtype="Int64") for name in ("users", "waiting")}
    typed |= {name: pd.array(values[name], dtype="boolean") for name in values if name not in typed}
    return with_units("pauses", pd.DataFrame(typed)[list(values)])


def tokens(evidence: Evidence) -> pd.DataFrame:
    """Return the tokens of all users, second by second."""
    windows = [window for window in evidence.windows if window.metric == "tokens" and window.count is not None]
    table = {
        "t": np.array([window.start for window in windows], dtype=np.float64),
        "seconds": np.array([window.seconds for window in windows], dtype=np.float64),
        "tokens": counts([window.count for window in windows]),
    }
    return with_units("tokens", pd.DataFrame(table))

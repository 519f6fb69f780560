"""A statistics table in a tab of its own: Locust's figures for each name with TTFT, gaps and decode rate, in one row.

The columns of Locust's own table are fixed in its JavaScript bundle, except for the percentiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.live.named_stats import Names, Streaming
from probe_ext.swarm.users.llm import GAP, REPLY, TTFT

COLUMNS = {
    "type": "Type",
    "name": "Name",
    "requests": "# Requests",
    "failed": "# Fails",
    "median": "TTFT p50 (ms)",
    "high": "TTFT p95 (ms)",
    "highest": "TTFT p99 (ms)",
    "gaphigh": "Longest gap p95 (ms)",
    "gapmax": "Longest gap max (ms)",
    "typing": "Decode rate p50 (tok/s per reply)",
    "whole": "Whole reply p50 (ms)",
    "wholehigh": "Whole reply p95 (ms)",
    "rps": "Current RPS",
}
_TOTAL = "Aggregated"
_TOTAL_NAME = f"Σ {_TOTAL}"  # Locust's page sorts rows by name: Σ comes after every Latin letter

_UNKNOWN = Streaming("", 0, 0, None, None, None, None, None, None)

Row = dict[str, Any]


def rows(names: Names, locust_rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a row per name, those of other requests of the locustfile too, and the total."""
    known = {(row["method"] or "", row["name"]): row for row in locust_rows}
    ours = [_row(line, REPLY, known.get((REPLY, line.name), {})) for line in names.table()]
    own_types = {REPLY, TTFT, GAP, ""}
    others = [_row(None, method, row) for (method, _), row in known.items() if method not in own_types]
    total = names.total(_TOTAL_NAME)
    if not ours and not others:
        return []
    return [*ours, *others, {**_row(total, "", known.get(("", _TOTAL), {})), "name": _TOTAL_NAME}]


def _row(line: Streaming | None, kind: str, locust_row: Mapping[str, Any]) -> Row:
    figures = line or _UNKNOWN
    return {
        "type": kind,
        "name": line.name if line else locust_row["name"],
        "requests": line.replies if line else locust_row["num_requests"],
        "failed": line.failed if line else locust_row["num_failures"],
        "median": rounded(figures.ttft_p50, 1000, 1),
        "high": rounded(figures.ttft_p95, 1000, 1),
        "highest": rounded(figures.ttft_p99, 1000, 1),
        "gaphigh": rounded(figures.longest_gap_p95, 1000, 1),
        "gapmax": rounded(figures.longest_gap_max, 1000, 1),
        "typing": rounded(figures.decode_rate_p50, 1, 1),
        "whole": rounded(locust_row.get("median_response_time"), 1, 0),
        "wholehigh": rounded(locust_row.get("response_time_percentile_0.95"), 1, 0),
        "rps": rounded(locust_row.get("current_rps"), 1, 1),
    }


def rounded(value: float | None, unit: float, digits: int) -> float | str:
    """Return a number that Locust's table can sort by, or a dash."""
    return "–" if value is None else round(value * unit, digits)

"""A statistics table of our own, in a tab: Locust's figures of each name and TTFT, gaps and decode rate, in one row.

The columns of Locust's own table stand in its bundle. All that it takes from outside is which percentiles it shows, and
it makes their titles itself, from a number; a column of another name would need a bundle of our own.
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
    "typing": "Decode rate p50 (tok/s)",
    "whole": "Whole reply p50 (ms)",
    "wholehigh": "Whole reply p95 (ms)",
    "rps": "Current RPS",
}
_TOTAL = "Aggregated"
_LAST = f"Σ {_TOTAL}"
"""Locust's page sorts a table of ours by name, its last row too: this comes after every plain letter"""

_UNTOLD = Streaming("", 0, 0, None, None, None, None, None, None)

Row = dict[str, Any]


def rows(names: Names, locusts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row a name, those of a locustfile's other requests too, and all together; `locusts` are Locust's own rows."""
    known = {(row["method"] or "", row["name"]): row for row in locusts}
    ours = [_row(line, REPLY, known.get((REPLY, line.name), {})) for line in names.table()]
    mine = {REPLY, TTFT, GAP, ""}
    others = [_row(None, method, row) for (method, _), row in known.items() if method not in mine]
    total = names.total(_LAST)
    if not ours and not others:
        return []
    return [*ours, *others, {**_row(total, "", known.get(("", _TOTAL), {})), "name": _LAST}]


def _row(line: Streaming | None, kind: str, locusts: Mapping[str, Any]) -> Row:
    told = line or _UNTOLD
    return {
        "type": kind,
        "name": line.name if line else locusts["name"],
        "requests": line.replies if line else locusts["num_requests"],
        "failed": line.failed if line else locusts["num_failures"],
        "median": rounded(told.ttft_p50, 1000, 1),
        "high": rounded(told.ttft_p95, 1000, 1),
        "highest": rounded(told.ttft_p99, 1000, 1),
        "gaphigh": rounded(told.longest_gap_p95, 1000, 1),
        "gapmax": rounded(told.longest_gap_max, 1000, 1),
        "typing": rounded(told.decode_rate_p50, 1, 1),
        "whole": rounded(locusts.get("median_response_time"), 1, 0),
        "wholehigh": rounded(locusts.get("response_time_percentile_0.95"), 1, 0),
        "rps": rounded(locusts.get("current_rps"), 1, 1),
    }


def rounded(value: float | None, unit: float, digits: int) -> float | str:
    """A number that Locust's table can sort by; a dash where there is none."""
    return "–" if value is None else round(value * unit, digits)

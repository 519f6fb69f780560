"""BurstGPT's form of a trace: CSV with a line of names.

`Timestamp, [Session ID, Elapsed time,] Model, Request tokens, Response tokens, Total tokens, Log Type`: seconds and
tokens. A request without a session is one of its own. The form says nothing about shared text, so every prompt is
unique. Requests with a response of 0 tokens failed when they were recorded, and are left out.

Source: Y. Wang et al., "BurstGPT: A Real-World Workload Dataset to Optimize LLM Serving Systems", KDD 2025.
"""

import csv
from collections.abc import Iterator

from probe_ext.measure.safe_text import safe_text
from probe_ext.workload.traces.raw_request import RawRequest
from probe_ext.workload.traces.trace_lines import TraceLines, count, moment

FORMS = "A trace is JSON Lines in Mooncake's form, or CSV in BurstGPT's"
REQUIRED = ("Timestamp", "Request tokens", "Response tokens")


def requests(lines: TraceLines) -> Iterator[RawRequest]:
    """Yield the requests of a file. TraceError names line and column."""
    rows = csv.reader(iter(lines), strict=True)
    try:
        head = next((row for row in rows if any(cell.strip() for cell in row)), None)
        if head is None:
            return
        names = [name.strip() for name in head]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            found = safe_text(", ".join(names), length=200)
            raise lines.line_error(f"{missing[0]}: is not a column; the first line has {found}. {FORMS}")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise lines.line_error(f"has {len(row)} columns instead of {len(names)}")
            values = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
            yield RawRequest(
                line=lines.number,
                at=moment(lines, values, "Timestamp", 1.0),
                session=values.get("Session ID") or None,
                tokens_in=count(lines, values, "Request tokens"),
                tokens_out=count(lines, values, "Response tokens"),
            )
    except csv.Error as error:
        raise lines.line_error(f"is not valid CSV: {error}") from error

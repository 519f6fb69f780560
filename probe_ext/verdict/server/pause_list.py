"""Silent pauses one by one, as in `pauses.csv`."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, numbers, texts_at
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.server.find_pauses import Spans
from probe_ext.verdict.server.pause_context import pause_context
from probe_ext.verdict.server.server_series import Metrics


@dataclass(frozen=True)
class Pause:
    """One pause, as in `pauses.csv`; None for what the server did not report."""

    reply_id: str
    user: str
    users: int | None
    """number of users, by the last sample before it"""
    start: float
    end: float
    resumed: bool
    meets_preemption: bool | None
    ends_with_preemption: bool | None
    starts_as_queue_grows: bool | None
    kv_usage: float | None
    waiting: float | None


def columns(evidence: Evidence, metrics: Metrics, spans: Spans, which: Ints | None = None) -> dict[str, list[Any]]:
    """Return the fields of every pause, or of those with the given indices: one list per field, in order of time."""
    context = pause_context(spans, metrics)
    pick = np.arange(len(spans)) if which is None else which
    rows, known = spans.reply[pick], context.watched[pick]
    t, count = numbers(evidence.users, "t"), numbers(evidence.users, "users")
    at = np.searchsorted(t, spans.start[pick], side="right") - 1
    values = {
        "reply_id": texts_at(evidence.replies, "reply_id", rows),
        "user": texts_at(evidence.replies, "user", rows),
        "users": [int(count[i]) if i >= 0 else None for i in at.tolist()],
        "start": spans.start[pick].tolist(),
        "end": spans.end[pick].tolist(),
        "resumed": spans.resumed[pick].tolist(),
        "meets_preemption": _where(known, context.meets[pick]),
        "ends_with_preemption": _where(known, context.ends[pick]),
        "starts_as_queue_grows": _where(known & ("waiting" in metrics), context.starts[pick]),
        "kv_usage": _where(~np.isnan(context.kv_usage[pick]), context.kv_usage[pick]),
        "waiting": _where(~np.isnan(context.waiting[pick]), context.waiting[pick]),
    }
    return {field.name: values[field.name] for field in fields(Pause)}


def listed(evidence: Evidence, metrics: Metrics, spans: Spans, which: Ints | None = None) -> list[Pause]:
    """Return the same as one object per pause."""
    return [Pause(*row) for row in zip(*columns(evidence, metrics, spans, which).values(), strict=True)]


def _where(known: Bools, values: Bools | Floats) -> list[Any]:
    """Return the values, None where they are not known."""
    return [value if is_known else None for is_known, value in zip(known.tolist(), values.tolist(), strict=True)]

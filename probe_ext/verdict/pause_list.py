"""Silent pauses one by one, as `pauses.csv` has them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.columns import Ints, numbers, texts
from probe_ext.verdict.evidence import Evidence
from probe_ext.verdict.pause_moments import look_at
from probe_ext.verdict.pause_spans import Spans
from probe_ext.verdict.server_figures import Metrics


@dataclass(frozen=True)
class Pause:
    """One pause, as `pauses.csv` has it; what the server did not tell is None."""

    reply_id: str
    user: str
    users: int | None
    """users there were, by the last sample before it"""
    start: float
    end: float
    resumed: bool
    meets_preemption: bool | None
    ends_with_preemption: bool | None
    starts_as_queue_grows: bool | None
    kv_usage: float | None
    waiting: float | None


def listed(evidence: Evidence, metrics: Metrics, spans: Spans, which: Ints | None = None) -> Iterator[Pause]:
    """Every pause in order of time, or those of the given numbers."""
    seen = look_at(spans, metrics)
    names, users = texts(evidence.replies, "reply_id"), texts(evidence.replies, "user")
    t, count = numbers(evidence.users, "t"), numbers(evidence.users, "users")
    at = np.searchsorted(t, spans.start, side="right") - 1
    queued = "waiting" in metrics
    for i in range(len(spans)) if which is None else which.tolist():
        row, known = int(spans.reply[i]), bool(seen.watched[i])
        yield Pause(
            reply_id=names[row],
            user=users[row],
            users=int(count[at[i]]) if at[i] >= 0 else None,
            start=float(spans.start[i]),
            end=float(spans.end[i]),
            resumed=bool(spans.resumed[i]),
            meets_preemption=bool(seen.meets[i]) if known else None,
            ends_with_preemption=bool(seen.ends[i]) if known else None,
            starts_as_queue_grows=bool(seen.starts[i]) if known and queued else None,
            kv_usage=_known(seen.kv_usage[i]),
            waiting=_known(seen.waiting[i]),
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

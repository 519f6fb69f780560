"""Finished replies in batches: judged once, by the rules of the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import WARM_UP, ReplyRow
from probe_ext.verdict.evidence.columns import Bools, Floats, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.grading.kind_profiles import KindProfiles
from probe_ext.verdict.grading.reply_grades import Grades
from probe_ext.verdict.levels.cut_at_rise import as_of

_NUMBERS = (
    *("due", "late", "sent", "first", "first_visible", "last", "end", "tokens_out", "tokens_visible", "events"),
    *("events_visible", "tpot", "tpot_visible", "longest_gap", "longest_gap_visible", "lag_max", "gap_start"),
    *("gap_tokens", "tokens_held", "tokens_first", "held_max", "text_bytes", "segments"),
)

_TEXTS = ("user", "worker", "name")
_ARRAYS = ("sent", "end", "ttft", "rate", "gap", "lag", "tokens", "failed", "grades")


@dataclass(frozen=True, slots=True)
class Batch:
    """Judged replies, column by column. Seconds of the run; NaN means missing."""

    user: Sequence[str]
    worker: Sequence[str]
    name: Sequence[str]
    """name in Locust's statistics"""
    sent: Floats
    """or due, if it was never sent, or in an open stream"""
    end: Floats
    ttft: Floats
    rate: Floats
    """decode rate in tokens per second, if the profile judges it"""
    gap: Floats
    """longest silent pause"""
    lag: Floats
    """largest time between the kernel receiving bytes and our reading them"""
    tokens: Floats
    failed: Bools
    grades: Grades
    by: Mapping[str, Grades]
    """by dimension"""

    def __len__(self) -> int:
        return len(self.user)

    def where(self, keep: Bools) -> "Batch":
        """Return a batch of only these replies."""
        if keep.all():
            return self
        kept = np.flatnonzero(keep).tolist()
        texts: dict[str, Any] = {name: [getattr(self, name)[i] for i in kept] for name in _TEXTS}
        values: dict[str, Any] = {name: getattr(self, name)[kept] for name in _ARRAYS}
        by = {dimension: grades[kept] for dimension, grades in self.by.items()}
        return replace(self, **texts, **values, by=by)


def _never(sent: Floats) -> Floats:
    return np.full(len(sent), np.inf)


def judge(
    rows: Sequence[ReplyRow],
    profiles: KindProfiles,
    until: Callable[[Floats], Floats] = _never,
    *,
    by_due: bool = False,
) -> Batch:
    """Judge replies, each by the profile of its kind of user, without those of a scenario's own warm-up.

    `until` maps the times of sending to the times up to which replies are judged: when more users came. `by_due`: an
    arrival of an open stream counts from when it was due, however long it waited to be sent.
    """
    rows = [row for row in rows if row.scenario != WARM_UP]
    columns = _columns(rows)
    due, sent = numbers(columns, "due"), numbers(columns, "sent")
    sent = due if by_due else np.where(np.isnan(sent), due, sent)
    names = [row.scenario for row in rows]
    judged = profiles.grade(as_of(columns, until(sent)), names, None)
    return Batch(
        user=[row.user for row in rows],
        worker=[row.worker for row in rows],
        name=names,
        sent=sent,
        end=columns["end"],
        ttft=columns["first"] - columns["sent"],
        rate=judged.experience.rate,
        gap=judged.experience.gap,
        lag=columns["lag_max"],
        tokens=columns["tokens_out"],
        failed=np.array([is_failure(Outcome(row.outcome)) for row in rows], dtype=np.bool_),
        grades=judged.overall,
        by=judged.by,
    )


def _columns(rows: Sequence[ReplyRow]) -> Columns:
    columns = {name: np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in _NUMBERS}
    columns["streamed"] = np.array([row.streamed for row in rows], dtype=np.bool_)
    columns["outcome"] = np.array([str(row.outcome) for row in rows], dtype=object)
    columns["tokens_from"] = np.array([row.tokens_from or "" for row in rows], dtype=object)
    return columns

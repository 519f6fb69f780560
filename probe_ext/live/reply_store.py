"""Graded replies of a running test in numpy columns, of bounded size, and visits made from them."""

from collections import deque
from dataclasses import dataclass
from itertools import count

import numpy as np

from probe_ext.live.reply_batch import Batch, judge
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.grading.kind_profiles import KindProfiles, kind_codes
from probe_ext.verdict.inference.observations import Visit, counts_towards_level, replies_at_once, visit_from_grades
from probe_ext.verdict.levels.visits import last_seconds_of
from probe_ext.verdict.values.json_types import DIMENSIONS

MAX_REPLIES = 500_000
"""of the whole run, the newest"""
MAX_RISES = 20_000
LONG_REPLY = 0.9
"""quantile of reply times: while a visit goes on, younger replies are left out, or fast ones would dominate"""
_RECENT_REPLIES = 120
_MAX_PENDING = 1000
_ROW = np.dtype(
    [("sent", "f8"), ("end", "f8"), ("user", "i4"), ("kind", "i2"), ("grade", "i1"), ("grade_at_rise", "i1")]
    + [(dimension, "i1") for dimension in DIMENSIONS]
    + [("ttft", "f4"), ("rate", "f4"), ("gap", "f4")]
)


@dataclass
class Span:
    """The measured part of a visit to a level, seconds of the run."""

    users: int
    start: float
    end: float | None = None
    """None while it goes on"""
    band: bool = False
    """part of a ramp"""


class ReplyStore:
    """Takes every reply once. A reply belongs to the visit in which it was sent, even if it ends later.

    Of an open stream, it belongs to the one in which it was due, and each is a person of its own.
    """

    def __init__(self, profiles: KindProfiles, *, open_stream: bool = False) -> None:
        self._profiles, self._open_stream = profiles, open_stream
        self._arrivals = count()
        self._last_seconds = last_seconds_of(profiles.default)
        self._pending: list[ReplyRow] = []
        self._rises: deque[float] = deque(maxlen=MAX_RISES)
        self._durations: deque[float] = deque(maxlen=_RECENT_REPLIES)
        self._users: dict[str, int] = {}
        self._buffer = np.empty(64, dtype=_ROW)
        self._size = 0
        self._kept_since = -np.inf
        """when the oldest reply was sent, once older ones were dropped"""

    def add(self, row: ReplyRow) -> None:
        """Take a reply. One that failed by the load generator's own fault says nothing about the server."""
        if row.outcome == Outcome.CLIENT_ERROR:
            return
        self._pending.append(row)
        if row.outcome != Outcome.ENDED_BY_US:
            self._durations.append(row.end - self._asked(row))
        if len(self._pending) >= _MAX_PENDING:
            self._grade()

    def _asked(self, row: ReplyRow) -> float:
        return row.due if row.sent is None or self._open_stream else row.sent

    def note_rise(self, t: float) -> None:
        """More users came: replies in flight count as they stood."""
        self._rises.append(t)

    def longest_recent(self) -> float:
        """Return the longest of the recent reply times, 0 while unknown."""
        return max(self._durations, default=0.0)

    def rows_of(self, span: Span) -> np.ndarray:
        """Return the replies that were sent in a visit."""
        rows = self._rows()
        return rows[_inside(rows["sent"], span)]

    def visit(self, span: Span, now: float, kind: int | None = None) -> Visit:
        """Return a visit up to now, for the estimator: of all users, or of one kind by its index."""
        rows = self.rows_of(span)
        last_seconds, people = self._last_seconds, None
        if kind is not None:
            rows = rows[rows["kind"] == kind]
            last_seconds, people = last_seconds_of(self._profiles.kinds[kind].profile), len(np.unique(rows["user"]))
        grades = rows["grade" if span.band else "grade_at_rise"]
        start, end = max(span.start, self._kept_since), self.counted_until(span, now)
        users = rows["user"].astype(np.int64)
        if self._open_stream:
            people = replies_at_once(rows["sent"], rows["end"], (start, end))
        return visit_from_grades(span.users, users, rows["sent"], grades, (start, end), last_seconds, people)

    def figure_rows(self, span: Span) -> np.ndarray:
        """Return the replies that a level's figures are of: once it is over the judged ones, as in the report."""
        rows = self.rows_of(span)
        return rows if span.end is None else rows[counts_towards_level(rows["sent"], span.end, self._last_seconds)]

    def shares(self, span: Span, now: float) -> dict[str, float]:
        """Return the share of replies served by each dimension alone, where it applies to any reply.

        Of several kinds of user, that of the one that is served least.
        """
        rows = self.rows_of(span)
        rows = rows[rows["sent"] <= self.counted_until(span, now) - self._last_seconds]
        shares: dict[str, float] = {}
        for kind in np.unique(rows["kind"]):
            mine = rows[rows["kind"] == kind]
            for dimension in DIMENSIONS:
                grades = mine[dimension][(mine[dimension] >= 0) | (mine["grade_at_rise"] < 0)]
                if len(grades):
                    shares[dimension] = min(shares.get(dimension, 1.0), float((grades <= 0).mean()))
        return shares

    def counted_until(self, span: Span, now: float) -> float:
        """Return the end of a visit; while it goes on, early enough that slow replies have ended too."""
        if span.end is not None:
            return min(span.end, now)
        long_reply = float(np.quantile(self._durations, LONG_REPLY)) if self._durations else 0.0
        return now - long_reply + self._last_seconds

    def times(self) -> tuple[Columns, Floats]:
        """Return when replies ended, as a column of evidence, and when they were sent."""
        rows = self._rows()
        return {"end": rows["end"]}, rows["sent"]

    def _rows(self) -> np.ndarray:
        self._grade()
        return self._buffer[: self._size]

    def _grade(self) -> None:
        if not self._pending:
            return
        rows, self._pending = self._pending, []
        whole = judge(rows, self._profiles, by_due=self._open_stream)
        if not len(whole):
            return
        until = self._next_rise(whole.sent)
        at_rise = (
            judge(rows, self._profiles, self._next_rise, by_due=self._open_stream)
            if (whole.end > until).any()
            else whole
        )
        new = np.empty(len(whole), dtype=_ROW)
        new["user"] = [self._code(user) for user in whole.user]
        new["kind"] = kind_codes(whole.name, self._profiles.kinds)
        new["grade"], new["grade_at_rise"] = whole.grades, at_rise.grades
        for dimension in DIMENSIONS:
            new[dimension] = at_rise.by[dimension]
        _copy_figures(new, whole)
        self._append(new)

    def _code(self, user: str) -> int:
        return next(self._arrivals) if self._open_stream else self._users.setdefault(user, len(self._users))

    def _next_rise(self, sent: Floats) -> Floats:
        rises = np.array([*self._rises, np.inf])
        return rises[np.searchsorted(rises, sent)]

    def _append(self, new: np.ndarray) -> None:
        size = self._size + len(new)
        if size > MAX_REPLIES:
            kept = np.concatenate([self._buffer[: self._size], new])[-MAX_REPLIES // 2 :]  # half: rarely copied
            self._kept_since, self._size = float(kept["sent"].min()), len(kept)
            self._buffer[: len(kept)] = kept
            return
        if size > len(self._buffer):
            grown = np.empty(min(MAX_REPLIES, max(size, 2 * len(self._buffer))), dtype=_ROW)
            grown[: self._size] = self._buffer[: self._size]
            self._buffer = grown
        self._buffer[self._size : size] = new
        self._size = size


def _copy_figures(new: np.ndarray, batch: Batch) -> None:
    for name in ("sent", "end", "ttft", "rate", "gap"):
        new[name] = getattr(batch, name)


def _inside(sent: Floats, span: Span) -> Bools:
    end = np.inf if span.end is None else span.end
    return np.asarray((sent >= span.start) & (sent <= end), dtype=np.bool_)

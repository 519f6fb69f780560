"""Graded replies while a plan goes on, and what they say of capacity so far."""

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from probe_ext.measure.outcome import CLIENT_SIDE
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import judge_replies
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import Visit, visit_from_grades
from probe_ext.verdict.levels.cut_at_rise import as_of
from probe_ext.verdict.levels.visits import criteria_of, last_seconds_of
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.columns import from_rows

RECENT_REPLIES = 30
"""replies from which the reply cycle is taken, at least"""
LONG_REPLY = 0.9
"""quantile of reply times: replies younger than this are left out while the visit goes on, or fast ones would
dominate"""

_ENDED_BY_US = {outcome.value for outcome in CLIENT_SIDE}


@dataclass
class _Visit:
    """The measured part of a visit to a level. Seconds of the run."""

    users: int
    start: float
    end: float = math.inf
    truncated_at: float = math.inf
    """when more users came: what went on then is judged as it stood"""
    user: list[int] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    grades: list[int] = field(default_factory=list)

    def observed(self, until: float, last_seconds: float) -> Visit:
        """The visit up to a moment, for the estimator."""
        sent = np.array(self.sent, dtype=np.float64)
        user, grades = np.array(self.user, dtype=np.int64), np.array(self.grades, dtype=np.int8)
        return visit_from_grades(self.users, user, sent, grades, (self.start, min(self.end, until)), last_seconds)


class VisitMonitor:
    """Graded replies by visit, for a plan of levels or a search.

    A reply counts in the visit in which it was sent, even if it ends later.
    """

    def __init__(self, profile: SloProfile, min_replies: int, critical: float | None = None) -> None:
        self._profile, self._min_replies, self._critical = profile, min_replies, critical
        self._criteria = criteria_of(profile)
        self._last_seconds = last_seconds_of(profile)
        self._fresh: list[ReplyRow] = []
        self._ends: list[tuple[float, str]] = []
        """end and user of recent replies that were not ended by us"""
        self._completed: deque[tuple[float, str]] = deque()
        """when each reply that we did not end was sent, and by which user"""
        self._last_sent: dict[str, float] = {}
        self._cycles: deque[float] = deque(maxlen=RECENT_REPLIES)
        self._took: deque[float] = deque(maxlen=4 * RECENT_REPLIES)
        self._visits: list[_Visit] = []
        self._users: dict[str, int] = {}

    @property
    def needed_share(self) -> float:
        return self._criteria.served_share

    def add(self, row: ReplyRow) -> None:
        """Take a reply."""
        self._fresh.append(row)
        sent = _sent(row)
        before = self._last_sent.get(row.user)
        self._last_sent[row.user] = sent
        if row.outcome in _ENDED_BY_US:
            return
        self._ends.append((row.end, row.user))
        self._completed.append((sent, row.user))
        self._took.append(row.end - sent)
        if before is not None and sent > before:
            self._cycles.append(sent - before)

    def reply_cycle(self) -> float:
        """Seconds from one request of a user to the next, the median of recent ones; 0 while unknown."""
        return median(self._cycles) if self._cycles else max(self._took, default=0.0)

    def users_with_enough_replies(self, since: float) -> int:
        """Users with at least `min_replies` replies sent since then. Earlier replies are forgotten."""
        self._completed = deque(reply for reply in self._completed if reply[0] >= since)
        replies = Counter(user for _, user in self._completed)
        return sum(1 for number in replies.values() if number >= self._min_replies)

    def users_replied(self, since: float) -> int:
        """Users with a reply that ended since then; forgets what ended before."""
        self._ends = [one for one in self._ends if one[0] >= since]
        return len({user for _, user in self._ends})

    def begin_visit(self, now: float, users: int) -> None:
        """From now on, replies count for a level of so many users."""
        self._assign()
        self._ends.clear()
        self._visits.append(_Visit(users, now))

    def end_visit(self, now: float, *, more_users: bool) -> None:
        """The present visit is over."""
        self._assign()
        self._visits[-1].end = now
        if more_users:
            self._visits[-1].truncated_at = now

    def visit_counts(self, now: float) -> tuple[int, int]:
        """Served and judged replies of the present visit."""
        served = self._observed(now)[-1].served
        return int(served.sum()), len(served)

    def estimate(self, now: float) -> CapacityEstimate:
        """The estimate from all visits so far."""
        return estimate(self._observed(now), self._criteria, critical=self._critical)

    def _observed(self, now: float) -> list[Visit]:
        self._assign()
        long_reply = float(np.quantile(self._took, LONG_REPLY)) if self._took else 0.0
        return [
            # Of replies sent lately only the fast ones have ended.
            visit.observed(now - long_reply + self._last_seconds if math.isinf(visit.end) else now, self._last_seconds)
            for visit in self._visits
        ]

    def _assign(self) -> None:
        """Grade new replies and put each where it belongs; one sent after the last visit may belong to the next."""
        placed = [(row, visit) for row in self._fresh if (visit := self._visit_of(_sent(row))) is not None]
        newest = max((visit.end for visit in self._visits), default=-math.inf)
        self._fresh = [row for row in self._fresh if _sent(row) > newest]
        if not placed:
            return
        columns = from_rows([row for row, _ in placed], ReplyRow)
        columns = as_of(columns, np.array([visit.truncated_at for _, visit in placed]))
        grades = judge_replies(columns, self._profile, self._profile.reasoning).overall
        ours = [row.outcome == "client_error" for row, _ in placed]
        for (row, visit), grade, own in zip(placed, grades.tolist(), ours, strict=True):
            if not own:
                visit.user.append(self._users.setdefault(row.user, len(self._users)))
                visit.sent.append(_sent(row))
                visit.grades.append(grade)

    def _visit_of(self, sent: float) -> _Visit | None:
        return next((visit for visit in reversed(self._visits) if visit.start <= sent <= visit.end), None)


def _sent(row: ReplyRow) -> float:
    return row.due if row.sent is None else row.sent

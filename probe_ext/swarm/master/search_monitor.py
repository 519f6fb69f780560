"""Replies and how users experienced them, by level: what a search decides by while the run goes on."""

import math
from dataclasses import dataclass, field

import numpy as np

from probe_ext.load.boundary_search import Look, State
from probe_ext.load.sequential_test import Bounds
from probe_ext.measure.outcome import CLIENT_SIDE
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.inference.sequential_view import Ended, blocks_of, grade, state_of

_JUDGED_NOT = {outcome.value for outcome in CLIENT_SIDE}


@dataclass
class _Visit:
    """The measured part of a visit to a level. Seconds of the run."""

    users: int
    since: float
    left: float = math.inf
    raised: float = math.inf
    """when more users came: what went on then is judged as it stood"""
    replies: list[tuple[float, float, int, int, bool]] = field(default_factory=list)
    """end, sent, user, grade, and whether it ended by itself"""

    def ended(self, *, by_itself: bool = False) -> Ended:
        """Its judged replies so far, or only those that nobody cut."""
        rows = sorted(row for row in self.replies if row[4] or not by_itself)
        end, sent, user, grades, _ = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return Ended(np.array(user, np.int64), np.array(sent), np.array(end), np.array(grades, np.int8))


class SearchMonitor:
    """Replies with how they felt, by level: what a search listens to.

    A reply counts in the visit in which it was sent, also when it ends later: what is said of a level then is what the
    verdict will say, of the same replies and by the same rules.
    """

    def __init__(self, profile: SloProfile, min_replies: int) -> None:
        self.bounds = Bounds(profile.users.served_share, profile.users.broken_share)
        self._profile, self._min = profile, min_replies
        self._fresh: list[ReplyRow] = []
        self._ends: list[tuple[float, str]] = []
        """when a reply of which user ended by itself, of late"""
        self._visits: list[_Visit] = []
        self._users: dict[str, int] = {}

    def add(self, row: ReplyRow) -> None:
        """Take a reply."""
        self._fresh.append(row)
        if row.outcome not in _JUDGED_NOT:
            self._ends.append((row.end, row.user))

    def settled(self, since: float) -> int:
        """How many users have had a reply end since then; forgets what ended before."""
        self._ends = [one for one in self._ends if one[0] >= since]
        return len({user for _, user in self._ends})

    def look(self, since: float, users: int) -> Look:
        """What is known of a level of so many users, of replies sent since then and on earlier visits."""
        if not self._visits or (self._visits[-1].since, self._visits[-1].users) != (since, users):
            self._take_in()
            self._visits.append(_Visit(users, since))
        self._ends.clear()
        state = self.state(users)
        return Look(state, blocks_of(self._visits[-1].ended(by_itself=True), since))

    def leave(self, now: float, *, for_more: bool) -> None:
        """The present level is over."""
        if self._visits and math.isinf(self._visits[-1].left):
            self._visits[-1].left = now
            self._visits[-1].raised = now if for_more else math.inf

    def state(self, users: int) -> State:
        """What the verdict would say now of the level of so many users."""
        self._take_in()
        visits = [visit.ended() for visit in self._visits if visit.users == users]
        return state_of(visits, users, self._min, self._profile)

    def _take_in(self) -> None:
        """Put each reply where it belongs; what was sent later than the last visit began may belong to the next."""
        placed = [(row, visit) for row in self._fresh if (visit := self._visit_of(_sent(row))) is not None]
        newest = max((visit.left for visit in self._visits), default=-math.inf)
        self._fresh = [row for row in self._fresh if _sent(row) > newest]
        if not placed:
            return
        grades = grade([row for row, _ in placed], [visit.raised for _, visit in placed], self._profile)
        for (row, visit), felt in zip(placed, grades.tolist(), strict=True):
            if felt >= 0:
                user = self._users.setdefault(row.user, len(self._users))
                visit.replies.append((row.end, _sent(row), user, felt, row.outcome not in _JUDGED_NOT))

    def _visit_of(self, sent: float) -> _Visit | None:
        return next((visit for visit in reversed(self._visits) if visit.since <= sent <= visit.left), None)


def _sent(row: ReplyRow) -> float:
    return row.due if row.sent is None else row.sent

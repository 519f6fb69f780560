"""What is heard of the users while a run goes on: what decides whether a level may end."""

from collections import Counter, deque

import numpy as np

from probe_ext.load.search import Look
from probe_ext.load.sequential import Bounds
from probe_ext.measure.outcome import OURS
from probe_ext.measure.rows import ReplyRow
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.so_far import Ended, grade, look_at

_JUDGED_NOT = {outcome.value for outcome in OURS}


class Tally:
    """Finished replies by user, of those sent since a moment. Rows may come in any order."""

    def __init__(self, min_replies: int) -> None:
        self._min = min_replies
        self._rows: deque[tuple[float, str]] = deque()

    def add(self, row: ReplyRow) -> None:
        """Count a reply, unless we ended it."""
        if row.outcome not in _JUDGED_NOT:
            self._rows.append((row.sent if row.sent is not None else row.due, row.user))

    def heard(self, since: float) -> int:
        """Users with at least min_replies finished replies sent since then; forgets what was sent before."""
        self._rows = deque(item for item in self._rows if item[0] >= since)
        replies = Counter(user for _, user in self._rows)
        return sum(1 for n in replies.values() if n >= self._min)


class Judge:
    """Finished replies with how they felt: what a search listens to."""

    def __init__(self, profile: SloProfile, min_replies: int) -> None:
        self.bounds = Bounds(profile.users.served_share, profile.users.broken_share)
        self._profile, self._min = profile, min_replies
        self._fresh: list[ReplyRow] = []
        self._graded: list[tuple[float, float, int, int]] = []
        """end, sent, user and grade"""
        self._users: dict[str, int] = {}

    def add(self, row: ReplyRow) -> None:
        """Take a reply, unless we ended it."""
        if row.outcome not in _JUDGED_NOT:
            self._fresh.append(row)

    def settled(self, since: float) -> int:
        """How many users have had a reply end since then; forgets what ended before."""
        self._take_in()
        self._graded = [one for one in self._graded if one[0] >= since]
        return len({user for _, _, user, _ in self._graded})

    def look(self, since: float, users: int) -> Look:
        """What is known of a level of so many users, of replies sent since then; forgets what was sent before."""
        self._take_in()
        self._graded = sorted(one for one in self._graded if one[1] >= since)
        end, sent, user, grades = zip(*self._graded, strict=True) if self._graded else ((), (), (), ())
        ended = Ended(np.array(user, np.int64), np.array(sent), np.array(end), np.array(grades, np.int8))
        return look_at(ended, since, users, self._min, self._profile)

    def _take_in(self) -> None:
        if not self._fresh:
            return
        for row, felt in zip(self._fresh, grade(self._fresh, self._profile).tolist(), strict=True):
            if felt >= 0:
                user = self._users.setdefault(row.user, len(self._users))
                self._graded.append((row.end, row.due if row.sent is None else row.sent, user, felt))
        self._fresh = []

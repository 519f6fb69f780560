"""Users by experience, counted reply by reply with the verdict's rules."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probe_ext.settings.slo import Users
from probe_ext.verdict.grading.reply_grades import BROKEN, STRAINED, Grades
from probe_ext.verdict.grading.user_grades import Counts, UserCounts, classify, count_users
from probe_ext.verdict.values.columns import Ints

_JUDGED, _STRAINED, _BROKEN = range(3)


class Ledger:
    """Counts of judged replies by user, for several ways of judging. Replies can be removed as a window moves on."""

    def __init__(self, ways: int = 1) -> None:
        self._row: dict[str, int] = {}
        self._counts: NDArray[np.int64] = np.zeros((ways, 3, 16), dtype=np.int64)

    def add(self, users: Sequence[str], *grades: Grades, times: int = 1) -> None:
        """Add each reply `times` times, with its grade in each way of judging; −1 removes it."""
        rows = self._rows(users)
        for counts, grade in zip(self._counts, grades, strict=True):
            for kind, which in ((_JUDGED, grade >= 0), (_STRAINED, grade == STRAINED), (_BROKEN, grade == BROKEN)):
                np.add.at(counts[kind], rows[which], times)

    def _rows(self, users: Sequence[str]) -> Ints:
        rows = np.array([self._row.setdefault(user, len(self._row)) for user in users], dtype=np.int64)
        short = len(self._row) - self._counts.shape[2]
        if short > 0:
            more = np.zeros((*self._counts.shape[:2], max(short, self._counts.shape[2])), dtype=np.int64)
            self._counts = np.concatenate([self._counts, more], axis=2)
        return rows

    @property
    def seen(self) -> int:
        """Number of users with any reply, judged or not."""
        return len(self._row)

    def people(self, rules: Users, way: int = 0) -> UserCounts:
        """Return the number of users in each category."""
        judged, strained, broken = self._counts[way]
        return count_users(classify(Counts(judged, strained, broken), rules))

    def users_with(self, replies: int) -> int:
        """Count users with at least this many judged replies."""
        return int((self._counts[0, _JUDGED] >= replies).sum())

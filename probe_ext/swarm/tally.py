"""How many users of the present level have been heard: what decides whether a level may end."""

from collections import Counter, deque

from probe_ext.measure.rows import ReplyRow

_JUDGED_NOT = {"ended_by_us", "client_error"}


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

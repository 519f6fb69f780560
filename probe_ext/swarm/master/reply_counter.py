"""Count finished replies by user: what decides when a planned level may end."""

from collections import Counter, deque

from probe_ext.measure.outcome import CLIENT_SIDE
from probe_ext.measure.table_rows import ReplyRow

_ENDED_BY_US = {outcome.value for outcome in CLIENT_SIDE}


class ReplyCounter:
    """Finished replies by user. Rows may come in any order."""

    def __init__(self, min_replies: int) -> None:
        self._min_replies = min_replies
        self._replies: deque[tuple[float, str]] = deque()
        """when each was sent, and by which user"""

    def add(self, row: ReplyRow) -> None:
        """Count a reply, unless we ended it."""
        if row.outcome not in _ENDED_BY_US:
            self._replies.append((row.sent if row.sent is not None else row.due, row.user))

    def users_with_enough_replies(self, since: float) -> int:
        """Count users with at least `min_replies` replies sent since then. Earlier replies are forgotten."""
        self._replies = deque(reply for reply in self._replies if reply[0] >= since)
        replies = Counter(user for _, user in self._replies)
        return sum(1 for n in replies.values() if n >= self._min_replies)

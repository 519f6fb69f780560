"""What replies that still go on tell: whether each has kept to the profile's bounds so far.

Where a reply takes 15 s, a level would have to last a minute before its replies have ended. Their first tokens and
their pace are known within seconds. That proves nothing, but it tells a search whether to go on to more users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from probe_ext.measure.fluidity import Deadlines

MARGIN_S = 0.5
"""after the first deadline: only then is a missing token called late"""
PACE_OVER_S = 1.5
"""shortest stretch over which a pace is judged"""
PACE_TOLERANCE = 0.9
"""of the wanted pace, as it is counted over a short stretch"""


class Progress(NamedTuple):
    """A streamed reply so far: monotonic seconds, tokens."""

    sent: float
    at: float
    """when it was last looked at"""
    first: float | None
    """arrival of the first token"""
    tokens: int


class EarlyCount(NamedTuple):
    """Replies that go on and can be judged so far."""

    fine: int
    late: int


@dataclass(frozen=True)
class _Point:
    at: float
    tokens: int


class UnfinishedReplies:
    """Judges replies in flight. Ask about once a second."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._points: dict[int, tuple[_Point, _Point]] = {}
        """by reply: where the stretch began over which its pace is judged, and where the next one will"""

    def count(self, replies: Mapping[int, Progress]) -> EarlyCount:
        """Count the replies that keep to the deadlines and those that don't; those too young to tell are left out."""
        self._points = {key: points for key, points in self._points.items() if key in replies}
        verdicts = [self._is_fine(key, reply) for key, reply in replies.items()]
        return EarlyCount(verdicts.count(True), verdicts.count(False))

    def _is_fine(self, key: int, reply: Progress) -> bool | None:
        bound = self._deadlines.first
        if reply.first is None:
            return False if reply.at - reply.sent > bound + MARGIN_S else None
        if reply.first - reply.sent > bound:
            return False
        begin = _Point(reply.first, 1)
        before, following = self._points.setdefault(key, (begin, begin))
        if reply.at - following.at >= PACE_OVER_S:
            before, following = self._points[key] = following, _Point(reply.at, reply.tokens)
        seconds = reply.at - before.at
        if seconds < PACE_OVER_S:
            return None
        return (reply.tokens - before.tokens) * self._deadlines.each >= PACE_TOLERANCE * seconds

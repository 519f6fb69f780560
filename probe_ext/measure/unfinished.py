"""What replies that still go on tell: whether each has kept to the profile's bounds so far.

Where a reply takes 15 s, a level would have to last a minute before its replies have ended. Their first tokens and
their pace are known within seconds. That proves nothing, but it tells a search whether to go on to more users.

New users ask all at once, so the first replies at a level may be slower than later ones. Replies are therefore counted
by age: a search can leave out those that were sent before all users were there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from probe_ext.measure.fluidity import Deadlines

MARGIN_S = 0.5
"""after the first deadline: only then is a missing token called late"""
PACE_OVER_S = 1.5
"""shortest stretch over which a pace is judged"""
PACE_TOLERANCE = 0.9
"""of the wanted pace, as it is counted over a short stretch"""
MAX_AGE_S = 20
"""of a reply: older ones are counted together"""


class Progress(NamedTuple):
    """A streamed reply so far: monotonic seconds, tokens."""

    sent: float
    at: float
    """when it was last looked at"""
    first: float | None
    """arrival of the first token"""
    tokens: int


class EarlyCount(NamedTuple):
    """Replies of one age that go on and can be judged so far."""

    known: int = 0
    late: int = 0
    """of these: the first token was late or is overdue, or the pace is too slow"""
    late_now: int = 0
    """of these: those whose first token is overdue, or whose pace is too slow, at this moment"""


Counts = tuple[EarlyCount, ...]
"""by age in whole seconds, the youngest first; those of MAX_AGE_S or more are in the last"""


def add_counts(counts: Iterable[Counts]) -> Counts:
    """Return the counts of several processes together."""
    return tuple(
        EarlyCount(*map(sum, zip(*same_age, strict=True))) for same_age in zip_longest(*counts, fillvalue=EarlyCount())
    )


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

    def count(self, replies: Mapping[int, Progress]) -> Counts:
        """Count replies by age; those too young to tell are left out."""
        self._points = {key: points for key, points in self._points.items() if key in replies}
        by_age: dict[int, list[EarlyCount]] = {}
        for key, reply in replies.items():
            if judged := self._judge(key, reply):
                by_age.setdefault(min(MAX_AGE_S, int(reply.at - reply.sent)), []).append(judged)
        return tuple(_total(by_age.get(age, [])) for age in range(max(by_age, default=-1) + 1))

    def _judge(self, key: int, reply: Progress) -> EarlyCount | None:
        bound = self._deadlines.first
        if reply.first is None:
            return EarlyCount(1, 1, 1) if reply.at - reply.sent > bound + MARGIN_S else None
        was_late, is_slow = reply.first - reply.sent > bound, self._is_slow(key, reply, reply.first)
        if is_slow is None:
            return EarlyCount(1, 1, 0) if was_late else None
        return EarlyCount(1, int(was_late or is_slow), int(is_slow))

    def _is_slow(self, key: int, reply: Progress, first: float) -> bool | None:
        """Whether a reply falls short of the wanted pace at present; None if it is too young."""
        begin = _Point(first, 1)
        before, following = self._points.setdefault(key, (begin, begin))
        if reply.at - following.at >= PACE_OVER_S:
            before, following = self._points[key] = following, _Point(reply.at, reply.tokens)
        seconds = reply.at - before.at
        if seconds < PACE_OVER_S:
            return None
        return (reply.tokens - before.tokens) * self._deadlines.each < PACE_TOLERANCE * seconds


def _total(counts: list[EarlyCount]) -> EarlyCount:
    return EarlyCount(*map(sum, zip(*counts, strict=True))) if counts else EarlyCount()

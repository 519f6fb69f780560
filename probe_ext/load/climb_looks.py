"""The way up of a search: whether to go on to more users by what replies do so far, and which level looks overloaded.

Nothing is proven by it. It saves waiting for replies to end where they are slow, and for a level to settle where they
are fast, so that a first range is known within a minute.

New users ask all at once. If even those replies do well, the search goes on at once. If they don't, only what happens
after all users are there tells, as that burst may be more than the same users ask for later.

The numbers below were tried out on the study's random servers 0 to 129, and on its named ones with seeds from 70000
(`scripts/study`).
"""

import math

from probe_ext.load.monitor import Monitor

FIRST_LOOK_S = 3.0
"""after all users are there: the replies of the newest can then be judged"""
OVERLOADED_AFTER_S, OVERLOADED_FOR_S = 4.0, 3.0
"""after all users are there, and for how long in a row, too few replies do well at an overloaded level"""
OVERLOADED_ERRORS = 3.0
"""standard errors below the limit, of those replies"""
MARGIN_ERRORS, VISIT_MARGIN_ERRORS = 0.5, 0.7
"""standard errors above the limit, of replies at a level that is left at once, and of one that is being measured"""
MIN_SHARE, MIN_REPLIES = 0.5, 4
"""of the users must have a reply that can be judged; at least so many, or all users"""
MIN_OVERLOADED_SHARE = 1 / 8
"""likewise of an overloaded level: with think times, few users wait for a reply at any moment"""
MIN_ENDED_SHARE = 0.25
"""of the users must have a measured reply that ended before a level is left while it is being measured: short replies
in flight may be typed faster than longer ones"""

_Counts = tuple[int, int] | None
"""replies that do well so far, and all that can be judged"""


class ClimbLooks:
    """Looks at one level. Ask about once a second."""

    def __init__(self, users: int, entered: float, reached: float) -> None:
        """`entered`, `reached`: when users were asked for, and were there; seconds of the run."""
        self._users, self._entered, self._reached = users, entered, reached
        self._bad_since: float | None = None
        self.overloaded = False
        """whether the level looks overloaded; once it did, only its measurement tells otherwise"""

    def do_well(self, now: float, monitor: Monitor, *, measured: bool) -> bool:
        """Whether replies do well enough to go on to more users. `measured`: the level is being measured."""
        if now - self._reached < FIRST_LOOK_S or self.overloaded:
            return False
        since_reached = monitor.early_counts(now, self._reached + 1.0)
        if measured:
            ended = monitor.visit_counts(now)[1] >= MIN_ENDED_SHARE * self._users
            well = ended and self._is_above(since_reached, monitor.needed_share, VISIT_MARGIN_ERRORS)
        else:
            views = since_reached, monitor.early_counts(now, self._entered)
            well = any(self._is_above(view, monitor.needed_share, MARGIN_ERRORS) for view in views)
        self._note_overload(now, since_reached, monitor.needed_share, well=well)
        return well

    def _note_overload(self, now: float, counts: _Counts, needed: float, *, well: bool) -> None:
        if well or now - self._reached < OVERLOADED_AFTER_S or not self._is_below(counts, needed):
            self._bad_since = None
            return
        self._bad_since = now if self._bad_since is None else self._bad_since
        self.overloaded = now - self._bad_since >= OVERLOADED_FOR_S

    def _is_above(self, counts: _Counts, needed: float, errors: float) -> bool:
        if counts is None or counts[1] < max(min(MIN_REPLIES, self._users), MIN_SHARE * self._users):
            return False
        fine, known = counts
        return fine >= min(known, needed * known + errors * math.sqrt(needed * (1 - needed) * known))

    def _is_below(self, counts: _Counts, needed: float) -> bool:
        if counts is None or counts[1] < max(MIN_REPLIES, MIN_OVERLOADED_SHARE * self._users):
            return False
        fine, known = counts
        return fine < needed * known - OVERLOADED_ERRORS * math.sqrt(needed * (1 - needed) * known)

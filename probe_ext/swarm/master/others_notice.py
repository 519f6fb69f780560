"""Say as soon as others use the server: once per stretch by its gauges, and once per level by its counters."""

from probe_ext.live.server.others_now import OthersNow
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.verdict.checks.other_load import share_in_words
from probe_ext.verdict.phrasing.plurals import things

BUSY = "others are using the server"


class OthersNotice:
    """What is to be said, and what has been said already."""

    def __init__(self, others: OthersNow, monitor: VisitMonitor, before: str | None) -> None:
        self._others, self._monitor = others, monitor
        self._before = before
        self._noticed = False
        """whether the gauges show others' requests, and it was said"""
        self._levels: set[tuple[int, float]] = set()
        self.present: str | None = before
        """what holds now, for displays; None where nothing does"""

    def update(self, now: float, own_in_flight: float) -> str | None:
        """Return what is new and to be said at once."""
        extra = self._others.extra_requests(own_in_flight)
        visit = self._monitor.visits[-1] if self._monitor.visits else None
        share = self._monitor.others(visit, now) if visit and visit.end is None else None
        if visit is not None and share is not None and share.too_much:
            crowded = (
                f"{BUSY} at {things(visit.users, 'user')}: {share_in_words(share)}. This level is not judged so far"
            )
            new = (visit.users, visit.start) not in self._levels
            self._levels.add((visit.users, visit.start))
            self._noticed, self.present = True, crowded
            return crowded if new else None
        if extra is None:
            self._noticed, self.present = False, self._before if visit is None else None
            return None
        seen = f"{BUSY}: it has {things(extra, 'request')} more than this run"
        new, self._noticed, self.present = not self._noticed, True, seen
        return seen if new else None

"""Ask every metrics URL about once a second and hand on canonical rows. Pure wiring: time, tasks and calls come in.

Each URL has a loop of its own, so one that hangs delays no other. The moments stay on a grid of whole periods: a late
poll is not made up for, and does not shift the next.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from probe_ext.measure.table_rows import ServerRow
from probe_ext.target.call_result import Answer, Failed
from probe_ext.target.catalogue import Reading, reading_of
from probe_ext.target.endpoint_state import Watch
from probe_ext.target.metrics_text import Unreadable
from probe_ext.target.urls import shown

PERIOD = 1.0
_PATIENCE = 5.0

Fetch = Callable[[str], Answer | Failed]
Read = Callable[[bytes], Reading | Unreadable]


class Poller:
    """Polls until stopped. `fetch` and `read` return error values and do not raise."""

    def __init__(  # noqa: PLR0913 -- these are the outside world, each passed in by name
        self,
        urls: Sequence[str],
        fetch: Fetch,
        read: Read = reading_of,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        spawn: Callable[[Callable[[], None]], object],
        emit: Callable[[list[ServerRow]], None],
        period: float = PERIOD,
    ) -> None:
        """`clock`: seconds on the run's axis. `spawn`: run a function beside the caller (a greenlet, a thread)."""
        self._fetch = fetch
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._spawn = spawn
        self._emit = emit
        self._period = period
        self._stopped = False
        self._watches = {url: Watch(shown(url)) for url in urls}

    def start(self) -> None:
        """Begin polling every URL."""
        for url in self._watches:
            self._spawn(lambda url=url: self._follow(url))  # type: ignore[misc]  # bound now, not at the call

    def stop(self) -> None:
        """End the loops. An answer still under way is dropped: nothing is emitted after this."""
        self._stopped = True

    def findings(self) -> list[dict[str, Any]]:
        """What a reader of the run must know of the metrics, in the shape of `capacity.json`'s findings."""
        now = self._clock()
        return [finding for watch in self._watches.values() for finding in watch.findings(now, _PATIENCE)]

    def _follow(self, url: str) -> None:
        due = self._clock()
        while not self._stopped:
            self.poll(url)
            due = next_due(due, self._clock(), self._period)
            self._sleep(max(0.0, due - self._clock()))

    def poll(self, url: str) -> None:
        """One poll now; its rows carry the middle of the call."""
        watch = self._watches[url]
        watch.asked_at = asked = self._clock()
        answer = self._fetch(url)
        t = (asked + self._clock()) / 2
        watch.asked_at = None
        if self._stopped:
            return
        outcome = answer if isinstance(answer, Failed) else self._read(answer.body)
        if isinstance(outcome, Failed | Unreadable):
            watch.failure(t, outcome.why)
        else:
            watch.reading(t, outcome)
            self._emit([ServerRow(t, watch.url, f.engine, f.quantity, f.value) for f in outcome.figures])


def next_due(due: float, now: float, period: float) -> float:
    """The first moment of the grid after `now`, at least one period after `due`."""
    return due + period * max(1, math.ceil((now - due) / period))

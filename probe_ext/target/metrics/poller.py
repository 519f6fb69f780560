"""Polls every metrics URL about once a second and emits canonical rows. Clock, tasks and requests are passed in.

Each URL has its own loop, so that one that hangs does not delay others. Polls stay on a grid of whole periods: a late
poll is not repeated and does not shift the next one. A page that takes longer than half a period is polled more slowly,
so that a busy server spends at most half of its time on it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from probe_ext.measure.table_rows import ServerRow
from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.control.urls import shown
from probe_ext.target.metrics.catalogue import Reading, read_page
from probe_ext.target.metrics.endpoint_state import EndpointHistory
from probe_ext.target.metrics.metrics_text import Unreadable

PERIOD_S = 1.0
SLOW_PAGE_TIMEOUT_S = 10.0
_HANG_AFTER_S = SLOW_PAGE_TIMEOUT_S + 2.0
MAX_BUSY_SHARE = 0.5
_LAST_POLL_CHECK_S = 0.05

Fetch = Callable[[str], Answer | Failed]
Read = Callable[[bytes], Reading | Unreadable]


class Poller:
    """Polls until stopped. `fetch` and `read` return errors as values and do not raise."""

    def __init__(  # noqa: PLR0913 -- the outside world, passed in by name
        self,
        urls: Sequence[str],
        fetch: Fetch,
        read: Read = read_page,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        spawn: Callable[[Callable[[], None]], object],
        emit: Callable[[list[ServerRow]], None],
        period: float = PERIOD_S,
    ) -> None:
        """`clock`: seconds since the run's start. `spawn`: runs a function concurrently (greenlet, thread)."""
        self._fetch = fetch
        self._read = read
        self._clock = clock
        self._sleep = sleep
        self._spawn = spawn
        self._emit = emit
        self._period = period
        self._stopped = self._ending = False
        self._histories = {url: EndpointHistory(shown(url), period=period) for url in urls}

    def start(self) -> None:
        """Start polling all URLs."""
        for url in self._histories:
            self._spawn(lambda url=url: self._poll_until_stopped(url))  # type: ignore[misc]  # bind now, not at the call

    def poll_last(self, limit: float) -> None:
        """Poll every URL once more, for at most `limit` seconds in all, and stop: servers count a reply at its end."""
        self._ending = True
        pending = set(self._histories)
        until = self._clock() + limit
        for url in self._histories:
            self._spawn(lambda url=url: self._poll_after_current(url, pending))  # type: ignore[misc]
        while pending and self._clock() < until:
            self._sleep(_LAST_POLL_CHECK_S)
        self.stop()

    def _poll_after_current(self, url: str, pending: set[str]) -> None:
        while self._histories[url].request_started_at is not None and not self._stopped:
            self._sleep(_LAST_POLL_CHECK_S)
        if not self._stopped:
            self.poll(url)
        pending.discard(url)

    def stop(self) -> None:
        """Stop polling. Responses to requests in progress are dropped: nothing is emitted after this."""
        self._stopped = True

    def findings(self) -> list[dict[str, Any]]:
        """Return warnings about the metrics in the format of `capacity.json`'s findings."""
        now = self._clock()
        return [finding for history in self._histories.values() for finding in history.findings(now, _HANG_AFTER_S)]

    def _poll_until_stopped(self, url: str) -> None:
        due = self._clock()
        while not (self._stopped or self._ending):
            started = self._clock()
            self.poll(url)
            period = max(self._period, (self._clock() - started) / MAX_BUSY_SHARE)
            due = next_due(due, self._clock(), period)
            self._sleep(max(0.0, due - self._clock()))

    def poll(self, url: str) -> None:
        """Poll once; the rows have the time of the middle of the request."""
        history = self._histories[url]
        history.request_started_at = started = self._clock()
        answer = self._fetch(url)
        ended = self._clock()
        t, width = (started + ended) / 2, ended - started
        history.request_started_at = None
        if self._stopped:
            return
        result = answer if isinstance(answer, Failed) else self._read(answer.body)
        if isinstance(result, Failed | Unreadable):
            history.add_failure(t, result.why)
        elif objection := history.objection(result):
            history.add_failure(t, objection)
        else:
            history.add_reading(t, result, width)
            self._emit([ServerRow(t, history.url, f.engine, f.quantity, f.value, width) for f in result.figures])


def next_due(due: float, now: float, period: float) -> float:
    """Return the first time on the grid after `now`, at least one period after `due`."""
    return due + period * max(1, math.ceil((now - due) / period))

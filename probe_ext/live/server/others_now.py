"""What the server does for others while a run goes on: its counters and gauges against the run's own requests."""

from array import array
from collections import deque
from collections.abc import Iterable

import numpy as np

from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.table_rows import ReplyRow, ServerRow
from probe_ext.verdict.server.others import (
    COUNTED_BY_SERVER,
    SLACK_S,
    SentReplies,
    counters_of_target,
    others_in,
    own_requests,
)
from probe_ext.verdict.server.server_series import RESTART_COUNTERS, Engine, Metrics, Series, is_part, usable_metrics
from probe_ext.verdict.values.others_share import OthersShare

REPORTED_AFTER_S = 3.0
"""Seconds after which a finished reply has reached the master."""
MIN_SPAN_S = 5.0
"""Of a visit that goes on."""
MIN_EXTRA, MIN_EXTRA_SHARE = 2.0, 0.2
"""Requests at the server beyond this run's that are worth a word, and their share of this run's."""
NOTICED_AFTER_POLLS = 3
MAX_REPLIES, MAX_SAMPLES = 500_000, 50_000
"""The newest; of each counter and engine."""
_GAUGES = ("running", "waiting")
_KEPT = frozenset({*RESTART_COUNTERS, "process_start"})
_FIELDS = 7


class OthersNow:
    """Takes replies and the server's metrics. `host` is the address under load; seconds of the run."""

    def __init__(self, host: str, longest_reply: int) -> None:
        self._manifest = {"target": {"host": host}}
        self._longest_reply = longest_reply
        self._replies = array("d")
        self._choices = 1
        self._counters: dict[str, dict[Engine, tuple[array[float], array[float]]]] = {}
        self._gauges: dict[str, dict[Engine, float]] = {name: {} for name in _GAUGES}
        self._width = 0.0
        self._extra: deque[float] = deque(maxlen=NOTICED_AFTER_POLLS)

    def add_reply(self, row: ReplyRow) -> None:
        """Add a finished reply."""
        counted = row.tokens_out if row.tokens_from in COUNTED_BY_SERVER else None
        sent = row.due if row.sent is None else row.sent
        finished = float(Outcome(row.outcome) in FINISHED)
        self._replies.extend(map(_nan, (sent, row.first, row.last, row.end, finished, counted, row.tokens_in)))
        self._choices = max(self._choices, row.choices)
        if len(self._replies) > MAX_REPLIES * _FIELDS:
            del self._replies[: MAX_REPLIES // 2 * _FIELDS]

    def add_server(self, rows: Iterable[ServerRow], own_in_flight: float) -> None:
        """Add the rows of a poll; `own_in_flight`: the most requests that this run may have at the server now."""
        for row in rows:
            engine = (row.url, row.engine)
            self._width = max(self._width, row.width or 0.0)
            if row.quantity in self._gauges:
                self._gauges[row.quantity][engine] = row.value
            elif row.quantity in _KEPT:
                times, values = self._counters.setdefault(row.quantity, {}).setdefault(engine, (array("d"), array("d")))
                times.append(row.t)
                values.append(row.value)
                if len(times) > MAX_SAMPLES:
                    del times[: MAX_SAMPLES // 2], values[: MAX_SAMPLES // 2]
        self._extra.append(self._in_flight() - own_in_flight * self._choices)

    def _in_flight(self) -> float:
        return sum(
            value
            for by_engine in self._gauges.values()
            for engine, value in by_engine.items()
            if not is_part(engine, by_engine)
        )

    def extra_requests(self, own_in_flight: float) -> int | None:
        """Return how many requests of others the server has had over the last polls; None where there are none."""
        least = max(MIN_EXTRA, MIN_EXTRA_SHARE * own_in_flight * self._choices)
        if len(self._extra) < NOTICED_AFTER_POLLS or min(self._extra) < least:
            return None
        return int(min(self._extra))

    def share(self, start: float, end: float | None, users: int, now: float) -> OthersShare | None:
        """Return others' share between two seconds of the run, up to now where `end` is None; None while unknown."""
        until = now - REPORTED_AFTER_S if end is None else min(end, now - REPORTED_AFTER_S)
        counters = counters_of_target(usable_metrics(self._metrics()), self._manifest)
        over = end is not None and until == end  # then all that will be known is: as in the report, however short
        if (until - start < MIN_SPAN_S and not over) or not counters:
            return None
        own = own_requests(self._sent(), self._longest_reply)
        # Of requests that are still in flight, no row is here yet.
        still_open = users if end is None or now - end < REPORTED_AFTER_S + own.longest_seconds else 0
        return others_in(counters, own, start, until, slack=SLACK_S + self._width, open_requests=still_open)

    def _metrics(self) -> Metrics:
        return {
            name: {engine: Series(np.array(times), np.array(values)) for engine, (times, values) in by_engine.items()}
            for name, by_engine in self._counters.items()
        }

    def _sent(self) -> SentReplies:
        sent, first, last, end, finished, tokens, prompt = np.array(self._replies).reshape(-1, _FIELDS).T
        return SentReplies(sent, first, last, end, finished > 0, tokens, prompt, float(self._choices))


def _nan(value: float | None) -> float:
    return np.nan if value is None else value

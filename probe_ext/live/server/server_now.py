"""The server's current metrics: summed over engines, with counters that may reset."""

from collections.abc import Iterable, Iterator

from probe_ext.measure.table_rows import ServerRow
from probe_ext.verdict.server.server_series import STALE_INTERVALS, STALE_S, Engine, is_part

_SHOWN = ("kv_usage", "running", "waiting")


class ServerNow:
    """Takes every row, and keeps the newest value of each engine."""

    def __init__(self, interval: float = 1.0) -> None:
        """`interval`: seconds between polls."""
        self._stale_after = max(STALE_S, STALE_INTERVALS * interval)
        self._newest: dict[str, dict[Engine, tuple[float, float]]] = {name: {} for name in _SHOWN}
        self._counter: dict[Engine, float] = {}
        self.preemptions: int | None = None
        """since the run began; None before the second poll"""
        self._reported: int | None = None
        self.last_row: float | None = None
        """second of the run of the newest row"""

    def add(self, rows: Iterable[ServerRow]) -> None:
        """Add the rows of a poll."""
        for row in rows:
            self.last_row = row.t
            engine = (row.url, row.engine)
            if row.quantity in self._newest:
                self._newest[row.quantity][engine] = (row.t, row.value)
            elif row.quantity == "preemptions":
                self._count(engine, row.value)

    def _count(self, engine: Engine, value: float) -> None:
        before = self._counter.get(engine)
        self._counter[engine] = value
        if before is None or is_part(engine, self._counter):
            return
        rise = value - before if value >= before else value  # a counter that fell was reset to 0
        self.preemptions = (self.preemptions or 0) + round(rise)

    def new_preemptions(self) -> int | None:
        """Return preemptions since the last call."""
        if self.preemptions is None:
            return None
        new, self._reported = self.preemptions - (self._reported or 0), self.preemptions
        return new

    def kv_usage(self, now: float) -> float | None:
        """Return the KV-cache usage of the fullest engine, 0 to 1."""
        return max(self._fresh("kv_usage", now), default=None)

    def requests(self, quantity: str, now: float) -> float | None:
        """Return `running` or `waiting` of all engines together."""
        values = list(self._fresh(quantity, now))
        return sum(values) if values else None

    def _fresh(self, quantity: str, now: float) -> Iterator[float]:
        newest = self._newest[quantity]
        for engine, (t, value) in newest.items():
            if now - t <= self._stale_after and not is_part(engine, newest):
                yield value

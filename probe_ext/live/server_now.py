"""What the server says of itself now: engines put together, counters that may start anew."""

from collections.abc import Container, Iterable, Iterator

from probe_ext.measure.table_rows import ServerRow
from probe_ext.verdict.server.server_series import STALE

Engine = tuple[str, str]
"""URL and engine"""
_SHOWN = ("kv_usage", "running", "waiting")


class ServerNow:
    """Told of every row; keeps the newest of each engine."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[Engine, tuple[float, float]]] = {name: {} for name in _SHOWN}
        self._counter: dict[Engine, float] = {}
        self.preemptions: int | None = None
        """since the run began; None before the server has been asked twice"""
        self._told: int | None = None
        self.heard: float | None = None
        """second of the run of the newest row"""

    def add(self, rows: Iterable[ServerRow]) -> None:
        """Take what a poll brought."""
        for row in rows:
            self.heard = row.t
            engine = (row.url, row.engine)
            if row.quantity in self._newest:
                self._newest[row.quantity][engine] = (row.t, row.value)
            elif row.quantity == "preemptions":
                self._count(engine, row.value)

    def _count(self, engine: Engine, value: float) -> None:
        before = self._counter.get(engine)
        self._counter[engine] = value
        if before is None or _is_part(engine, self._counter):
            return
        rise = value - before if value >= before else value  # a counter that fell had started anew from nothing
        self.preemptions = (self.preemptions or 0) + round(rise)

    def preempted(self) -> int | None:
        """Preemptions since this was last asked."""
        if self.preemptions is None:
            return None
        news, self._told = self.preemptions - (self._told or 0), self.preemptions
        return news

    def kv_usage(self, now: float) -> float | None:
        """The fullest engine's, 0..1."""
        return max(self._fresh("kv_usage", now), default=None)

    def requests(self, quantity: str, now: float) -> float | None:
        """`running` or `waiting`, all engines together."""
        found = list(self._fresh(quantity, now))
        return sum(found) if found else None

    def _fresh(self, quantity: str, now: float) -> Iterator[float]:
        newest = self._newest[quantity]
        for engine, (t, value) in newest.items():
            if now - t <= STALE and not _is_part(engine, newest):
                yield value


def _is_part(engine: Engine, known: Container[Engine]) -> bool:
    """Whether the server's total is known too, which then counts instead of its parts."""
    return engine[1] != "all" and (engine[0], "all") in known

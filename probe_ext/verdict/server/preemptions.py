"""When was a request put on hold? Preemptions, charged to the moment at which the server's queue grew.

vLLM counts a preemption when its victim runs again, seconds after it was put on hold, and never if the client leaves
meanwhile; the victim stands in the waiting gauge at once. So a rise of the counter is charged to the latest growth of
an unbroken queue before it that no other preemption was charged to. That is a guess where new requests join the same
queue: such a charge is never said to be sure of more than the level.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import Metrics, Series
from probe_ext.verdict.values.columns import Bools, Floats


@dataclass(frozen=True)
class Charges:
    """Preemptions, several with the same moments together."""

    at: Floats
    """seconds of the run: the sample that showed the queue grow; without such a one, that of the counter"""
    shown: Floats
    """the sample that showed the counter rise"""
    count: Floats
    queued: Bools
    """whether the queue showed the beginning"""

    def within(self, level: Level) -> tuple[int, int]:
        """How many a level is charged with; of them, those whose beginning or end may lie outside of it."""
        here = (self.at > level.t_start) & (self.at <= level.t_end)
        shown_here = (self.shown > level.t_start) & (self.shown <= level.t_end)
        unsure = here & ~(self.queued & shown_here)
        return round(self.count[here].sum()), round(self.count[unsure].sum())


def charge(metrics: Metrics) -> Charges:
    """All preemptions of a run, over all engines."""
    found: list[tuple[float, float, float, bool]] = []
    for engine, counter in metrics.get("preemptions", {}).items():
        found += _of_engine(counter, metrics.get("waiting", {}).get(engine))
    at, shown, count, queued = np.array(found, dtype=np.float64).reshape(-1, 4).T
    return Charges(at, shown, count, queued.astype(np.bool_))


def _of_engine(counter: Series, waiting: Series | None) -> list[tuple[float, float, float, bool]]:
    grown = counter.rises()
    length = np.full(len(counter.t), np.nan) if waiting is None else _as_of(waiting, counter.t)
    queue: list[list[float]] = []  # moments at which it grew, and by how many that nothing was charged to yet
    found = []
    for i in range(1, len(counter.t)):
        left = float(grown[i - 1])
        while left > 0 and queue:
            moment, many = queue[-1]
            taken = min(left, many)
            found.append((moment, float(counter.t[i]), taken, True))
            queue[-1][1] -= taken
            left -= taken
            if queue[-1][1] <= 0:
                queue.pop()
        if left > 0:
            found.append((float(counter.t[i]), float(counter.t[i]), left, False))
        if length[i] > length[i - 1]:
            queue.append([float(counter.t[i]), float(length[i] - length[i - 1])])
        elif not length[i] > 0:
            queue.clear()
    return found


def _as_of(series: Series, moments: Floats) -> Floats:
    at = np.searchsorted(series.t, moments, side="right") - 1
    return np.where(at >= 0, series.value[np.maximum(at, 0)], np.nan)

"""When did preemptions happen? Each is attributed to the moment at which the server's queue grew.

vLLM counts a preemption when the preempted request runs again, seconds later, and never if the client leaves meanwhile;
the request is in the waiting gauge at once. So a rise of the counter is attributed to the latest growth of an unbroken
queue before it that has no preemption yet. Where new requests join the same queue that is a guess, so it is only ever
used to choose the level.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Floats
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.server_series import Metrics, Series


@dataclass(frozen=True)
class Preemptions:
    """Preemptions; those with the same moments share an entry."""

    at: Floats
    """seconds of the run: the sample that showed the queue grow, otherwise that of the counter"""
    shown: Floats
    """the sample that showed the counter rise"""
    count: Floats
    queued: Bools
    """whether the queue showed the start"""

    def within(self, level: Level) -> tuple[int, int]:
        """Return how many are attributed to a level, and how many of them may have begun or ended outside it."""
        here = (self.at > level.t_start) & (self.at <= level.t_end)
        shown_here = (self.shown > level.t_start) & (self.shown <= level.t_end)
        unsure = here & ~(self.queued & shown_here)
        return round(self.count[here].sum()), round(self.count[unsure].sum())


def find_preemptions(metrics: Metrics) -> Preemptions:
    """Return all preemptions of a run, over all engines."""
    rows: list[tuple[float, float, float, bool]] = []
    for engine, counter in metrics.get("preemptions", {}).items():
        rows += _engine_rows(counter, metrics.get("waiting", {}).get(engine))
    at, shown, count, queued = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Preemptions(at, shown, count, queued.astype(np.bool_))


def _engine_rows(counter: Series, waiting: Series | None) -> list[tuple[float, float, float, bool]]:
    grown = counter.rises()
    length = np.full(len(counter.t), np.nan) if waiting is None else _latest(waiting, counter.t)
    queue: list[list[float]] = []  # when it grew, and by how many requests not attributed yet
    rows = []
    for i in range(1, len(counter.t)):
        left = float(grown[i - 1])
        while left > 0 and queue:
            moment, many = queue[-1]
            taken = min(left, many)
            rows.append((moment, float(counter.t[i]), taken, True))
            queue[-1][1] -= taken
            left -= taken
            if queue[-1][1] <= 0:
                queue.pop()
        if left > 0:
            rows.append((float(counter.t[i]), float(counter.t[i]), left, False))
        if length[i] > length[i - 1]:
            queue.append([float(counter.t[i]), float(length[i] - length[i - 1])])
        elif not length[i] > 0:
            queue.clear()
    return rows


def _latest(series: Series, moments: Floats) -> Floats:
    at = np.searchsorted(series.t, moments, side="right") - 1
    return np.where(at >= 0, series.value[np.maximum(at, 0)], np.nan)

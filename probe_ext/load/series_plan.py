"""A series of rates over given times, such as a day's curve: nothing of it is decided during the run."""

import itertools
from dataclasses import dataclass
from statistics import median
from typing import Any

from probe_ext.load.level_plan import MIN_LEVEL_S
from probe_ext.load.monitor import Monitor
from probe_ext.measure.rate import Rate, as_json


@dataclass(frozen=True)
class RateStep:
    """A rate and how long it lasts, seconds."""

    rate: Rate
    """0: nothing arrives"""
    seconds: float


@dataclass(frozen=True)
class SeriesPlan:
    """Rates to hold one after another, each for its own time."""

    steps: tuple[RateStep, ...]
    settle: float

    by_rate = True

    @property
    def levels(self) -> tuple[Rate, ...]:
        """The rates in order of time, without pauses."""
        return tuple(step.rate for step in self.steps if step.rate)

    @property
    def min_duration(self) -> float:
        """Duration in seconds."""
        return sum(step.seconds for step in self.steps)

    def begin(self) -> "SeriesSteps":
        """Start a run of this plan."""
        return SeriesSteps(self)


class SeriesSteps:
    """Progress of a run through its series. Call `target` about once a second."""

    def __init__(self, plan: SeriesPlan) -> None:
        self.plan = plan
        self.index = 0
        self.never_reached: list[int] = []
        """none: a series goes on whatever happens"""
        self._ends = list(itertools.accumulate(step.seconds for step in plan.steps))
        self._began: float | None = None
        self._visiting = False

    @property
    def level(self) -> int:
        """The rate of the current step."""
        return self.plan.steps[self.index].rate

    @property
    def position(self) -> str:
        """Progress for people, such as `step 2 of 24`."""
        return f"step {self.index + 1} of {len(self.plan.steps)}"

    why_again = ""

    def as_json(self) -> dict[str, Any]:
        """Return the manifest's `plan`."""
        seconds = [step.seconds for step in self.plan.steps]
        return {
            "levels": [],
            "rates": as_json([step.rate for step in self.plan.steps]),
            "seconds": seconds,
            "hold": median(seconds),
            "settle": self.plan.settle,
            "min_replies": None,
            "visited_again": [],
            "search": None,
        }

    def target(self, now: float, users: int, monitor: Monitor) -> int | None:
        """Return the rate that should be in force now, None after the last step.

        `users`: the rate that is in force; the series begins once its first rate is.
        """
        if self._began is None:
            if users != self.level:
                return self.level
            self._began = now
        elapsed = now - self._began
        while elapsed >= self._ends[self.index]:
            self._end_visit(now, monitor)
            if self.index + 1 == len(self.plan.steps):
                return None
            self.index += 1
        start = self._ends[self.index] - self.plan.steps[self.index].seconds + self.plan.settle
        long_enough = self._ends[self.index] - start >= MIN_LEVEL_S
        if self.level and long_enough and elapsed >= start and users == self.level and not self._visiting:
            self._visiting = True
            monitor.begin_visit(now, self.level)
        return self.level

    def _end_visit(self, now: float, monitor: Monitor) -> None:
        if self._visiting:
            following = self.plan.steps[self.index + 1].rate if self.index + 1 < len(self.plan.steps) else 0
            monitor.end_visit(now, more_users=following > self.level)
        self._visiting = False

"""Levels, rates or a search as a Locust load shape. Attached only for a plan: it hides the web UI's user fields."""

import logging
from collections.abc import Callable
from typing import Any

from locust import LoadTestShape

from probe_ext.load.boundary_search import SearchPlan, SearchSteps
from probe_ext.load.level_plan import LevelPlan, LevelSteps
from probe_ext.load.series_plan import SeriesPlan, SeriesSteps
from probe_ext.measure.rate import Rate
from probe_ext.swarm.master.open_stream import OpenStream

logger = logging.getLogger(__name__)

_RAMP_S = 3.0  # over which a level's new users are spread
_MAX_SLOTS_PER_S = 100.0  # more would make Locust warn


class LevelShape(LoadTestShape):
    """Steps through a plan. `monitor` returns what its steps are decided by, None before there is a run."""

    abstract = True  # else Locust would take it for the locustfile's shape

    def __init__(
        self,
        plan: LevelPlan | SearchPlan | SeriesPlan,
        monitor: Callable[[], Any],
        ending: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self.steps: LevelSteps | SearchSteps | SeriesSteps = plan.begin()
        self.finished = False
        self.plan = plan
        self._monitor, self._ending, self._now = monitor, ending, now
        self._last = self._step_to(self.steps.level, 0)

    def reset_time(self) -> None:
        """Start the plan again; Locust calls this for a new run."""
        super().reset_time()
        self.steps, self.finished = self.plan.begin(), False
        self._last = self._step_to(self.steps.level, 0)

    def tick(self) -> tuple[int, float] | None:
        """Return users and spawn rate; None once the plan is done. While the run is ending, nothing changes."""
        monitor = self._monitor()
        if monitor is None or self._ending():
            return self._last
        users = self.get_current_user_count()
        try:
            target = self.steps.target(self._now(), self._in_force(users), monitor)
        except Exception:
            logger.exception("probe: internal error (please report); the plan ends here")
            target = None  # Locust would log it and keep the users at work without end
        if target is None:
            self.finished = True
            return None
        self._ask_for(target, users)
        return self._last

    def _in_force(self, users: int) -> int:
        """Return what the plan's levels are compared with."""
        return users

    def _ask_for(self, target: int, users: int) -> None:
        if target != self._last[0] or users == 0:
            self._last = self._step_to(target, users)

    def _step_to(self, target: int, users: int) -> tuple[int, float]:
        return target, max(1.0, abs(target - users) / _RAMP_S)

    @property
    def searching(self) -> bool:
        """Whether the plan is a search."""
        return isinstance(self.steps, SearchSteps)


class RateShape(LevelShape):
    """Rates: all users, the slots of an open stream, start first. `stream`: the run's, None before there is a run."""

    abstract = True

    def __init__(
        self,
        plan: LevelPlan | SeriesPlan,
        slots: int,
        stream: Callable[[], OpenStream | None],
        monitor: Callable[[], Any],
        ending: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._slots, self._stream = slots, stream
        super().__init__(plan, monitor, ending, now)

    def tick(self) -> tuple[int, float] | None:
        """Return slots and spawn rate; None once the plan is done and the last arrival was due."""
        stream = self._stream()
        if super().tick() is not None or stream is None:
            return self._last
        stream.ask(Rate(0))
        return None if stream.is_over else self._last

    def _in_force(self, users: int) -> int:
        stream = self._stream()
        return stream.rate_at(self._now()) if stream is not None else 0

    def _ask_for(self, target: int, users: int) -> None:
        stream = self._stream()
        if stream is not None and (stream.segments or users >= self._slots):
            stream.ask(Rate(target))

    def _step_to(self, target: int, users: int) -> tuple[int, float]:
        slots, per_second = super()._step_to(self._slots, users)
        return slots, min(per_second, _MAX_SLOTS_PER_S)

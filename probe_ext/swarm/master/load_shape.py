"""Levels or a search as a Locust load shape. Attached only for a plan: a shape hides the web UI's user fields."""

import logging
from collections.abc import Callable
from typing import Any

from locust import LoadTestShape

from probe_ext.load.boundary_search import SearchPlan, SearchSteps
from probe_ext.load.level_plan import LevelPlan

logger = logging.getLogger(__name__)

_RAMP_S = 3.0  # over which a level's new users are spread


class LevelShape(LoadTestShape):
    """Steps through a plan. `monitor` returns what its steps are decided by, None before there is a run."""

    abstract = True  # else Locust would take it for the locustfile's shape

    def __init__(
        self,
        plan: LevelPlan | SearchPlan,
        monitor: Callable[[], Any],
        ending: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self.steps = plan.begin()
        self.finished = False
        self._plan = plan
        self._monitor, self._ending, self._now = monitor, ending, now
        self._last = self._step_to(self.steps.level, 0)

    def reset_time(self) -> None:
        """Start the plan again; Locust calls this for a new run."""
        super().reset_time()
        self.steps, self.finished = self._plan.begin(), False
        self._last = self._step_to(self.steps.level, 0)

    def tick(self) -> tuple[int, float] | None:
        """Return users and spawn rate; None once the plan is done. While the run is ending, nothing changes."""
        monitor = self._monitor()
        if monitor is None or self._ending():
            return self._last
        users = self.get_current_user_count()
        try:
            target = self.steps.target(self._now(), users, monitor)
        except Exception:
            logger.exception("probe: internal error (please report); the plan ends here")
            target = None  # Locust would log it and keep the users at work without end
        if target is None:
            self.finished = True
            return None
        if target != self._last[0] or users == 0:
            self._last = self._step_to(target, users)
        return self._last

    @staticmethod
    def _step_to(target: int, users: int) -> tuple[int, float]:
        return target, max(1.0, abs(target - users) / _RAMP_S)

    @property
    def searching(self) -> bool:
        """Whether the plan is a search."""
        return isinstance(self.steps, SearchSteps)

"""Levels or a search as a Locust load shape; attached only when asked for, since it hides the web UI's user fields."""

from collections.abc import Callable
from typing import Any

from locust import LoadTestShape

from probe_ext.load.boundary_search import SearchPlan, SearchSteps
from probe_ext.load.level_plan import LevelPlan

_RAMP = 3.0
"""seconds over which a level's new users are spread"""


class LevelShape(LoadTestShape):
    """Steps through a plan. `live` is what is heard of the users, None before there is a run."""

    abstract = True  # never taken for a locustfile's own shape

    def __init__(
        self,
        plan: LevelPlan | SearchPlan,
        live: Callable[[], Any],
        ending: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        super().__init__()
        self.steps = plan.begin()
        self.finished = False
        self._plan = plan
        self._live, self._ending, self._now = live, ending, now
        self._last = self._step_to(self.steps.level, 0)

    def reset_time(self) -> None:
        """A new run begins (Locust calls this)."""
        super().reset_time()
        self.steps, self.finished = self._plan.begin(), False
        self._last = self._step_to(self.steps.level, 0)

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate; None when the plan is done. While the run ends, nothing changes any more."""
        live = self._live()
        if live is None or self._ending():
            return self._last
        users = self.get_current_user_count()
        target = self.steps.target(self._now(), users, live)
        if target is None:
            self.finished = True
            return None
        if target != self._last[0] or users == 0:
            self._last = self._step_to(target, users)
        return self._last

    @staticmethod
    def _step_to(target: int, users: int) -> tuple[int, float]:
        return target, max(1.0, abs(target - users) / _RAMP)

    @property
    def searching(self) -> bool:
        """Whether it looks for the boundary by itself."""
        return isinstance(self.steps, SearchSteps)

"""The levels of a run as a Locust load shape; attached only when asked for, since it hides the web UI's user fields."""

from collections.abc import Callable

from locust import LoadTestShape

from probe_ext.load.levels import LevelPlan, LevelSteps

_RAMP = 3.0
"""seconds over which a level's new users are spread"""


class LevelShape(LoadTestShape):
    """Steps through a plan. `heard` and `ending` are asked of the running run."""

    abstract = True  # never taken for a locustfile's own shape

    def __init__(
        self, plan: LevelPlan, heard: Callable[[float], int], ending: Callable[[], bool], now: Callable[[], float]
    ) -> None:
        super().__init__()
        self.steps = LevelSteps(plan)
        self.finished = False
        self._plan = plan
        self._heard, self._ending, self._now = heard, ending, now
        self._last = (plan.levels[0], 1.0)

    def reset_time(self) -> None:
        """A new run begins (Locust calls this)."""
        super().reset_time()
        self.steps, self.finished = LevelSteps(self._plan), False

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate; None when the last level is done. While the run ends, nothing changes any more."""
        if self._ending():
            return self._last
        users = self.get_current_user_count()
        target = self.steps.target(self._now(), users, self._heard)
        if target is None:
            self.finished = True
            return None
        if target != self._last[0] or users == 0:
            self._last = (target, max(1.0, abs(target - users) / _RAMP))
        return self._last

"""A search that goes on after its precision is reached, until someone ends it or its time is up.

Up to that moment it takes the same steps as any other search. From then on it closes in further, and what the replies
say no longer ends it: a search that stops at the first moment at which they seem to prove everything would stop at
chance results.
"""

from dataclasses import asdict, dataclass, replace

from probe_ext.load.boundary_search import Outcome, SearchPlan, SearchSteps
from probe_ext.load.monitor import Monitor

_NARROWER = 0.25  # of the width asked for: how close the levels are to the boundary afterwards


@dataclass(frozen=True)
class OpenEndedPlan(SearchPlan):
    """Limits of a search whose `precision` is the first goal, not the end."""

    scale: float = 1.0
    """of the width that is wanted now, to the width asked for"""

    def target_width(self, users: float) -> float:
        """How wide the interval of an estimate may be now, in users."""
        return self.scale * super().target_width(users)

    def begin(self) -> "OpenEndedSteps":
        """Start a search."""
        return OpenEndedSteps(self)


def open_ended(plan: SearchPlan) -> OpenEndedPlan:
    """Return a plan that goes on where this one ends."""
    return OpenEndedPlan(**asdict(plan))


class OpenEndedSteps(SearchSteps):
    """The state of such a search."""

    plan: OpenEndedPlan

    def __init__(self, plan: OpenEndedPlan) -> None:
        super().__init__(plan)
        self.goes_on = False
        """whether it reached its precision and goes on; afterwards, whether it did"""

    def review(self, now: float, monitor: Monitor) -> None:
        """Read the estimate once more, and hold it against what was asked for."""
        if self.goes_on and self.outcome in {None, "time"}:
            self.plan = replace(self.plan, scale=1.0)
            self.outcome = "precise"
        super().review(now, monitor)

    def _is_precise(self, tolerance: float = 1.0) -> bool:
        is_over = self.outcome is not None
        return (is_over or not self.goes_on) and super()._is_precise(tolerance)

    def _end(self, outcome: Outcome, now: float, monitor: Monitor) -> None:
        if outcome == "precise":
            self.goes_on, self.plan = True, replace(self.plan, scale=_NARROWER)
        else:
            super()._end(outcome, now, monitor)

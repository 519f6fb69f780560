"""The run that a server and this machine are checked against: users, lengths, duration, rows."""

from dataclasses import dataclass

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.settings.options import Options

DEFAULT_LEVELS = (1, 2, 4, 8)
_BYTES_PER_REPLY = 450
"""of `requests.csv`, `gaps.csv` and the worker's own copy, generously"""
_BYTES_PER_SECOND = 6_000
"""of `server.csv` and `users.csv`: some 40 values each second"""
_FIXED_BYTES = 30 * 2**20
"""report, Locust's files, reserve"""
_ASSUMED_REPLIES_PER_SECOND = 1.0
"""of each user; few servers are faster"""
_ASSUMED_SECONDS_PER_REPLY = 10.0
"""so many of an open stream are in flight at once"""
_SLOW_REPLIES_FACTOR = 2.0
"""by which a run may last longer than its plan's minimum"""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What the options ask for."""

    users: int
    """at once, at most"""
    input_tokens: int
    max_tokens: int
    seconds: float
    """duration of the run, roughly"""

    @property
    def bytes_on_disk(self) -> int:
        """Size of the run directory, at most, roughly."""
        replies = self.users * self.seconds * _ASSUMED_REPLIES_PER_SECOND
        return int(_FIXED_BYTES + _BYTES_PER_REPLY * replies + _BYTES_PER_SECOND * self.seconds)


def planned_run(options: Options, users: int | None = None, seconds: float | None = None) -> PlannedRun:
    """Return what the options plan; without levels or search, `users` for `seconds`, or the default levels."""
    plan = options.plan
    lengths = options.input_tokens, options.max_tokens
    if isinstance(plan, SearchPlan):
        return PlannedRun(plan.max_users, *lengths, plan.longest)
    if plan is not None and options.rate:
        seconds = plan.min_duration * _SLOW_REPLIES_FACTOR
        most = max(options.rate).per_second * _ASSUMED_SECONDS_PER_REPLY
        return PlannedRun(min(options.max_in_flight, max(1, round(most))), *lengths, seconds)
    if plan is not None:
        return PlannedRun(max(plan.levels), *lengths, plan.min_duration * _SLOW_REPLIES_FACTOR)
    default = len(DEFAULT_LEVELS) * (options.hold + options.settle) * _SLOW_REPLIES_FACTOR
    return PlannedRun(users or max(DEFAULT_LEVELS), *lengths, seconds or default)

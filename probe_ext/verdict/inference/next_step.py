"""The measurement that would tell most."""

from collections.abc import Sequence

import numpy as np

from probe_ext.verdict.values.capacity_estimate import LevelEstimate, NextStep
from probe_ext.verdict.values.json_types import Interval

MIN_SECONDS, MAX_SECONDS = 20.0, 600.0


def next_step(levels: Sequence[LevelEstimate], interval: Interval | None, estimate: float | None) -> NextStep | None:
    """Suggest a number of users and how long to hold it; None where the capacity is known to the user."""
    if not levels or interval is None:
        return None
    again = next((level for level in levels if "needs_second_visit" in level.reasons), None)
    if again is not None:
        return NextStep(again.users, _bounded(again.seconds), "second_visit")
    low, high = interval
    usual = float(np.median([level.seconds / level.visits for level in levels]))
    if high is None:
        return _towards_the_top(levels, usual)
    if high <= low:
        return None
    if low < levels[0].users:
        return NextStep(max(1, levels[0].users // 2), _bounded(usual), "below")
    users = round(estimate) if estimate is not None else (low + high + 1) // 2
    return NextStep(int(np.clip(users, low + 1, high)), _bounded(usual), "inside_bracket")


def _towards_the_top(levels: Sequence[LevelEstimate], usual: float) -> NextStep:
    """No level is too much: first prove the highest that seems fine, then go beyond it."""
    top = levels[-1]
    if top.state == "held":
        return NextStep(2 * top.users, _bounded(usual), "above")
    open_ones = [level for level in levels if level.state == "unproven"]
    level = next((one for one in reversed(open_ones) if one.seconds_needed is not None), top)
    return NextStep(level.users, _bounded(level.seconds_needed or usual), "narrow")


def _bounded(seconds: float) -> float:
    return float(np.clip(seconds, MIN_SECONDS, MAX_SECONDS))

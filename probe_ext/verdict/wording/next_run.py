"""What to run next: the command that would settle or narrow the answer."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.settings.options import OPTIONS
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, NextStep
from probe_ext.verdict.values.manifest_view import mapping, number

MAX_LEVELS, FEW_LEVELS = 5, 3
MAX_HOLD_S = 600.0
HOLD_S = 30.0
"""Hold of a run whose manifest does not say."""
_OF_THE_REPORT = {"team_think_time", "price_per_hour"}
_OF_ONE_RUN = {
    *("levels", "search", "max_users", "search_time"),
    *("prompt_seed", "out", "force", "no_report", "fail_under_users", "warm_up"),
    *_OF_THE_REPORT,
}
"""options that say nothing of what is asked"""


@dataclass(frozen=True)
class NextMeasurement:
    """The shortest run that would settle or narrow the answer."""

    levels: tuple[int, ...]
    hold: float
    """seconds for each level"""

    @property
    def minutes(self) -> int:
        """About how long the levels take."""
        return max(1, round(len(self.levels) * self.hold / 60))


def next_measurement(estimate: CapacityEstimate, hold: float) -> NextMeasurement | None:
    """Return what to measure next; None where nothing is left to find out. `hold`: usual seconds for a level.

    A run is judged by itself, so the levels cover what is unknown on both sides of the limit.
    """
    step = estimate.next
    if step is None or not estimate.levels:
        return None
    levels = _levels_to_measure(estimate, step)
    known = [level for level in estimate.levels if level.users in levels and level.seconds_needed is not None]
    needed = [level.seconds + (level.seconds_needed or 0.0) for level in known if level.state == "unproven"]
    return NextMeasurement(levels, float(math.ceil(min(MAX_HOLD_S, max(hold, step.seconds, *needed, 0.0)))))


def _levels_to_measure(estimate: CapacityEstimate, step: NextStep) -> tuple[int, ...]:
    top = estimate.levels[-1].users
    if step.reason == "above":
        return (2 * top, 4 * top)
    if step.reason == "second_visit":
        return (step.users,)
    held, failed = estimate.bracket
    first, last = (held or 0) + 1, 2 * top if failed is None else failed - 1
    if last - first < FEW_LEVELS:
        return tuple(range(first, max(first, last) + 1))
    low, high = estimate.interval or (first, last)
    guess = estimate.suggestion.users if estimate.suggestion else step.users
    wanted = (low, guess, last if high is None else high)
    return tuple(sorted({min(max(users, first), last) for users in wanted}))


def next_command(manifest: Mapping[str, Any], estimate: CapacityEstimate, *, invalid: bool = False) -> str | None:
    """Return the `probe run` that would settle or narrow the answer; None where nothing is left to find out.

    An invalid run is to be repeated as it was.
    """
    measurement = next_measurement(estimate, usual_hold(manifest))
    options = dict(_given(manifest))
    if invalid:
        levels = _thin([level.users for level in estimate.levels])
    elif measurement is not None:
        levels = list(measurement.levels)
        options["hold"] = measurement.hold
    else:
        return None
    if not levels:
        return None
    target = manifest.get("target")
    host = target.get("host") if isinstance(target, Mapping) else None
    parts = ["probe", "run", _scenario(manifest), "--host", str(host or "URL")]
    return shlex.join([*parts, "--levels", ",".join(str(users) for users in levels), *_same_options(options)])


def usual_hold(manifest: Mapping[str, Any]) -> float:
    """Return the seconds for which the run held a level."""
    return number(mapping(manifest.get("plan")), "hold", number(_given(manifest), "hold", HOLD_S))


def _scenario(manifest: Mapping[str, Any]) -> str:
    """A scenario of the package by its name, a user's own by its file."""
    file = str(manifest.get("locustfile") or "")
    return file if "/" in file else str(manifest.get("scenario") or "capacity")


def _given(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the run; of a damaged manifest, none."""
    return mapping(manifest.get("options"))


def _same_options(given: Mapping[str, Any]) -> list[str]:
    """The options by which this run differed from the defaults: another run must not ask another question."""
    differing = []
    for option in OPTIONS:
        value = given.get(option.name)
        value = tuple(value) if isinstance(value, list) else value  # as JSON has it
        usual = option.default if isinstance(option.default, bool) else option.read(option.default)
        if option.name in _OF_ONE_RUN or not _plain(value) or value == usual:
            continue
        differing.append(option.flag if value is True else f"{option.flag}={_text(value)}")
    return differing


def _plain(value: object) -> bool:
    """Of a damaged manifest, only what an option could be."""
    parts = value if isinstance(value, list | tuple) else [value]
    return value is not None and all(isinstance(part, str | int | float) for part in parts)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _thin(users: list[int]) -> list[int]:
    """Return at most MAX_LEVELS of them, from the lowest to the highest."""
    if len(users) <= MAX_LEVELS:
        return users
    return [users[round(i * (len(users) - 1) / (MAX_LEVELS - 1))] for i in range(MAX_LEVELS)]

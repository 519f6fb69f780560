"""What to run next: the command that would settle or narrow the answer."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

from probe_ext.settings.options import OPTIONS
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, NextStep
from probe_ext.verdict.values.manifest_view import mapping, number

MAX_LEVELS = 5
HOLD_S = 30.0
"""Hold of a run whose manifest does not say."""
_OF_THE_REPORT = {"team_think_time", "price_per_hour"}
_OF_ONE_RUN = {
    *("levels", "search", "max_users", "search_time"),
    *("prompt_seed", "out", "force", "no_report", "fail_under_users", "warm_up"),
    *_OF_THE_REPORT,
}
"""options that say nothing of what is asked"""


def next_command(manifest: Mapping[str, Any], estimate: CapacityEstimate, *, invalid: bool = False) -> str | None:
    """Return the shortest `probe run` that would settle or narrow the answer; None where nothing is left to find out.

    An invalid run is to be repeated as it was.
    """
    step = estimate.next
    if not estimate.levels or (step is None and not invalid):
        return None
    users = [level.users for level in estimate.levels] if invalid or step is None else next_levels(estimate, step)
    options = dict(_given(manifest))
    if not invalid and step is not None:
        options["hold"] = float(max(_hold(manifest), math.ceil(step.seconds)))
    target = manifest.get("target")
    host = target.get("host") if isinstance(target, Mapping) else None
    parts = ["probe", "run", _scenario(manifest), "--host", str(host or "URL")]
    listed = ",".join(str(number) for number in _thin(users))
    return shlex.join([*parts, "--levels", listed, *_same_options(options)])


def next_levels(estimate: CapacityEstimate, step: NextStep) -> list[int]:
    """Return the numbers of users that would tell most. A run is judged by itself, so both sides of the limit count."""
    top = estimate.levels[-1].users
    if step.reason == "above":
        return [2 * top, 4 * top]
    if step.reason == "below":
        lowest = estimate.levels[0].users
        return sorted({max(1, lowest // 4), max(1, lowest // 2)})
    if step.reason == "second_visit":
        return [step.users]
    low, high = estimate.interval or (None, None)
    held, failed = estimate.bracket
    around = {step.users, low, high if high is None else high + 1}
    return sorted(users for users in around if users and (held or 0) <= users <= (failed or 2 * top))


def _hold(manifest: Mapping[str, Any]) -> float:
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

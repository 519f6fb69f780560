"""Choose the levels at which servers are compared: around the limits that a short search of each finds.

A level at which both servers serve everyone, or nobody, doesn't show which serves more. Of one server that is to be
switched over, only the limit before is known, so the levels go further up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from probe_ext.run.directory import CAPACITY_JSON
from probe_ext.settings.errors import SettingsError
from probe_ext.verdict.phrasing.plurals import levels as levels_named

SEARCH_OPTIONS = ("--search", "--search-time", "3m", "--precision", "50%")
AROUND_A_LIMIT = (0.75, 0.9, 1.0, 1.1, 1.25)
FAR_APART, AROUND_FAR_LIMITS = 1.5, (0.8, 1.0, 1.2)
"""ratio of two limits from which a few levels around each are enough"""
BEYOND_A_LIMIT = (0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0)
"""of a limit, where the other server's may be anywhere above"""
MIN_STEP = 1.08
"""ratio of neighbouring levels; closer ones take time and tell no more"""
LOAD_OPTIONS = ("--levels", "--rate", "--search", "--users", "-u", "--run-time", "-t")
LOAD_VARIABLES = ("PROBE_LEVELS", "PROBE_RATE", "PROBE_SEARCH", "LOCUST_USERS", "LOCUST_RUN_TIME")


def chooses_load(options: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether the options of `probe run` say how many users there are."""
    given = {option.partition("=")[0] for option in options}
    short = any(option[:2] in LOAD_OPTIONS and not option.startswith("--") for option in options)
    return short or bool(given & set(LOAD_OPTIONS)) or any(environment.get(name) for name in LOAD_VARIABLES)


def refuse_rates(options: Sequence[str], environment: Mapping[str, str]) -> None:
    """SettingsError, before anything is measured, for rates instead of numbers of users."""
    given = next((option for option in options if option.partition("=")[0] == "--rate"), None)
    if given is not None or environment.get("PROBE_RATE"):
        raise SettingsError(f"{given or 'PROBE_RATE'}: runs at given rates can't be compared yet; use --levels")


def find_limit(run: Path) -> int:
    """Return up to how many users the run of a search suggests are served. SettingsError if it suggests none."""
    capacity: dict[str, Any] = json.loads((run / CAPACITY_JSON).read_text(encoding="utf-8"))
    if capacity["suggestion"] is None or capacity["verdict"] == "invalid":
        raise SettingsError(
            f"{run}: the search found no number of users that is served; choose the levels with --levels"
        )
    users: int = capacity["suggestion"]["users"]
    return max(1, users)


def levels_around(limits: Sequence[int]) -> tuple[int, ...]:
    """Return levels around these limits, in rising order; of a single one, up to twice as many users."""
    far = max(limits) >= FAR_APART * min(limits)
    factors = BEYOND_A_LIMIT if len(limits) == 1 else AROUND_FAR_LIMITS if far else AROUND_A_LIMIT
    wanted = sorted({max(1, round(factor * limit)) for limit in limits for factor in factors})
    levels: list[int] = []
    for users in wanted:
        if not levels or users >= MIN_STEP * levels[-1]:
            levels.append(users)
    return tuple(levels)


def search_levels(
    hosts: Sequence[str], out: Path, measure: Callable[[str, Path], None], tell: Callable[[str], None]
) -> tuple[int, ...]:
    """Search the limit of each server and return the levels to compare them at. SettingsError if there is none.

    `measure`: searches one server and writes the run.
    """
    limits = []
    for name, host in zip("ab", hosts, strict=False):
        run = out / f"{name}-search"
        tell(f"no levels given: searching the limit of {name.upper()}, {host}: {run}")
        measure(host, run)
        limits.append(find_limit(run))
    levels = levels_around(limits)
    tell(f"limits of about {levels_named(limits)}: comparing at {', '.join(map(str, levels))} users")
    return levels

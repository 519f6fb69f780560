"""What to run next: the command that would prove what a ramp suggests, or narrow what lies between two levels."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.settings.options import OPTIONS
from probe_ext.verdict.values.judgement import Ramp
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.manifest_view import mapping, number

MOST_LEVELS = 5
TIMES = 2
"""as long as before is a level held that stayed undecided"""
HOLD = 30.0
"""seconds, of a run that does not say"""
_OF_THE_REPORT = {"team_think_time", "price_per_hour"}
_OF_ONE_RUN = {
    *("levels", "search", "max_users", "search_time"),
    *("prompt_seed", "out", "force", "no_report", "fail_under_users", "warm_up"),
    *_OF_THE_REPORT,
}
"""options that say nothing of what is asked"""

Bracket = tuple[int | None, int | None]


def next_command(
    manifest: Mapping[str, Any], between: Bracket, ramp: Ramp | None, levels: Sequence[LevelResult]
) -> str | None:
    """A `probe run` with levels around the boundary; None where there is nothing left to find out."""
    wanted = next_levels(between if between != (None, None) or ramp is None else ramp.bracket, levels)
    if not wanted:
        return None
    target = manifest.get("target")
    host = target.get("host") if isinstance(target, Mapping) else None
    parts = ["probe", "run", _scenario(manifest), "--host", str(host or "URL")]
    options = {**_given(manifest), **_longer(manifest, [level for level in levels if _open(level, between)])}
    return shlex.join([*parts, "--levels", ",".join(str(n) for n in wanted), *_same_options(options)])


def _open(level: LevelResult, between: Bracket) -> bool:
    """Whether it was measured where the answer lies, and not decided. Of no bracket, nothing is known to be short."""
    held, failed = between
    inside = (held or 0) < level.users and (failed is None or level.users < failed)
    return between != (None, None) and inside and level.state == "unproven" and not level.band


def _longer(manifest: Mapping[str, Any], undecided: Sequence[LevelResult]) -> dict[str, float]:
    """What the same hold did not decide, it would not decide again: twice as long, or what its replies need."""
    if not undecided:
        return {}
    held = number(mapping(manifest.get("plan")), "hold", number(_given(manifest), "hold", HOLD))
    return {"hold": float(max(TIMES * held, *(math.ceil(_wanted_seconds(level)) for level in undecided)))}


def _wanted_seconds(level: LevelResult) -> float:
    """How long a level would take at its own pace to have the replies that would settle it."""
    wanted = level.replies + (level.replies_needed or 0)
    return (level.t_end - level.t_start) * wanted / level.replies if level.replies else 0.0


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


def next_levels(between: Bracket, levels: Sequence[LevelResult]) -> list[int]:
    """Numbers of users to measure; empty where the boundary lies between neighbours."""
    held, failed = between
    if held is None and failed is None:
        return _spread(sorted({level.users for level in levels if level.users > 0}))
    if failed is None:
        return [held, 2 * held, 4 * held] if held else []
    low = held if held is not None else max(1, failed // 4)
    if held is not None and failed - held <= 1:
        return []
    count = min(MOST_LEVELS, failed - low + 1)
    return sorted({round(low + (failed - low) * i / max(count - 1, 1)) for i in range(count)})


def _spread(users: list[int]) -> list[int]:
    """All, or so many of them from the lowest to the highest."""
    if len(users) <= MOST_LEVELS:
        return users
    return [users[round(i * (len(users) - 1) / (MOST_LEVELS - 1))] for i in range(MOST_LEVELS)]

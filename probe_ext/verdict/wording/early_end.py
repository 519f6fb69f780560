"""What a run that ended early did not measure, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import mappings, number, planned_levels, search_of
from probe_ext.verdict.levels.find_levels import find_stretches
from probe_ext.verdict.phrasing.plurals import minutes
from probe_ext.verdict.values.level_result import LevelResult

ALL_WITH_OTHERS = "others used the server in every level"
NO_ANSWER = "no_answer"
"""end_reason of a run that ended after its warm-up, since the server answered no request"""
NEVER_STILL = "the number of users was never constant long enough to measure anything"
RUN_AGAIN = "Run again to measure the rest."
_DONE = frozenset({"levels_done", "search_done", "scenario_done"})
_HOW = {"interrupted": "was interrupted", "terminated": "was terminated"}


def is_interrupted(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a run was ended from outside before its planned end, as by Ctrl-C."""
    reason = manifest.get("end_reason")
    return bool(manifest.get("ended_at")) and isinstance(reason, str) and reason in _HOW


def minutes_left(search: Mapping[str, Any]) -> str:
    """Return `7 more minutes`: what a search still needed when it ended; empty where that is not known, or too long."""
    seconds, longest = number(search, "seconds_left", 0.0), number(search, "longest", math.inf)
    return minutes(seconds, "more minute") if 0 < seconds <= longest else ""


def seconds_of_search(search: Mapping[str, Any]) -> float | None:
    """Return about how long a search takes from its beginning, by its last forecast; None without one."""
    if not minutes_left(search):
        return None
    steps = mappings(search.get("steps"))
    passed = [number(step, name, 0.0) for step in steps for name in ("from", "until")]
    return max(passed, default=0.0) + number(search, "seconds_left", 0.0)


def repeat_search(search: Mapping[str, Any]) -> str:
    """Say how long a search takes that is made again, and that it may be stopped at any time."""
    seconds, longest = seconds_of_search(search), number(search, "longest", 0.0)
    if seconds is not None:
        how_long = f"takes about {minutes(seconds)}"
    else:
        most = f", at most {minutes(longest)} (--search-time)" if longest > 0 else ""
        how_long = f"takes a time that is not known yet{most}"
    return (
        "What was found so far stays in this report. A search cannot be continued: a new one starts from the "
        f"beginning and {how_long}. It may be stopped again at any time."
    )


def why_nothing(manifest: Mapping[str, Any]) -> str:
    """Say why there is no level: the early end of a planned run, or a number of users that was never constant."""
    reason = manifest.get("end_reason")
    if not isinstance(manifest.get("plan"), Mapping):
        return NEVER_STILL
    if not isinstance(reason, str):
        return "no level has been held long enough yet to measure anything"
    if reason in _DONE:
        return NEVER_STILL
    return f"the run {_HOW.get(reason, 'ended')} before its first level was long enough to measure anything"


def planned(manifest: Mapping[str, Any]) -> Sequence[int] | None:
    """Return the planned levels; None where the load was set by hand."""
    plan = manifest.get("plan")
    listed = isinstance(plan, Mapping) and isinstance(plan.get("levels"), list | tuple)
    return planned_levels(plan) if listed else None


def unmeasured(manifest: Mapping[str, Any], levels: Sequence[LevelResult]) -> Sequence[int]:
    """Return the planned levels without a measured part."""
    measured = {level.users for level in levels}
    return [n for n in planned(manifest) or () if n not in measured]


def something_left(evidence: Evidence, levels: Sequence[LevelResult]) -> bool:
    """Tell whether more levels would have followed; a search plans each level from the last."""
    left = set(unmeasured(evidence.manifest, levels)) - {_ended_at(evidence)}
    return bool(search_of(evidence.manifest) or left)


def _ended_at(evidence: Evidence) -> int | None:
    """Return the last planned load reached before the run began to stop."""
    asked = planned(evidence.manifest) or ()
    stretches = find_stretches(evidence.users, None)
    return next((stretch.users for stretch in reversed(stretches) if stretch.users in asked), None)

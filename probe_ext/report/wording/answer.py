"""The answer around its sentence: what is proven, the interval, and what makes the answer doubtful.

Page, terminal and summary take it from here, so that they cannot differ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.report.wording.level_names import Level, by_number
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.wording.headline import interval_text
from probe_ext.verdict.wording.unproven_level import reason_in_words

Capacity = Mapping[str, Any]

_PURPOSES = {
    "second_visit": "To rule out a disturbance",
    "inside_bracket": "To narrow the answer",
    "below": "To find a number of users that holds",
    "above": "To find the limit",
    "narrow": "To prove more",
}


def shown_interval(capacity: Capacity) -> tuple[int, int | None] | None:
    """Return the interval, if it bounds a valid answer."""
    low, high = capacity["interval"] or (0, None)
    served = capacity["served_users"]
    if capacity["verdict"] == "invalid" or (not low and high is None):
        return None
    return (low if served is None else min(low, served), high)


def interval(capacity: Capacity) -> str:
    """Return `95 % interval: 43 to 46`; empty without one."""
    found = shown_interval(capacity)
    return f"95 % interval: {interval_text(found)}" if found else ""


def mark(capacity: Capacity) -> tuple[int, str] | None:
    """Return the number of users that the picture marks, with its label; None where there is none."""
    if capacity["verdict"] == "invalid":
        return None
    served, suggestion, found = capacity["served_users"], capacity["suggestion"], shown_interval(capacity)
    span = f" (95 %: {interval_text(found)})" if found else ""
    if served:
        word = "proven" if served == capacity["bracket"][0] else "about"
        return served, f"{word} {formats.count(served)}{span}"
    if served is None and suggestion and suggestion["users"]:
        return suggestion["users"], f"probably {formats.count(suggestion['users'])}{span}, not proven"
    return None


def proven(capacity: Capacity) -> str:
    """Return `Proven: 8 holds, 16 fails. Not proven: 12 (too close to call).`; empty without levels."""
    if not capacity["levels"]:
        return ""
    held, failed = capacity["bracket"]
    ends = ((held, "holds"), (failed, "fails"))
    known = [f"{formats.count(users)} {what}" for users, what in ends if users is not None]
    open_ones = [
        f"{formats.count(visits[0]['users'])} ({reason_in_words(visits[0]['reasons'])})"
        for visits in by_number(capacity["levels"])
        if visits[0]["state"] == "unproven"
    ]  # fmt: skip
    parts = [f"Proven: {', '.join(known) or 'nothing'}."]
    return " ".join([*parts, f"Not proven: {listed(open_ones)}."] if open_ones else parts)


def purpose(capacity: Capacity) -> str:
    """Say what the next command is for."""
    if capacity["verdict"] == "invalid":
        return "To repeat it"
    return _PURPOSES[capacity["next_step"]["reason"]] if capacity["next_step"] else "To measure again"


def doubts(capacity: Capacity) -> list[tuple[str, str]]:
    """Return what makes the answer doubtful: users who differ, drift, contradictions. Title and meaning of each."""
    return [*_differences(capacity), *_drift(capacity), *_contradictions(capacity)]


def _differences(capacity: Capacity) -> list[tuple[str, str]]:
    levels = [visits[0] for visits in by_number(capacity["levels"]) if visits[0]["worse_group"]]
    groups = capacity["groups"]
    if not levels and groups is None:
        return []
    title = "Users are not served alike."
    said = [worse_group(levels[-1])] if levels else []
    if groups is not None:
        said += _group_capacities(groups)
    return [(title, " ".join([*said, "A slow replica behind a sticky load balancer looks like this."]))]


def worse_group(level: Level) -> str:
    """Return `At 8 users, 61 % of the replies of 2 users were served, 97 % of the others'.`; empty of users alike."""
    group = level["worse_group"]
    if group is None:
        return ""
    share, others = formats.percent(group["share"]), formats.percent(group["others_share"])
    of = f"of the replies of {things(group['users'], 'user')} were served"
    return f"At {things(level['users'], 'user')}, {share} {of}, {others} of the others'."


def _group_capacities(groups: Mapping[str, Any]) -> list[str]:
    """Return each group's own capacity, in users of both groups."""
    names = (("worse", f"the {things(groups['worse_users'], 'user')} of the worse group"), ("others", "the others"))
    spans = [(groups[f"{key}_interval"], name) for key, name in names]
    known = [f"{interval_text(tuple(span))} for {name}" for span, name in spans if span and span != [0, None]]
    return [f"By their own replies, the capacity (95 %) is {listed(known)}."] if known else []


def _drift(capacity: Capacity) -> list[tuple[str, str]]:
    if not capacity["drift"]:
        return []
    title = f"The server changed during the run: visits to {_numbers(capacity['drift'])} differ by more than chance."
    return [(title, "The answer mixes both conditions. Find out what changed, then repeat the run.")]


def _contradictions(capacity: Capacity) -> list[tuple[str, str]]:
    if not capacity["contradictions"]:
        return []
    numbers = _numbers(capacity["contradictions"])
    title = f"Service at {numbers} was worse than with more users."
    return [(title, "Load does not explain that, so these replies prove nothing. Look for another cause, then repeat.")]


def _numbers(users: Sequence[int]) -> str:
    return things(users[0], "user") if len(users) == 1 else f"{listed([formats.count(n) for n in users])} users"

"""Levels in order of rising users, each with a name; repeated visits of one number of users are numbered.

`12 (2nd)` names one visit, `12` or `12 (5 visits)` all of them together.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things, unit

Level = Mapping[str, Any]

VISIT = "visit"
"""Key, not in `capacity.json`: counts how often the run had reached this number of users."""
VISITS = "visits"
"""Key, not in `capacity.json`: how often the run reached this number of users in all."""
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
"""of ordinals, by their last digit"""
_SUMMED_COUNTS = (
    *("replies_judged", "replies_open", "replies_served", "replies_strained", "replies_broken"),
    *("delayed", "unsent"),
)
"""Counts of one visit each; results and shares are of all visits together already."""


def in_time(levels: Sequence[Level]) -> list[Level]:
    """Return levels in order of time, with their VISIT and VISITS."""
    all_visits = Counter(_users(level) for level in levels)
    visits: Counter[tuple[int, int]] = Counter()
    numbered: list[Level] = []
    for level in levels:
        users = _users(level)
        visits[users] += 1
        numbered.append({VISIT: visits[users], VISITS: all_visits[users], **level})
    return numbered


def _users(level: Level) -> tuple[int, int]:
    return level["users_low"], level["users_high"]


def by_users(levels: Sequence[Level]) -> list[Level]:
    """Return levels by rising users, and those of the same users in order of time."""
    return sorted(in_time(levels), key=lambda level: (level["users"], level[VISIT]))


def by_number(levels: Sequence[Level]) -> list[list[Level]]:
    """Return the visits to each number of users, by rising users."""
    groups = itertools.groupby(by_users(levels), key=lambda level: level["users"])
    return [list(visits) for _, visits in groups]


def merged_visits(visits: Sequence[Level]) -> Level:
    """Return what all visits to one number of users say together, without the figures of a single visit."""
    first = visits[0]
    added = {key: sum(visit[key] for visit in visits) for key in _SUMMED_COUNTS if first.get(key) is not None}
    if first.get("sent_rate") is not None:
        seconds = [visit["t_end"] - visit["t_start"] for visit in visits]
        sent = sum(visit["sent_rate"] * length for visit, length in zip(visits, seconds, strict=True))
        added["sent_rate"] = sent / sum(seconds)
    return {**first, VISIT: None, VISITS: len(visits), **added}


def without_visit(level: Level) -> Level:
    """Return a level that is named by its number of users alone."""
    return {**level, VISIT: None, VISITS: 1}


def label(level: Level) -> str:
    """Return `8`, `6–8` for a band of a ramp; `8 (2nd)` for one of several visits, `8 (3 visits)` for all of them."""
    return f"{_number(level)}{_which(level)}"


def _number(level: Level) -> str:
    low, high = _users(level)
    return f"{formats.count(low)}–{formats.count(high)}" if low != high else formats.count(level["users"])


def _which(level: Level, noun: str = "") -> str:
    """Return ` (2nd)` or ` (3 visits)`; empty where there is only one visit. `noun` follows an ordinal."""
    visit, visits = level.get(VISIT), level.get(VISITS, 1)
    if visits == 1:
        return ""
    return f" ({visits} visits)" if visit is None else f" ({_ordinal(visit)}{noun})"


def _ordinal(number: int) -> str:
    """Return `1st`, `12th`, `22nd`: an hour of search visits a level more than twenty times."""
    return f"{number}{'th' if number % 100 in (11, 12, 13) else _SUFFIXES.get(number % 10, 'th')}"


def users_label(level: Level) -> str:
    """Return `1 user`, `8 users`, `6–8 users`, `8 users (2nd visit)`, `8 users (3 visits)`."""
    low, high = _users(level)
    name = things(level["users"], "user") if low == high else f"{_number(level)} {unit(level['users'])}"
    return f"{name}{_which(level, ' visit')}"


def order_note(levels: Sequence[Level]) -> str:
    """State the order of time where it is not that of rising users; otherwise empty."""
    names = [label(level) for level in in_time(levels)]
    if names == [label(level) for level in by_users(levels)]:
        return ""
    return f"In order of time: {', '.join(names)} {unit(levels[0]['users'])}."

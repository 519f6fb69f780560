"""Levels as a reader meets them: by rising users, each with a name, and one that was held twice told apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.verdict.values import formats

Level = Mapping[str, Any]

VISIT = "visit"
"""the how-manieth time it is that the run came to so many users; not in `capacity.json`, whose order says it"""
_TIMES = {2: "2nd", 3: "3rd"}


def in_time(levels: Sequence[Level]) -> list[Level]:
    """Levels in order of time, each told which visit it is."""
    seen: Counter[tuple[int, int]] = Counter()
    told: list[Level] = []
    for level in levels:
        users = (level["users_low"], level["users_high"])
        seen[users] += 1
        told.append({VISIT: seen[users], **level})
    return told


def by_users(levels: Sequence[Level]) -> list[Level]:
    """By rising users, and of the same users in order of time: a search goes to and fro."""
    return sorted(in_time(levels), key=lambda level: level["users"])


def label(level: Level) -> str:
    """`8`, `6–8` for a band of a hand-driven climb, `8 (2nd)` for 8 users once more."""
    low, high = level["users_low"], level["users_high"]
    users = f"{formats.count(low)}–{formats.count(high)}" if low != high else formats.count(level["users"])
    again = level.get(VISIT, 1)
    return users if again == 1 else f"{users} ({_TIMES.get(again, f'{again}th')})"


def order(levels: Sequence[Level]) -> str:
    """In which order they were held, where that is not by rising users; else empty."""
    held = in_time(levels)
    if [label(level) for level in held] == [label(level) for level in by_users(levels)]:
        return ""
    return f"In order of time: {', '.join(label(level) for level in held)} users."

"""Levels in order of rising users, each with a name; repeated visits of one number of users are numbered."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import unit

Level = Mapping[str, Any]

VISIT = "visit"
"""Key, not in `capacity.json`: counts how often the run had reached this number of users."""
VISITS = "visits"
"""Likewise: how often it did in all."""
_ORDINALS = {2: "2nd", 3: "3rd"}


def in_time(levels: Sequence[Level]) -> list[Level]:
    """Return levels in order of time, with their VISIT and VISITS."""
    visits: Counter[tuple[int, int]] = Counter()
    in_all = Counter((level["users_low"], level["users_high"]) for level in levels)
    numbered: list[Level] = []
    for level in levels:
        users = (level["users_low"], level["users_high"])
        visits[users] += 1
        numbered.append({VISIT: visits[users], VISITS: in_all[users], **level})
    return numbered


def by_users(levels: Sequence[Level]) -> list[Level]:
    """Return levels by rising users, and those of the same users in order of time."""
    return sorted(in_time(levels), key=lambda level: (level["users"], level[VISIT]))


def by_number(levels: Sequence[Level]) -> list[list[Level]]:
    """Return the visits to each number of users, by rising users."""
    groups = itertools.groupby(by_users(levels), key=lambda level: level["users"])
    return [list(visits) for _, visits in groups]


def label(level: Level) -> str:
    """Return `8`, `6–8` for a band of a ramp, `8 (2nd)` for a repeated level."""
    low, high = level["users_low"], level["users_high"]
    users = f"{formats.count(low)}–{formats.count(high)}" if low != high else formats.count(level["users"])
    visit = level.get(VISIT, 1)
    return users if visit == 1 else f"{users} ({_ORDINALS.get(visit, f'{visit}th')})"


def users_label(level: Level) -> str:
    """Return `1 user`, `8 users`, `6–8 users`, `8 users (2nd visit)`."""
    name, _, visit = label(level).partition(" (")
    of = f" ({visit.removesuffix(')')} visit)" if visit else ""
    one = name == "1" and not isinstance(level["users"], Rate)
    return f"{name} {'user' if one else unit(level['users'])}{of}"


def order_note(levels: Sequence[Level]) -> str:
    """State the order of time where it is not that of rising users; otherwise empty."""
    names = [label(level) for level in in_time(levels)]
    if names == [label(level) for level in by_users(levels)]:
        return ""
    return f"In order of time: {', '.join(names)} {unit(levels[0]['users'])}."

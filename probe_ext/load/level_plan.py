"""A run's levels, and the stepping through them as pure functions of the caller's time."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

MAX_USERS = 1_000_000
MAX_HOLD_FACTOR = 5
"""a level is left after this many times its hold, even if replies are missing"""
MIN_LEVEL_S = 5.0
"""shortest measured part of a level"""
_INTEGER = re.compile(r"[0-9]{1,9}")


def min_level_seconds(hold: float) -> float:
    """Return how long a level must be measured to count as one: MIN_LEVEL_S, or half of a shorter hold."""
    return min(MIN_LEVEL_S, hold / 2)


@dataclass(frozen=True)
class LevelPlan:
    """User counts to hold, one after another."""

    levels: tuple[int, ...]
    hold: float
    """minimum measuring time per level, seconds"""
    settle: float
    """seconds excluded after the number of users stops changing"""
    min_replies: int
    """completed replies per user, counting those sent in the measured part"""

    @property
    def min_duration(self) -> float:
        """Minimum duration in seconds; ramps and slow replies add to it."""
        return len(self.levels) * (self.settle + self.hold)

    def begin(self) -> "LevelSteps":
        """Start a run of this plan."""
        return LevelSteps(self)


def parse_levels(text: str) -> tuple[int, ...]:
    """Read user counts such as `1,2,4,8`. ValueError names the invalid part."""
    parts = [part.strip() for part in text.split(",")]
    levels = []
    for part in parts:
        if not _INTEGER.fullmatch(part) or not 1 <= int(part) <= MAX_USERS:
            raise ValueError(f"{part[:40]!r} is not a number of users (1 to {MAX_USERS})")
        levels.append(int(part))
    repeated = next((a for a, b in pairwise(levels) if a == b), None)
    if repeated is not None:
        raise ValueError(f"{repeated} is repeated: consecutive levels must differ")
    return tuple(levels)


class LevelSteps:
    """Progress of a run through its plan. Call `target` about once a second."""

    def __init__(self, plan: LevelPlan) -> None:
        self.plan = plan
        self.index = 0
        self.never_reached: list[int] = []
        """levels that were left before all their users were running"""
        self._done = False
        self._entered: float | None = None
        self._reached: float | None = None

    @property
    def level(self) -> int:
        """Number of users of the current level."""
        return self.plan.levels[self.index]

    @property
    def position(self) -> str:
        """Progress for people, such as `level 2 of 4`."""
        return f"level {self.index + 1} of {len(self.plan.levels)}"

    def as_json(self) -> dict[str, Any]:
        """Return the manifest's `plan`."""
        return {**asdict(self.plan), "levels": list(self.plan.levels), "search": None}

    def measured_from(self) -> float | None:
        """Return when the current level's measured part begins, None before all users are running."""
        return None if self._reached is None else self._reached + self.plan.settle

    def target(self, now: float, users: int, users_with_enough_replies: Callable[[float], int]) -> int | None:
        """Return how many users should be running now, None after the last level.

        `users_with_enough_replies(since)` counts the users with min_replies completed replies sent since that time.
        """
        if self._done:
            return None
        if self._entered is None:
            self._entered = now
        if users == self.level and self._reached is None:
            self._reached = now
        if not self._level_done(now, users_with_enough_replies):
            return self.level
        if self._reached is None:
            self.never_reached.append(self.level)
        if self.index + 1 == len(self.plan.levels):
            self._done = True
            return None
        self.index += 1
        self._entered, self._reached = now, None
        return self.level

    def _level_done(self, now: float, users_with_enough_replies: Callable[[float], int]) -> bool:
        limit = MAX_HOLD_FACTOR * self.plan.hold
        start = self.measured_from()
        if start is None:
            return self._entered is not None and now - self._entered >= limit + self.plan.settle
        if now - start < self.plan.hold:
            return False
        return now - start >= limit or users_with_enough_replies(start) >= self.level

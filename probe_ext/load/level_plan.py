"""A run's levels and the pure stepping through them; the clock is the caller's."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

MAX_USERS = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,9}")
PATIENCE = 5
"""a level is left after so many times its hold, heard or not"""


@dataclass(frozen=True)
class LevelPlan:
    """Hold these numbers of users, one after another."""

    levels: tuple[int, ...]
    hold: float
    """seconds that a level is measured at least"""
    settle: float
    """seconds left out after the number of users has stopped changing"""
    min_replies: int
    """replies that every user must have finished, of those sent in the measured part"""

    @property
    def shortest(self) -> float:
        """Seconds that the plan takes at least; users who come one by one and slow replies add to it."""
        return len(self.levels) * (self.settle + self.hold)

    def begin(self) -> "LevelSteps":
        """A run starts."""
        return LevelSteps(self)


def parse_levels(text: str) -> tuple[int, ...]:
    """`1,2,4,8` as numbers of users. ValueError says which part is wrong."""
    parts = [part.strip() for part in text.split(",")]
    levels = []
    for part in parts:
        if not _NUMBER.fullmatch(part) or not 1 <= int(part) <= MAX_USERS:
            raise ValueError(f"{part[:40]!r} is no number of users (1 to {MAX_USERS})")
        levels.append(int(part))
    doubled = next((a for a, b in pairwise(levels) if a == b), None)
    if doubled is not None:
        raise ValueError(f"{doubled} follows itself: two neighbouring levels must differ")
    return tuple(levels)


class LevelSteps:
    """Where in its plan a run is. Ask for `target` about once a second."""

    def __init__(self, plan: LevelPlan) -> None:
        self.plan = plan
        self.index = 0
        self.never_reached: list[int] = []
        """levels that were left without the number of users having been reached"""
        self._over = False
        self._entered: float | None = None
        self._reached: float | None = None

    @property
    def level(self) -> int:
        """The number of users of the present level."""
        return self.plan.levels[self.index]

    @property
    def position(self) -> str:
        """Where it is, in a few words."""
        return f"level {self.index + 1} of {len(self.plan.levels)}"

    def told(self) -> dict[str, Any]:
        """The manifest's `plan`."""
        return {**asdict(self.plan), "levels": list(self.plan.levels), "search": None}

    def measured_from(self) -> float | None:
        """When the present level's measured part began or begins; None before the users are there."""
        return None if self._reached is None else self._reached + self.plan.settle

    def target(self, now: float, users: int, heard: Callable[[float], int]) -> int | None:
        """How many users there should be now; None when the last level is done.

        `heard(since)` says how many users have min_replies finished replies that were sent since that moment.
        """
        if self._over:
            return None
        if self._entered is None:
            self._entered = now
        if users == self.level and self._reached is None:
            self._reached = now
        if not self._done(now, heard):
            return self.level
        if self._reached is None:
            self.never_reached.append(self.level)
        if self.index + 1 == len(self.plan.levels):
            self._over = True
            return None
        self.index += 1
        self._entered, self._reached = now, None
        return self.level

    def _done(self, now: float, heard: Callable[[float], int]) -> bool:
        limit = PATIENCE * self.plan.hold
        start = self.measured_from()
        if start is None:
            return self._entered is not None and now - self._entered >= limit + self.plan.settle
        if now - start < self.plan.hold:
            return False
        return now - start >= limit or heard(start) >= self.level

"""A run's levels, and the stepping through them as pure functions of the caller's time.

A level is a number of users, or the rate of an open stream of requests.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from probe_ext.load.monitor import Monitor
from probe_ext.measure.rate import Rate, as_json

MAX_USERS = 1_000_000
MAX_HOLD_FACTOR = 5
"""a level is left after this many times its hold, even if replies are missing"""
MIN_LEVEL_S = 5.0
"""shortest measured part of a level"""
MAX_EXTENSION = 3.0
"""of the hold, for which a level is held on for the replies that would probably prove it"""
EXTENSION_MARGIN, MIN_EXTENSION_S = 1.2, 5.0
"""more than those replies need, since the last ones sent do not count"""
_INTEGER = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?|\.[0-9]{1,3}")
MAX_RATE = 100_000.0
"""requests per second"""


def min_level_seconds(hold: float) -> float:
    """Return how long a level must be measured to count as one: MIN_LEVEL_S, or half of a shorter hold."""
    return min(MIN_LEVEL_S, hold / 2)


@dataclass(frozen=True)
class LevelPlan:
    """User counts, or rates, to hold one after another."""

    levels: tuple[int, ...]
    """either all of them rates, or none"""
    hold: float
    """minimum measuring time per level, seconds"""
    settle: float
    """seconds excluded after the number of users stops changing"""
    min_replies: int
    """completed replies per user, counting those sent in the measured part; of no meaning for rates"""

    @property
    def by_rate(self) -> bool:
        """Whether the levels are rates."""
        return isinstance(self.levels[0], Rate)

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
    _refuse_repetition(levels)
    return tuple(levels)


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Read rates such as `0.5,2,4`, in requests per second. ValueError names the invalid part."""
    rates = tuple(parse_rate(part) for part in text.split(","))
    _refuse_repetition(rates)
    return rates


def parse_rate(text: str) -> Rate:
    """Read requests per second. ValueError names what is invalid."""
    part = text.strip()
    if not _DECIMAL.fullmatch(part) or not 0 < float(part) <= MAX_RATE:
        what = f"is not a rate (0.001 to {MAX_RATE:,.0f} requests/s, at most three decimals)"
        raise ValueError(f"{part[:40]!r} {what}")
    return Rate.of(float(part))


def _refuse_repetition(levels: Sequence[int]) -> None:
    repeated = next((a for a, b in pairwise(levels) if a == b), None)
    if repeated is not None:
        raise ValueError(f"{repeated} is repeated: consecutive levels must differ")


class LevelSteps:
    """Progress of a run through its plan. Call `target` about once a second.

    A level that a few more replies would probably prove is held on for them. After the last level two kinds are visited
    again: one that a single bad stretch made fall short, and the highest one that held, so that a server that changes
    during the run is told from one that has too many users.
    """

    def __init__(self, plan: LevelPlan) -> None:
        self.plan = plan
        self.index = 0
        self.levels = list(plan.levels)
        """user counts in order, those visited again at the end"""
        self.never_reached: list[int] = []
        """levels that were left before all their users were running"""
        self._disturbed: list[int] = []
        """levels that are visited again for a single bad stretch"""
        self._done = False
        self._entered: float | None = None
        self._reached: float | None = None
        self._visiting = False
        self._hold = plan.hold
        self._asked = False
        """whether the estimate was asked how long this level is worth holding on"""

    @property
    def level(self) -> int:
        """Number of users, or rate, of the current level."""
        return self.levels[self.index]

    @property
    def position(self) -> str:
        """Progress for people, such as `level 2 of 4`."""
        planned = len(self.plan.levels)
        return (
            f"level {self.index + 1} of {planned}"
            if self.index < planned
            else f"second visit to {self.level}{' requests/s' if self.plan.by_rate else ''}"
        )

    @property
    def why_again(self) -> str:
        """Why the level is visited a second time; empty on the first visit."""
        if self.index < len(self.plan.levels):
            return ""
        return "after one bad stretch" if self.level in self._disturbed else "to see if the server has changed"

    def as_json(self) -> dict[str, Any]:
        """Return the manifest's `plan`."""
        levels, again = as_json(self.plan.levels), as_json(self.levels[len(self.plan.levels) :])
        by_rate = {"levels": [], "rates": levels} if self.plan.by_rate else {"levels": levels, "rates": None}
        return {**asdict(self.plan), **by_rate, "visited_again": again, "search": None}

    def measured_from(self) -> float | None:
        """Return when the current level's measured part begins, None before all users are running.

        Coming down takes twice as long to settle: the queue of the higher level has to go first.
        """
        if self._reached is None:
            return None
        return self._reached + self.plan.settle * (2 if self._came_down else 1)

    @property
    def _came_down(self) -> bool:
        return self.index > 0 and self.levels[self.index - 1] > self.level

    def _is_backed_up(self, now: float, monitor: Monitor) -> bool:
        """Tell whether a higher rate has left a queue, which goes slowly while requests go on arriving."""
        waited = now - (now if self._entered is None else self._entered)
        patient = self.plan.by_rate and self._came_down and waited < MAX_HOLD_FACTOR * self.plan.hold
        return patient and monitor.is_backed_up(self.level)

    def target(self, now: float, users: int, monitor: Monitor) -> int | None:
        """Return how many users should be running now, or at which rate requests arrive; None after the last level.

        `users`: how many are running, or the rate that is in force.
        """
        if self._done:
            return None
        if self._entered is None:
            self._entered = now
        if users == self.level and self._reached is None and not self._is_backed_up(now, monitor):
            self._reached = now
        start = self.measured_from()
        if start is not None and now >= start and not self._visiting:
            self._visiting = True
            monitor.begin_visit(start, self.level)
        if self._level_done(now, monitor):
            self._leave(now, monitor)
        return None if self._done else self.level

    def _leave(self, now: float, monitor: Monitor) -> None:
        if self._reached is None:
            self.never_reached.append(self.level)
        if self.index + 1 == len(self.plan.levels):
            self.levels += self._worth_a_second_visit(now, monitor)
        last = self.index + 1 == len(self.levels)
        if self._visiting:
            monitor.end_visit(now, more_users=not last and self.levels[self.index + 1] > self.level)
        if last:
            self._done = True
            return
        self.index += 1
        self._entered, self._reached, self._visiting = now, None, False
        self._hold, self._asked = self.plan.hold, False

    def _level_done(self, now: float, monitor: Monitor) -> bool:
        limit = MAX_HOLD_FACTOR * self.plan.hold
        start = self.measured_from()
        if start is None:
            return self._entered is not None and now - self._entered >= limit + self.plan.settle
        if now - start < self._hold:
            return False
        if now - start >= limit:
            return True
        if not self.plan.by_rate and monitor.users_with_enough_replies(start) < self.level:
            return False
        if not self._asked:  # once: a level that is looked at until it is proven would be proven too often
            self._asked = True
            self._hold = now - start + self._extension(now, monitor)
        return now - start >= self._hold

    def _extension(self, now: float, monitor: Monitor) -> float:
        """Return the seconds that would probably prove the level; 0 if it is proven, or if they are too many."""
        level = monitor.estimate(now).level(self.level)
        if level is None or level.state != "unproven" or level.seconds_needed is None:
            return 0.0
        needed = EXTENSION_MARGIN * level.seconds_needed + MIN_EXTENSION_S
        return needed if needed <= MAX_EXTENSION * self.plan.hold else 0.0

    def _worth_a_second_visit(self, now: float, monitor: Monitor) -> list[int]:
        if len(set(self.plan.levels)) == 1:
            return []
        known = monitor.estimate(now)
        found = [(users, known.level(users)) for users in sorted(set(self.plan.levels))]
        levels = [(users, level) for users, level in found if level is not None]
        disturbed = [users for users, level in levels if "needs_second_visit" in level.reasons]
        held = [users for users, level in levels if level.state == "held"]
        # Another level has to come before the last one is visited again, or it would only be held for longer.
        self._disturbed = disturbed[:1]
        chosen = sorted(dict.fromkeys([*self._disturbed, *held[-1:]]), key=lambda users: users == self.level)
        return chosen if chosen and chosen[0] != self.level else []

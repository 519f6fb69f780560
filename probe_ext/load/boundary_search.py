"""The search for capacity: double the users until the served share drops, then visit levels on both sides of it.

Pure stepping: the clock, the users and the estimate are the caller's. The estimate is the one that the report makes, so
search and report can't disagree; its critical value allows for the looks that a search takes. Both sides of the
boundary are visited in turns, so that a slow drift of the server affects them alike; the side whose end of the interval
is further away gets more time. The search is over as soon as the interval is as narrow as asked.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from probe_ext.load.level_plan import MAX_HOLD_FACTOR
from probe_ext.load.monitor import EstimateView, Interval, Monitor, State

SEARCH_CRITICAL = 2.24
"""standard errors for every proof in a search, where dispersion is known, scaled as Student's t; found by simulation"""
MIN_TARGET_USERS = 2
"""users: no interval has to be narrower"""
REPLIED_SHARE = 0.95
"""of the users must have had a reply after others left: the queue is then gone"""
GLANCE_HOLDS, GLANCE_CYCLES = 1 / 3, 2.5
"""shortest visit while doubling: parts of `hold`, reply cycles"""
VISIT_HOLDS, VISIT_CYCLES = 2 / 3, 3.0
"""shortest visit around the boundary"""
VISIT_GROWTH = 0.10
"""of the time spent so far: in a long search settling takes a smaller part of it"""
MAX_EXTENSION = 0.5
"""of a visit, or else the shortest one, spent waiting for the few replies that would prove a level"""
MIN_GAP_SHARE = 0.1
"""of the interval: however near to the estimate one of its ends is, its side is visited now and then"""
LATE_REPLIES_TOLERANCE = 1.5
"""by which replies that end after the search may widen the interval it stopped at"""
LOOK_EVERY_S = 3.0

Outcome = Literal["precise", "widened", "max_users", "time", "unreachable", "other_load"]


@dataclass(frozen=True)
class SearchPlan:
    """Limits of a search. Seconds, users."""

    hold: float
    settle: float
    min_replies: int
    max_users: int
    longest: float
    precision: float = 0.20
    """width of the interval to reach, as a share of the estimate"""

    @property
    def patience(self) -> float:
        """Seconds after which a level that can't be reached, or gives no replies, is left."""
        return MAX_HOLD_FACTOR * self.hold

    def target_width(self, users: float) -> float:
        """How wide the interval of an estimate may be, in users."""
        return max(MIN_TARGET_USERS, self.precision * users)

    def begin(self) -> "SearchSteps":
        """Start a search."""
        return SearchSteps(self)


@dataclass(frozen=True)
class Step:
    """One visit to a level. Seconds of the run."""

    users: int
    entered: float
    measured_from: float | None = None
    until: float | None = None
    state: State = "unproven"
    """of the level, by all replies known when it was left"""

    def as_json(self) -> dict[str, object]:
        return {
            "users": self.users,
            "from": self.entered,
            "measured_from": self.measured_from,
            "until": self.until,
            "state": self.state,
        }


class SearchSteps:
    """The state of a search. Ask for `target` about once a second."""

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self.level = 1
        self.steps: list[Step] = []
        """visits; the last one is open until `outcome` is set"""
        self.outcome: Outcome | None = None
        self.latest: EstimateView | None = None
        """the estimate at the latest look"""
        self._began: float | None = None
        self._now = 0.0
        self._reached: float | None = None
        self._looked = -math.inf
        self._precise_since: float | None = None
        self._closing_since: float | None = None
        """when doubling ended"""

    # --- what others read ---------------------------------------------------------------------------------------

    @property
    def estimate(self) -> float | None:
        return self.latest.estimate if self.latest else None

    @property
    def interval(self) -> Interval | None:
        return self.latest.interval if self.latest else None

    @property
    def never_reached(self) -> list[int]:
        """The level whose number of users did not come up, if any."""
        return [self.level] if self.outcome == "unreachable" else []

    @property
    def target_width(self) -> float | None:
        """How wide the interval may be, in users; None before there is one."""
        return None if self.interval is None else self.plan.target_width(self._center(self.interval))

    @property
    def seconds_left(self) -> float | None:
        """About how long until the interval is narrow enough: its width shrinks with the root of time."""
        if self._closing_since is None or self.interval is None or self.interval[1] is None:
            return None
        width, wanted = self.interval[1] - self.interval[0], self.plan.target_width(self._center(self.interval))
        return max(0.0, (self._now - self._closing_since) * ((width / wanted) ** 2 - 1))

    def as_json(self) -> dict[str, object]:
        """The manifest's `plan`: levels in order of the first visit, then every step."""
        return {
            "levels": list(dict.fromkeys(step.users for step in self.steps)),
            "hold": self.plan.hold,
            "settle": self.plan.settle,
            "min_replies": self.plan.min_replies,
            "search": {
                "outcome": self.outcome,
                "max_users": self.plan.max_users,
                "longest": self.plan.longest,
                "precision": self.plan.precision,
                "critical": SEARCH_CRITICAL,
                "estimate": None if self.estimate is None else round(self.estimate, 2),
                "interval": None if self.interval is None else list(self.interval),
                "steps": [step.as_json() for step in self.steps],
            },
        }

    # --- stepping -----------------------------------------------------------------------------------------------

    def target(self, now: float, users: int, monitor: Monitor) -> int | None:
        """How many users there should be now; None when the search is over."""
        if self.outcome is not None:
            return None
        self._now = now
        if self._began is None:
            self._began = now
            self._enter(1, now)
        if users == self.level and self._reached is None:
            self._reached = now
        if self.steps[-1].measured_from is None:
            self._wait_until_settled(now, monitor)
        elif self._visit_done(now, monitor):
            self._go_on(now, monitor)
        if self.outcome is None and now - self._began >= self.plan.longest:
            self.latest = monitor.estimate(now)
            self._end("time", now, monitor)
        return None if self.outcome else self.level

    def review(self, now: float, monitor: Monitor) -> None:
        """Read the estimate once more when the run is over: replies that ended late may have changed it."""
        self.latest = monitor.estimate(now)
        self.steps = [replace(step, state=self._state(step.users)) for step in self.steps]
        if self.outcome == "precise" and not self._is_precise(tolerance=LATE_REPLIES_TOLERANCE):
            self.outcome = "widened"

    def _enter(self, users: int, now: float) -> None:
        self.level, self._reached = users, None
        self.steps.append(Step(users, now))

    def _wait_until_settled(self, now: float, monitor: Monitor) -> None:
        entered = self.steps[-1].entered
        if self._reached is None:
            if now - entered >= self.plan.patience + self.plan.settle:
                self._end("unreachable", now, monitor)
            return
        wait = max(self.plan.settle, monitor.reply_cycle())
        if len(self.steps) > 1 and self.steps[-2].users > self.level:
            stuck = now - self._reached >= self.plan.patience
            if not stuck and monitor.users_replied(self._reached) < REPLIED_SHARE * self.level:
                return
            wait *= 2
        if now - self._reached >= min(wait, self.plan.patience):
            self.steps[-1] = replace(self.steps[-1], measured_from=now)
            monitor.begin_visit(now, self.level)

    def _visit_done(self, now: float, monitor: Monitor) -> bool:
        """Whether the visit has its minimum length and no few replies more would prove the level."""
        length, shortest = now - (self.steps[-1].measured_from or now), self._shortest_visit(now, monitor)
        if length < self._shortest_glance(monitor) or now - self._looked < LOOK_EVERY_S:
            return False
        if not monitor.visit_counts(now)[1]:
            return length >= self.plan.patience
        self._looked = now
        self.latest = monitor.estimate(now)
        longest = shortest + max(MAX_EXTENSION * shortest, VISIT_HOLDS * self.plan.hold)
        passing = self._closing_since is None and self._passes(now, monitor)
        if self._is_precise():
            return self._confirmed(now, monitor)
        self._precise_since = None
        if passing or length >= longest:
            return True
        level = self.latest.level(self.level)
        if level is None or level.state != "unproven":
            return True
        return length >= shortest and (level.seconds_needed is None or level.seconds_needed > longest - length)

    def _confirmed(self, now: float, monitor: Monitor) -> bool:
        """Whether the interval has stayed narrow while the replies that were in flight came in."""
        if self._precise_since is None:
            self._precise_since = now
        return now - self._precise_since >= monitor.reply_cycle()

    def _shortest_visit(self, now: float, monitor: Monitor) -> float:
        if self._closing_since is None:
            return self._shortest_glance(monitor)
        cycles, grown = VISIT_CYCLES * monitor.reply_cycle(), VISIT_GROWTH * (now - (self._began or 0.0))
        return min(self.plan.patience, max(VISIT_HOLDS * self.plan.hold, cycles, grown))

    def _shortest_glance(self, monitor: Monitor) -> float:
        return max(GLANCE_HOLDS * self.plan.hold, GLANCE_CYCLES * monitor.reply_cycle())

    def _go_on(self, now: float, monitor: Monitor) -> None:
        if monitor.has_other_load(now):
            self._end("other_load", now, monitor)
            return
        if self._is_precise():
            self._end("precise", now, monitor)
            return
        if self._state(self.plan.max_users) == "held":
            self._end("max_users", now, monitor)
            return
        chosen = self._next_level(now, monitor)
        if chosen != self.level:
            self._leave(now, monitor, more_users=chosen > self.level)
            self._enter(chosen, now)

    def _next_level(self, now: float, monitor: Monitor) -> int:
        top = self.plan.max_users
        if self._closing_since is None and self.level < top and self._passes(now, monitor):
            return min(2 * self.level, top)
        self._closing_since = now if self._closing_since is None else self._closing_since
        return self._informative_level(now, monitor)

    def _passes(self, now: float, monitor: Monitor) -> bool:
        """Whether the present visit leaves it possible that enough replies are served."""
        served, replies = monitor.visit_counts(now)
        needed = monitor.needed_share
        return replies > 0 and served / replies + math.sqrt(needed * (1 - needed) / replies) >= needed

    def _informative_level(self, now: float, monitor: Monitor) -> int:
        """A level on the side of the estimate that has been measured for less time than its uncertainty asks for."""
        low, high = self.interval or (0, None)
        bad = self._lowest_bad_level(monitor)
        if bad == 1:
            return 1
        high = bad if high is None else high
        if high is None:
            return min(self.plan.max_users, 2 * max(step.users for step in self.steps))
        center = min(max(self._center((low, high)), low), high)
        wanted = self.plan.target_width(center)
        apart = max(wanted, (high - low) / 2)
        least = max(0.5, MIN_GAP_SHARE * (high - low))
        gaps = (max(center - low, least), max(high - center, least))
        # Where one end is settled, the other may lie further away, where it is sooner proven.
        below = math.floor(center - max(apart / 2, wanted - gaps[1]) + 0.5)
        above = math.ceil(center + max(apart / 2, wanted - gaps[0]))
        pair = [self._open_level(users) for users in (below, max(above, below + 1))]
        reach = max(1.0, apart / 2)
        spent = [self._measured_near(users, reach, now) / gap for users, gap in zip(pair, gaps, strict=True)]
        return pair[0] if spent[0] <= spent[1] else pair[1]

    def _open_level(self, users: int) -> int:
        """This level, or the nearest that isn't decided yet."""
        held, failed = self.latest.bracket if self.latest else (None, None)
        users = min(users, self.plan.max_users if failed is None else failed - 1)
        return max(users, 1 if held is None else held + 1)

    def _lowest_bad_level(self, monitor: Monitor) -> int | None:
        """The lowest level at which, by the fit, too few replies are served, proven or not."""
        seen = sorted({step.users for step in self.steps})
        fits = {users: level.share_fit for users in seen if self.latest and (level := self.latest.level(users))}
        return next((users for users, share in fits.items() if share < monitor.needed_share), None)

    def _measured_near(self, users: int, reach: float, now: float) -> float:
        """Seconds measured near a level, those further away at less weight."""
        return sum(
            ((step.until or now) - step.measured_from) * math.exp(-(((step.users - users) / reach) ** 2))
            for step in self.steps
            if step.measured_from is not None
        )

    def _center(self, interval: Interval) -> float:
        low, high = interval
        between = (low + (low if high is None else high)) / 2
        return between if self.estimate is None else self.estimate

    def _is_precise(self, tolerance: float = 1.0) -> bool:
        low, high = self.interval or (0, None)
        if high is None or (low == 0 and high > 0):  # whether even one user is served must be known
            return False
        return high - low <= tolerance * self.plan.target_width(self._center((low, high)))

    def _state(self, users: int) -> State:
        level = self.latest.level(users) if self.latest else None
        return level.state if level else "unproven"

    def _leave(self, now: float, monitor: Monitor, *, more_users: bool) -> None:
        if self.steps[-1].measured_from is not None:
            monitor.end_visit(now, more_users=more_users)
        self.steps[-1] = replace(self.steps[-1], until=now, state=self._state(self.level))

    def _end(self, outcome: Outcome, now: float, monitor: Monitor) -> None:
        self._leave(now, monitor, more_users=False)
        self.outcome = outcome

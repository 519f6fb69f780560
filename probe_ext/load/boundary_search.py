"""The search for capacity: double the users until the served share drops, then visit levels on both sides of it.

Pure stepping: the clock, the users and the estimate are the caller's. The estimate is the one that the report makes, so
search and report can't disagree. Each look may happen to prove something false, so its critical value is higher than
that of a plan of levels, and in a long search it grows with the visits, while looks get further apart. While doubling,
replies in flight tell whether to go on (`climb_looks`). Then both sides of the boundary are visited in turns, so that a
slow drift of the server affects them alike; the side whose end of the interval is further away gets more time. The
search is over once the interval is as narrow as asked and something is proven on both sides of it.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from probe_ext.load.climb_looks import ClimbLooks
from probe_ext.load.level_plan import MAX_HOLD_FACTOR
from probe_ext.load.monitor import EstimateView, Interval, Monitor, State
from probe_ext.load.time_left import LEAST_SHARE, TimeLeft, seconds_to_narrow

FIRST_CRITICAL, FREE_VISITS, CRITICAL_GROWTH = 2.24, 12, 2.0
"""standard errors for a proof, where dispersion is known, scaled as Student's t, up to so many visits. From then on,
their square grows with the log of the visits, as a walk that is looked at for ever passes any fixed number"""
MIN_TARGET_USERS = 2
"""users: no interval has to be narrower"""
SECOND_LEVEL = 4
"""users, after 1: what a boundary below needs is measured again anyway"""
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
PROOF_DISTANCE = 4
"""part of the users: so far outside a narrow interval something is proven, if nothing is yet"""
LATE_REPLIES_TOLERANCE = 1.5
"""by which replies that end after the search may widen the interval it stopped at"""
LOOK_EVERY_S, LOOK_EVERY = 3.0, 0.2
"""seconds, part of the shortest visit: looks are further apart in a long search, which could take more of them"""


def critical_after(visits: int) -> float:
    """Return how many standard errors a proof takes in a search after so many visits."""
    return math.sqrt(FIRST_CRITICAL**2 + CRITICAL_GROWTH * math.log(max(1.0, visits / FREE_VISITS)))


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
class EarlyRange:
    """What the climb suggests of the capacity. Users, seconds."""

    fine: tuple[int, ...] = ()
    """levels that doubling left for a higher one, as replies did well so far"""
    overloaded: int | None = None
    """level at which they did not, so that doubling ended or will end"""
    cycle: float = 0.0
    """from one request of a user to the next, or as long as the first ones have taken so far"""
    judged_in: float | None = None
    """about when the present level will have been judged; None once doubling is over"""


@dataclass(frozen=True)
class Step:
    """One visit to a level. Seconds of the run."""

    users: int
    entered: float
    measured_from: float | None = None
    until: float | None = None
    state: State = "unproven"
    """of the level, by all replies known when it was left, in the end by those of later visits too; of a visit that was
    not measured it says nothing"""

    def as_json(self) -> dict[str, object]:
        return {
            "users": self.users,
            "from": self.entered,
            "measured_from": self.measured_from,
            "until": self.until,
            "state": None if self.measured_from is None else self.state,
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
        self._looks: ClimbLooks | None = None
        """at the present level, on the way up"""
        self.climbed: list[int] = []
        """levels that were left for a higher one without a visit, since replies did well so far"""
        self._cycle = 0.0
        self._judged_in: float | None = None
        self._time_left = TimeLeft()
        self.overloaded: int | None = None
        """the level at which, by what replies did so far, doubling stopped"""

    # --- what others read ---------------------------------------------------------------------------------------

    @property
    def visits(self) -> int:
        """How many visits were measured, this one included."""
        return sum(step.measured_from is not None for step in self.steps)

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
    def is_narrow(self) -> bool:
        """Whether the interval is as narrow as asked."""
        return self._is_narrow()

    @property
    def missing_proof(self) -> State | None:
        """What no level is proven to do yet, to hold or to fail, although the answer rests on it."""
        held, failed = self.latest.bracket if self.latest else (None, None)
        if failed is None:
            return "failed"
        return "held" if held is None and failed > 1 else None

    @property
    def seconds_left(self) -> float | None:
        """About how long until the interval is narrow enough and proven; 0 once it is, None while unknown.

        It is unknown until something is proven on both sides of the boundary.
        """
        if self._is_precise():
            return 0.0
        return None if self.missing_proof else self._time_left.seconds(self._now)

    @property
    def least_seconds_left(self) -> float | None:
        """How many seconds it takes at least, in most searches, while more than that is unknown."""
        left = self._time_left.seconds(self._now)
        return None if left is None or not self.missing_proof else LEAST_SHARE * left

    def _forecast(self) -> float | None:
        """Return what the interval says of the time left."""
        if self._closing_since is None or self.interval is None or self.interval[1] is None:
            return None
        if self._is_narrow() and self.missing_proof:
            present = self.latest.level(self.level) if self.latest else None
            return present.seconds_needed if present else None
        width, wanted = self.interval[1] - self.interval[0], self.plan.target_width(self._center(self.interval))
        return seconds_to_narrow(self._now - (self._began or 0.0), width, wanted)

    def as_json(self) -> dict[str, object]:
        """The manifest's `plan`: levels in order of the first visit, then every step."""
        measured = {step.users for step in self.steps if step.measured_from is not None}
        unmeasured = set(self.climbed) - measured
        return {
            "levels": list(dict.fromkeys(step.users for step in self.steps if step.users not in unmeasured)),
            "hold": self.plan.hold,
            "settle": self.plan.settle,
            "min_replies": self.plan.min_replies,
            "search": {
                "outcome": self.outcome,
                "max_users": self.plan.max_users,
                "longest": self.plan.longest,
                "precision": self.plan.precision,
                "critical": round(critical_after(self.visits), 4),
                "estimate": None if self.estimate is None else round(self.estimate, 2),
                "interval": None if self.interval is None else list(self.interval),
                "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
                "steps": [step.as_json() for step in self.steps],
            },
        }

    @property
    def early_range(self) -> EarlyRange:
        """What replies that go on suggest, before anything is proven."""
        end = math.inf if self._closing_since is None else self._closing_since
        passed = tuple(step.users for step in self.steps if step.until is not None and step.until < end)
        return EarlyRange(passed, self.overloaded, self._cycle, self._judged_in)

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
        self._note_pace(now, monitor)
        if self._closing_since is None and self._climbs(now, monitor):
            self._climb(now, monitor)
        elif not self._is_measured:
            self._wait_until_settled(now, monitor)
        elif self._visit_done(now, monitor):
            self._go_on(now, monitor)
        if self.outcome is None and now - self._began >= self.plan.longest:
            self.latest = monitor.estimate(now)
            self._end("time", now, monitor)
        self._time_left.update(now, self._forecast())
        return None if self.outcome else self.level

    def review(self, now: float, monitor: Monitor) -> None:
        """Read the estimate once more when the run is over: replies that ended late may have changed it."""
        self.latest = monitor.estimate(now)
        self._time_left.update(self._now, self._forecast())
        self.steps = [replace(step, state=self._state(step.users)) for step in self.steps]
        if self.outcome == "precise" and not self._is_precise(tolerance=LATE_REPLIES_TOLERANCE):
            self.outcome = "widened"

    @property
    def _is_measured(self) -> bool:
        """Whether the present level is being measured."""
        return self.steps[-1].measured_from is not None

    def _enter(self, users: int, now: float) -> None:
        self.level, self._reached, self._looks = users, None, None
        self.steps.append(Step(users, now))

    def _wait_until_settled(self, now: float, monitor: Monitor) -> None:
        entered = self.steps[-1].entered
        if self._reached is None:
            if now - entered >= self.plan.patience + self.plan.settle:
                self._end("unreachable", now, monitor)
            return
        first = len(self.steps) == 1
        wait = self.plan.settle if first else max(self.plan.settle, monitor.reply_cycle())
        if len(self.steps) > 1 and self.steps[-2].users > self.level:
            stuck = now - self._reached >= self.plan.patience
            if not stuck and monitor.users_replied(self._reached) < REPLIED_SHARE * self.level:
                return
        if now - self._reached >= min(wait, self.plan.patience):
            begin = self._reached if first else now  # nobody was there before the first user: nothing had to settle
            self.steps[-1] = replace(self.steps[-1], measured_from=begin)
            monitor.begin_visit(begin, self.level)

    def _note_pace(self, now: float, monitor: Monitor) -> None:
        """Note how long replies take, and when the present level will have been judged by those that ended."""
        settled = self.steps[-1].measured_from
        reached = now if self._reached is None else self._reached
        self._cycle = monitor.reply_cycle() or now - (self._began or 0.0)
        glance = max(GLANCE_HOLDS * self.plan.hold, GLANCE_CYCLES * self._cycle)
        begins = reached + max(self.plan.settle, self._cycle) if settled is None else settled
        self._judged_in = None if self._closing_since is not None else max(0.0, begins + glance - now)

    def _climbs(self, now: float, monitor: Monitor) -> bool:
        """Whether to go on to more users without a whole visit; notes a level that looks overloaded."""
        if self._reached is None:
            return False
        self._looks = self._looks or ClimbLooks(self.level, self.steps[-1].entered, self._reached)
        well = self._looks.do_well(now, monitor, measured=self._is_measured)
        self.overloaded = self.level if self._looks.overloaded else None
        slow = GLANCE_CYCLES * self._cycle > GLANCE_HOLDS * self.plan.hold
        return well and (slow or len(self.steps) > 1) and self.level < self.plan.max_users

    def _climb(self, now: float, monitor: Monitor) -> None:
        if not self._is_measured:
            self.climbed.append(self.level)
        self._leave(now, monitor, more_users=True)
        self._enter(self._doubled(), now)

    def _doubled(self) -> int:
        return min(max(2 * self.level, SECOND_LEVEL), self.plan.max_users)

    def _visit_done(self, now: float, monitor: Monitor) -> bool:
        """Whether the visit has its minimum length and no few replies more would prove the level."""
        begun = self.steps[-1].measured_from
        length, shortest = now - (now if begun is None else begun), self._shortest_visit(now, monitor)
        apart = LOOK_EVERY * shortest if self._precise_since is None else 0.0
        if length < self._undecided(monitor) or now - self._looked < max(LOOK_EVERY_S, apart):
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

    def _undecided(self, monitor: Monitor) -> float:
        """Seconds of a visit before which nothing is decided by it."""
        if self._closing_since is None:
            return self._shortest_glance(monitor)
        return min(self.plan.patience, max(VISIT_HOLDS * self.plan.hold, VISIT_CYCLES * monitor.reply_cycle()))

    def _shortest_visit(self, now: float, monitor: Monitor) -> float:
        """Seconds of a visit that proves nothing."""
        grown = 0.0 if self._closing_since is None else VISIT_GROWTH * (now - (self._began or 0.0))
        return max(self._undecided(monitor), min(self.plan.patience, grown))

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
            self.overloaded = None
            return self._doubled()
        if self._closing_since is None:
            self._closing_since = now
            if not self._passes(now, monitor):
                self.overloaded = self.level
            if 1 in self.climbed:  # what one user alone gets explains the rest
                return 1
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
            return self._level_in_doubt() or 1
        high = bad if high is None else high
        if high is None:
            return min(self.plan.max_users, 2 * max(step.users for step in self.steps))
        if self.missing_proof and self._is_narrow():
            return self._provable_level(low, high)
        center = min(max(self._center((low, high)), low), high)
        if self._looked_fine is not None:
            center = max(center, (self._looked_fine + high) / 2)
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

    def _level_in_doubt(self) -> int | None:
        """The level that alone keeps one user from failing: each measured level above must be shown to fail as well."""
        alone = self.latest.level(1) if self.latest else None
        if alone is None or "contradicts_higher_level" not in alone.reasons:
            return None
        measured = {step.users for step in self.steps if step.measured_from is not None}
        return max((users for users in measured - {1} if self._state(users) == "unproven"), default=None)

    @property
    def _looked_fine(self) -> int | None:
        """The highest level that was climbed past, until a visit near it says more."""
        top = max(self.climbed, default=1)
        began = self._now if self._closing_since is None else self._closing_since
        seen = any(1 < step.users < 2 * top and step.entered >= began for step in self.steps)
        return None if seen or top == 1 else top

    def _provable_level(self, low: int, high: int) -> int:
        """A level a little outside the interval, where what is missing is sooner proven than at its end."""
        if self.missing_proof == "held":
            return max(1, low - low // PROOF_DISTANCE)
        return min(self.plan.max_users, high + 1 + high // PROOF_DISTANCE)

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
        return self._is_narrow(tolerance) and not self.missing_proof

    def _is_narrow(self, tolerance: float = 1.0) -> bool:
        low, high = self.interval or (0, None)
        if high is None or (low == 0 and high > 0):  # whether even one user is served must be known
            return False
        return high - low <= tolerance * self.plan.target_width(self._center((low, high)))

    def _state(self, users: int) -> State:
        level = self.latest.level(users) if self.latest else None
        return level.state if level else "unproven"

    def _leave(self, now: float, monitor: Monitor, *, more_users: bool) -> None:
        if self._is_measured:
            monitor.end_visit(now, more_users=more_users)
        self.steps[-1] = replace(self.steps[-1], until=now, state=self._state(self.level))

    def _end(self, outcome: Outcome, now: float, monitor: Monitor) -> None:
        self._leave(now, monitor, more_users=False)
        self.outcome = outcome

"""The search for the boundary: double from one user until a level fails, halve what lies between, prove both ends.

Pure stepping: the clock, the users and what is heard of them are the caller's. A level is left as soon as it is decided
(`sequential`), first at GLANCE, which only points the way. Once the highest level that held and the lowest that failed
are neighbours, the search stays at one, and goes back to the other, until both are decided at ALPHA. A level that
turns out otherwise moves the boundary, and the search goes on from there. Where an end lies so close to the boundary
that it cannot be decided, the next level beyond it is proven in its stead: what is proven then encloses what is open.

Coming down from a level, users still wait in the queue that it left: what is measured begins when nearly all of them
have had the reply that they were waiting for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from probe_ext.load.level_plan import MAX_HOLD_FACTOR, min_level_seconds
from probe_ext.load.sequential_test import ALPHA, GLANCE, Block, Bounds, Odds

RESOLUTION = 0.10
"""neighbours lie within this part of the lower one, or one user apart"""
MOST_VISITS = 3
"""a level that is still open after so many visits stays so"""
STEADY = 2
"""blocks over which the verdict must not have changed: no level is proven at a lucky moment, though the test's error
rates hold at any"""
SETTLED = 0.95
"""of the users have had the reply that they waited for when the level began"""
_SAMPLING = 2.0
"""seconds beyond the shortest level that the verdict takes for one: counts are sampled about once a second"""

State = Literal["held", "failed", "unproven"]
Outcome = Literal["closed", "enclosed", "open", "max_users", "time", "unreachable"]


@dataclass(frozen=True)
class Look:
    """What was heard so far of the users of a level."""

    state: State
    """what the verdict would say of the level now"""
    blocks: tuple[Block, ...]


class Live(Protocol):
    """What is heard while the run goes on."""

    @property
    def bounds(self) -> Bounds:
        """What a served user's replies are like."""

    def settled(self, since: float) -> int:
        """How many users have had a reply end since then."""

    def look(self, since: float, users: int) -> Look:
        """What is known of a level of so many users, of replies sent since then and on earlier visits."""

    def leave(self, now: float, *, for_more: bool) -> None:
        """The present level is over; `for_more`: more users come."""

    def state(self, users: int) -> State:
        """What the verdict would say now of a level that was left: its last replies may have ended since."""


@dataclass(frozen=True)
class SearchPlan:
    """How far a search may go. Seconds, users."""

    hold: float
    settle: float
    min_replies: int
    max_users: int
    longest: float

    @property
    def patience(self) -> float:
        """A level is left undecided after so long."""
        return MAX_HOLD_FACTOR * self.hold

    @property
    def shortest(self) -> float:
        """No level is left sooner: it would be too short for the verdict to see it."""
        return min_level_seconds(self.hold) + _SAMPLING

    def begin(self) -> "SearchSteps":
        """A run starts."""
        return SearchSteps(self)


@dataclass(frozen=True)
class Step:
    """One visit to a level. Seconds of the run."""

    users: int
    entered: float
    measured_from: float | None = None
    left: float | None = None
    state: State = "unproven"
    proven: bool = False
    """decided at ALPHA, this visit and earlier ones together, and so for STEADY blocks of this one"""
    gave_up: bool = False
    """left undecided when its time was over; `state` is then what it was taken for"""
    odds: Odds = field(default_factory=Odds)

    def as_json(self) -> dict[str, object]:
        """For the manifest."""
        return {
            "users": self.users,
            "entered": self.entered,
            "measured_from": self.measured_from,
            "left": self.left,
            "state": self.state,
            "proven": self.proven,
            "gave_up": self.gave_up,
            "odds_held": float(f"{self.odds.held:.4g}"),
            "odds_failed": float(f"{self.odds.failed:.4g}"),
        }


@dataclass
class _Known:
    """What all visits to a level have told."""

    state: State = "unproven"
    proven: bool = False
    gave_up: bool = False
    """no more time is spent on it"""
    visits: int = 0
    odds: Odds = field(default_factory=Odds)


class SearchSteps:
    """Where the search is. Ask for `target` about once a second."""

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self.level = 1
        self.steps: list[Step] = []
        """visits, the last one going on until `outcome` is set"""
        self.outcome: Outcome | None = None
        self.never_reached: list[int] = []
        self._begun: float | None = None
        self._reached: float | None = None
        self._came_down = self._proving = False
        self._same: tuple[State, float] = ("unproven", 0.0)
        """what the verdict would say, and since when"""
        self._known: dict[int, _Known] = {}

    @property
    def bracket(self) -> tuple[int, int | None]:
        """The highest level that held below the lowest that failed (0: none), and that one."""
        failed = min((n for n, known in self._known.items() if known.state == "failed"), default=None)
        held = [n for n, known in self._known.items() if known.state == "held" and (failed is None or n < failed)]
        return max(held, default=0), failed

    @property
    def proven(self) -> tuple[int, int | None]:
        """The same of what is decided at ALPHA: it encloses the bracket."""
        down, up = self._outward()
        return (
            next((n for n in down if self._known[n].proven), 0),
            next((n for n in up if self._known[n].proven), None),
        )

    @property
    def undecided(self) -> list[int]:
        """The levels that were visited between those that are proven."""
        low, high = self.proven
        return sorted(n for n in self._known if low < n and (high is None or n < high))

    def _outward(self) -> tuple[list[int], list[int]]:
        """The levels that held, from the bracket down, and those that failed, from there up."""
        held, failed = self.bracket
        down = sorted((n for n, one in self._known.items() if one.state == "held" and n <= held), reverse=True)
        up = sorted(n for n, one in self._known.items() if one.state == "failed" and failed and n >= failed)
        return down, up

    @property
    def position(self) -> str:
        """What is known so far and what goes on, in a few words."""
        held, failed = self.bracket
        ends = [f"{held} held"] * bool(held) + [f"{failed} failed"] * bool(failed)
        doing = "proving" if self._proving else "looking at"
        return f"search: {', '.join(ends) or 'nothing known yet'}; {doing} {self.level}"

    def target(self, now: float, users: int, live: Live) -> int | None:
        """How many users there should be now; None when the search is over."""
        if self.outcome is not None:
            return None
        if self._begun is None:
            self._begun = now
            self._enter(1, now)
        if users == self.level and self._reached is None:
            self._reached = now
        found = self._found(now, live)
        if found is not None:
            self.steps[-1] = found
            self._learn(found)
            self._go_on(now, live)
        elif now - self._begun >= self.plan.longest:
            self._end("time", now, live)
        return None if self.outcome else self.level

    def as_json(self) -> dict[str, object]:
        """The manifest's `plan`: the levels in the order in which they were visited first, and every step."""
        return {
            "levels": list(dict.fromkeys(step.users for step in self.steps)),
            "hold": self.plan.hold,
            "settle": self.plan.settle,
            "min_replies": self.plan.min_replies,
            "search": {
                "outcome": self.outcome,
                "max_users": self.plan.max_users,
                "longest": self.plan.longest,
                "alpha": ALPHA,
                "glance": GLANCE,
                "resolution": RESOLUTION,
                "steps": [
                    {**step.as_json(), "proven": step.proven and self._known[step.users].proven} for step in self.steps
                ],
            },
        }

    # --- the present level ----------------------------------------------------------------------------------

    def _enter(self, users: int, now: float) -> None:
        self._came_down = bool(self.steps) and users < self.level
        failed = self.bracket[1]
        self._proving = users in self._known or (failed is not None and users > failed)
        self.level, self._reached, self._same = users, None, ("unproven", now)
        self.steps.append(Step(users, now))
        self._known.setdefault(users, _Known()).visits += 1

    def _found(self, now: float, live: Live) -> Step | None:
        """The step with what it is decided to be; None while it goes on."""
        step = self.steps[-1]
        since = self._measured_from(now, live) if step.measured_from is None else step.measured_from
        if since is None:
            waited = now - step.entered >= self.plan.patience + self.plan.settle
            return replace(step, left=now) if waited else None
        measured, look = now - since, live.look(since, self.level)
        odds = self._known[self.level].odds.after(look.blocks, live.bounds)
        seen = self.steps[-1] = replace(step, measured_from=since, state=look.state, odds=odds)
        if look.state != self._same[0]:
            self._same = (look.state, now)
        if measured < self.plan.shortest:
            return None
        strong = _support(seen)
        lasted = now - self._same[1]
        proven = strong >= 1 / ALPHA and lasted >= _length(since, look.blocks, STEADY)
        glanced = not self._proving and strong >= 1 / GLANCE and lasted >= _length(since, look.blocks, 1)
        if proven or glanced:
            return replace(seen, proven=proven)
        hopeless = measured >= self.plan.patience or _against(seen) >= 1 / ALPHA**2
        return replace(seen, proven=False, state=_leaning(seen), gave_up=True) if hopeless else None

    def _measured_from(self, now: float, live: Live) -> float | None:
        """When measuring begins, or began; None while it is too early."""
        if self._reached is None or now - self._reached < self.plan.settle:
            return None
        if self._came_down and live.settled(self._reached) < SETTLED * self.level:
            return None
        return now

    def _learn(self, found: Step) -> None:
        known = self._known[found.users]
        known.state, known.proven = found.state, found.proven
        known.gave_up = not known.proven and (found.gave_up or known.visits >= MOST_VISITS)
        if found.left is not None:
            self.never_reached.append(found.users)

    # --- from level to level --------------------------------------------------------------------------------

    def review(self, live: Live) -> None:
        """Ask anew what the verdict says of each level: replies that ended after it was left may have changed that."""
        for users, known in self._known.items():
            state = live.state(users)
            if known.state == state or (state == "unproven" and not known.proven):
                continue
            known.state = known.state if state == "unproven" else state
            known.gave_up = known.gave_up or known.visits >= MOST_VISITS
            known.proven = False
        if self.outcome in {"closed", "enclosed"}:
            self.outcome = self._how_closed()

    def _go_on(self, now: float, live: Live) -> None:
        if self.never_reached:
            self._end("unreachable", now, live)
            return
        self.review(live)
        chosen = self._next()
        if isinstance(chosen, str):
            self._end(chosen, now, live)
        elif chosen == self.level:
            self._proving = True  # it goes on, without settling anew
        else:
            self._leave(now, live, for_more=chosen > self.level)
            self._enter(chosen, now)

    def _leave(self, now: float, live: Live, *, for_more: bool) -> None:
        live.leave(now, for_more=for_more)
        self.steps[-1] = replace(self.steps[-1], left=now)
        self._known[self.level].odds = self.steps[-1].odds

    def _next(self) -> int | Outcome:
        held, failed = self.bracket
        if failed is None and held < self.plan.max_users:
            return min(2 * held, self.plan.max_users) if held else 1
        if failed is not None and failed - held > max(1, int(RESOLUTION * held)):
            return (held + failed) // 2
        to_prove = self._to_prove()
        if to_prove is not None:
            return to_prove
        if failed is None:
            return "max_users"
        return self._how_closed()

    def _how_closed(self) -> Outcome:
        low, high = self.proven
        if (low, high) == self.bracket:
            return "closed"
        return "enclosed" if high is not None and (low > 0 or self.bracket[0] == 0) else "open"

    def _to_prove(self) -> int | None:
        """An end that is still to be proven, the one where we are first; beyond an end that was given up, the next."""
        failed = self.bracket[1]
        down, up = self._outward()
        left = [self._first_open(down), self._first_open(up)]
        top = max(self._known)
        if failed is not None and all(self._known[n].gave_up for n in up) and top < self.plan.max_users:
            left.append(min(top + max(1, top // 4), self.plan.max_users))
        wanted = [n for n in left if n]
        return self.level if self.level in wanted else next(iter(wanted), None)

    def _first_open(self, outward: Sequence[int]) -> int | None:
        """The first that is neither given up nor proven, unless one before it is proven."""
        first = next((n for n in outward if not self._known[n].gave_up), None)
        return None if first is None or self._known[first].proven else first

    def _end(self, outcome: Outcome, now: float, live: Live) -> None:
        self._leave(now, live, for_more=False)
        self.outcome = outcome


def _length(since: float, blocks: Sequence[Block], last: int) -> float:
    """Seconds that so many of the last blocks took, the first of which began at `since`; endless without so many."""
    ends = [since, *(block.end for block in blocks)]
    return ends[-1] - ends[-last - 1] if len(blocks) >= last else math.inf


def _support(step: Step) -> float:
    """How strongly the test supports what the verdict would say."""
    return {"held": step.odds.held, "failed": step.odds.failed, "unproven": 0.0}[step.state]


def _against(step: Step) -> float:
    """How strongly it supports the opposite. Users followed over few replies may be ill served by chance."""
    return {"held": step.odds.failed, "failed": step.odds.held, "unproven": 0.0}[step.state]


def _leaning(step: Step) -> State:
    """What a level that stays open is taken for, to find the way: what the verdict says, else what is likelier."""
    if step.state != "unproven":
        return step.state
    return "held" if step.odds.held > step.odds.failed else "failed"

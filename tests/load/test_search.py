"""The steps of a search around a server of known capacity: no clock, no server, only a monitor's answers."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.load.boundary_search import Interval, SearchPlan, SearchSteps, State, critical_after
from probe_ext.swarm.master.search_finding import search_finding

PLAN = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=3600.0)
DOCS = Path(__file__).resolve().parents[2] / "docs"
ENOUGH_S = 35.0
"""seconds of a level that prove it"""


@dataclass
class Level:
    state: State
    seconds_needed: float | None
    share_fit: float
    reasons: tuple[str, ...] = ()


@dataclass
class Estimate:
    estimate: float | None
    interval: Interval | None
    bracket: tuple[int | None, int | None]
    levels: dict[int, Level]

    def level(self, users: int) -> Level | None:
        return self.levels.get(users)


class Server:
    """A monitor of a server that keeps `capacity` users served; each level is proven after ENOUGH_S."""

    needed_share = 0.9

    def __init__(self, capacity: int, cycle: float = 2.0, drains_in: float = 0.0) -> None:
        self.capacity, self.cycle, self.drains_in = capacity, cycle, drains_in
        self.now, self.level = 0.0, 1
        self.measured: dict[int, float] = {}
        self.ended: list[bool] = []
        self.early: dict[int, tuple[int, int]] | None = None
        """by level, replies that do well so far and all that can be judged"""
        self.proves = True
        """whether anything is ever proven, however narrow the interval"""
        self.bad_luck: set[int] = set()
        """levels whose first visit looks bad"""
        self._visit: tuple[float, int] | None = None

    def reply_cycle(self) -> float:
        return self.cycle

    def is_backed_up(self, level: int) -> bool:
        return False

    def users_replied(self, since: float) -> int:
        return 10_000 if self.now - since >= self.drains_in else 0

    def begin_visit(self, now: float, users: int) -> None:
        self._visit = (now, users)

    def end_visit(self, now: float, *, more_users: bool) -> None:
        assert self._visit is not None
        since, users = self._visit
        self.measured[users] = self.measured.get(users, 0.0) + now - since
        self.bad_luck.discard(users)
        self.ended.append(more_users)
        self._visit = None

    def early_counts(self, now: float, since: float) -> tuple[int, int] | None:
        return None if self.early is None else self.early.get(self.level, (0, 0))

    def has_other_load(self, now: float) -> bool:
        return False

    def visit_counts(self, now: float) -> tuple[int, int]:
        assert self._visit is not None
        since, users = self._visit
        if now - since < self.cycle:
            return 0, 0
        return 100 if users <= self.capacity and users not in self.bad_luck else 50, 100

    def estimate(self, now: float) -> Estimate:
        measured = dict(self.measured)
        if self._visit is not None:
            measured[self._visit[1]] = measured.get(self._visit[1], 0.0) + now - self._visit[0]
        proven = {n: "held" if n <= self.capacity else "failed" for n, s in measured.items() if s >= ENOUGH_S}
        held = max((n for n, state in proven.items() if state == "held"), default=0)
        failed = min((n for n, state in proven.items() if state == "failed"), default=None)
        levels = {
            n: Level("held", None, 1.0) if n <= held else Level("failed", None, 0.5) if failed and n >= failed
            else Level("unproven", ENOUGH_S - seconds, 1.0 if n <= self.capacity else 0.5)
            for n, seconds in measured.items()
        }  # fmt: skip
        if not self.proves:
            narrow = len(measured) > 4
            unproven = {n: Level("unproven", 20.0, 1.0 if n <= self.capacity else 0.5) for n in measured}
            at = (self.capacity, self.capacity + 1) if narrow else (0, None)
            return Estimate(self.capacity + 0.5 if narrow else None, at, (None, 2 * self.capacity), unproven)
        high = None if failed is None else failed - 1
        point = self.capacity + 0.5 if self.capacity < max(measured) else None
        return Estimate(point, (held, high), (held or None, failed), levels)


def play(server: Server, plan: SearchPlan = PLAN, until: float = 3600.0, *, obeys: bool = True) -> SearchSteps:
    """Ask once a second; the users are there two seconds after they were asked for."""
    steps = plan.begin()
    target, changed, users = 0, 0.0, 0
    while server.now < until:
        server.level = steps.level
        new = steps.target(server.now, users, server)
        if new is None:
            return steps
        if new != target:
            target, changed = new, server.now
        if obeys and server.now - changed >= 2:
            users = target
        server.now += 1.0
    return steps


def visited(steps: SearchSteps) -> list[int]:
    return [step.users for step in steps.steps]


def seconds_settling(steps: SearchSteps, *, down: bool) -> list[float]:
    pairs = zip(steps.steps, steps.steps[1:], strict=False)
    return [b.measured_from - b.entered for a, b in pairs if (b.users < a.users) is down and b.measured_from]


def test_it_doubles_then_visits_both_sides_of_the_boundary() -> None:
    steps = play(Server(11))
    assert visited(steps)[:4] == [1, 4, 8, 16]
    around = visited(steps)[4:]
    assert all(4 <= users <= 20 for users in around)
    assert {users <= 11 for users in around} == {True, False}
    assert steps.outcome == "precise"


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 9, 64, 100, 500])
def test_it_ends_with_an_interval_as_narrow_as_asked(capacity: int) -> None:
    steps = play(Server(capacity))
    assert steps.outcome == "precise"
    assert steps.interval is not None
    low, high = steps.interval
    assert high is not None
    assert low <= capacity <= high
    assert high - low <= max(2, 0.2 * (capacity + 0.5))


def test_a_narrower_interval_takes_longer() -> None:
    coarse, fine = (play(Server(60), replace(PLAN, precision=share)) for share in (0.5, 0.05))
    assert fine.interval is not None
    assert fine.interval[1] is not None
    assert fine.interval[1] - fine.interval[0] <= 3
    assert (fine.steps[-1].until or 0) > (coarse.steps[-1].until or 0)


def test_not_even_one_user() -> None:
    steps = play(Server(0))
    assert steps.outcome == "precise"
    assert steps.interval in {(0, 0), (0, 1), (0, 2)}


class Doubtful(Server):
    """Not even one user is served, but first visits look fine, and all levels above must be shown to fail as well."""

    def visit_counts(self, now: float) -> tuple[int, int]:
        assert self._visit is not None
        users = self._visit[1]
        return (100, 100) if users < 8 and users not in self.measured else super().visit_counts(now)

    def estimate(self, now: float) -> Estimate:
        found = super().estimate(now)
        levels = {**found.levels}
        for users, level in levels.items():
            since, present = self._visit or (now, 0)
            measured = self.measured.get(users, 0.0) + (now - since if users == present else 0.0)
            levels[users] = replace(level, state="failed" if measured >= ENOUGH_S else "unproven", reasons=())
        if any(level.state == "unproven" for users, level in levels.items() if users > 1):
            levels[1] = Level("unproven", None, 0.5, ("contradicts_higher_level",))
            return Estimate(None, (0, None), (None, None), levels)
        return replace(found, levels=levels)


def test_a_level_above_that_keeps_one_user_from_failing_is_measured_again() -> None:
    """More replies of one user alone would never prove it."""
    steps = play(Doubtful(0))
    assert steps.outcome == "precise"
    assert steps.interval == (0, 0)


def test_it_goes_no_higher_than_it_may_and_proves_that() -> None:
    steps = play(Server(10_000), replace(PLAN, max_users=12))
    assert list(dict.fromkeys(visited(steps))) == [1, 4, 8, 12]
    assert (steps.outcome, steps.interval) == ("max_users", (12, None))
    assert search_finding(steps)["why"] == "The search held 12 users and went no higher."


def test_its_time_is_limited_and_what_it_reached_stays() -> None:
    steps = play(Server(100), replace(PLAN, longest=300.0))
    assert (steps.outcome, steps.steps[-1].until) == ("time", 300.0)
    assert steps.interval is not None
    told = search_finding(steps)
    assert told["state"] == "unproven"
    assert told["why"].startswith("The search ran out of time: its interval is wider than the requested 20 users.")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (250.0, " About 5 more minutes would be enough."),
        (20.0, " About 1 more minute would be enough."),
        (43_000.0, " That would take more than another 5 min."),
    ],
)
def test_it_says_how_long_it_would_have_taken_unless_that_is_out_of_reach(
    left: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = play(Server(100), replace(PLAN, longest=300.0))
    monkeypatch.setattr(type(steps), "seconds_left", property(lambda _steps: left))
    assert search_finding(steps)["why"].endswith(said)


def test_a_wrong_first_impression_does_not_mislead_it() -> None:
    server = Server(20)
    server.bad_luck.add(16)
    steps = play(server)
    assert steps.outcome == "precise"
    assert steps.interval is not None
    assert steps.interval[0] <= 20


def test_settling_takes_a_reply_cycle() -> None:
    steps = play(Server(8, cycle=9.0))
    assert 9 <= min(seconds_settling(steps, down=False)) <= max(seconds_settling(steps, down=False)) <= 9 + 4
    assert 9 <= min(seconds_settling(steps, down=True)) <= max(seconds_settling(steps, down=True)) <= 9 + 4


def test_coming_down_it_waits_until_the_queue_is_gone() -> None:
    steps = play(Server(8, drains_in=40.0))
    assert seconds_settling(steps, down=True)
    assert min(seconds_settling(steps, down=True)) >= 40


def test_replies_in_flight_are_truncated_where_more_users_come() -> None:
    server = Server(3)
    steps = play(server)
    rises = [b.users > a.users for a, b in zip(steps.steps, steps.steps[1:], strict=False)]
    assert server.ended == [*rises, False]


def test_replies_that_end_later_may_widen_the_interval() -> None:
    server = Server(11)
    steps = play(server)
    server.measured.clear()
    server.measured.update({4: 100.0, 40: 100.0})
    steps.review(server.now, server)
    assert steps.outcome == "widened"
    assert steps.interval == (4, 39)
    assert search_finding(steps)["state"] == "unproven"


def test_users_that_never_come_end_it() -> None:
    steps = play(Server(8), obeys=False)
    assert (steps.outcome, steps.never_reached, steps.steps[-1].measured_from) == ("unreachable", [1], None)
    assert search_finding(steps)["state"] == "fail"


def test_no_visit_is_shorter_than_some_cycles() -> None:
    for cycle in (1.0, 12.0):
        for step in play(Server(6, cycle=cycle)).steps:
            assert step.until is not None
            assert step.measured_from is not None
            assert step.until - step.measured_from >= max(10, 2.5 * cycle)


def test_it_tells_about_how_long_it_will_take() -> None:
    server = Server(100)
    steps = PLAN.begin()
    left = []
    while steps.target(server.now, steps.level, server) is not None:
        left.append(steps.seconds_left)
        server.now += 1.0
    known = [seconds for seconds in left if seconds is not None]
    assert left[0] is None
    assert known
    raised = sum(after > before for before, after in pairwise(known))
    assert raised <= 3 + math.log2(max(known) / 10)
    assert steps.seconds_left == 0.0
    assert steps.least_seconds_left is None


def test_until_something_is_proven_on_both_sides_it_says_only_how_long_it_takes_at_least() -> None:
    """Forecasts made before were too short at the median, and by up to six times: 2, then 3, then 8 more minutes."""
    steps = PLAN.begin()
    steps._began = 1.0
    steps._closing_since = 50.0
    for bracket, is_known in (((None, 16), False), ((4, 16), True)):
        server: Any = SimpleNamespace(estimate=lambda _now, bracket=bracket: Estimate(8.0, (0, 15), bracket, {}))
        steps.review(100.0, server)
        steps._time_left.update(100.0, 300.0)
        steps._now = 100.0
        assert (steps.seconds_left is not None) is is_known
        assert (steps.least_seconds_left is None) is is_known
        assert (steps.as_json()["search"]["seconds_left"] is not None) is is_known
        end = " About 5 more minutes would be enough." if is_known else " It needed at least 2 more minutes."
        assert search_finding(steps)["why"].endswith(end)


def test_the_manifest_is_documented() -> None:
    told = play(Server(3)).as_json()
    search = told["search"]
    assert isinstance(search, dict)
    assert search["outcome"] == "precise"
    documented = (DOCS / "run-json.md").read_text(encoding="utf-8")
    for key in (*search, *search["steps"][0]):
        assert f"`{key}`" in documented, key


# --- looks, and what they may decide ---------------------------------------------------------------------------------


def test_the_more_visits_the_more_a_proof_takes() -> None:
    """At a share of exactly the limit, looks at growing data pass any fixed number of standard errors at last."""
    critical = [critical_after(visits) for visits in range(1, 40)]
    assert critical == sorted(critical)
    assert critical[0] > 1.96
    search = play(Server(11)).as_json()["search"]
    assert isinstance(search, dict)
    assert search["critical"] == pytest.approx(critical_after(len(search["steps"])), abs=1e-4)


def test_an_interval_is_not_precise_while_nothing_is_proven() -> None:
    server = Server(11)
    server.proves = False
    steps = play(server, replace(PLAN, longest=900.0))
    assert steps.interval == (11, 12)
    assert steps.outcome == "time"
    told = search_finding(steps)
    assert told["state"] == "unproven"
    assert told["why"].startswith("The search ran out of time: no number of users is proven")
    assert steps.steps[-1].users < 11, "a lower level is sooner proven"


# --- climbing --------------------------------------------------------------------------------------------------------


def climbing(capacity: int, cycle: float) -> Server:
    server = Server(capacity, cycle=cycle)
    server.early = {n: (n if n <= capacity else n // 2, n) for n in (1, 4, 8, 16, 32, 64, 128, 256, 512)}
    return server


def test_levels_at_which_replies_do_well_so_far_are_not_waited_for() -> None:
    steps = play(climbing(20, cycle=15.0), until=60.0)
    assert visited(steps)[:5] == [1, 4, 8, 16, 32]
    assert [step.measured_from for step in steps.steps[:4]] == [None] * 4
    assert [step.as_json()["state"] for step in steps.steps[:4]] == [None] * 4, "nothing was measured there"
    assert steps.early_range.fine == (1, 4, 8, 16)
    assert steps.early_range.overloaded == 32
    assert steps.as_json()["levels"] == [32], "nobody meant to measure the others"


def test_what_a_climb_saw_proves_nothing() -> None:
    server = climbing(20, cycle=15.0)
    steps = play(server)
    assert steps.outcome == "precise"
    assert 1 in server.measured, "one user alone is measured later"
    assert {step.users for step in steps.steps if step.state != "unproven"} <= set(server.measured)


def test_where_replies_are_fast_one_user_is_measured_before_the_climb() -> None:
    steps = play(climbing(20, cycle=1.0), until=120.0)
    assert [(step.users, step.measured_from is None) for step in steps.steps[:4]] == [
        (1, False), (4, True), (8, True), (16, True),
    ]  # fmt: skip


def test_too_few_replies_that_can_be_judged_decide_nothing() -> None:
    server = climbing(20, cycle=15.0)
    server.early = {1: (0, 0), 4: (1, 1), 8: (1, 1)}
    steps = play(server, until=200.0)
    assert all(step.measured_from is not None for step in steps.steps[:-1])


def test_it_says_when_a_level_of_slow_replies_is_judged() -> None:
    server = Server(8, cycle=40.0)
    steps = play(server, until=50.0)
    early = steps.early_range
    assert early.cycle == 40.0
    assert early.judged_in is not None
    assert 40 <= early.judged_in <= 140

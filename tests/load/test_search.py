"""The search's steps, around a server whose boundary is known: no clock, no server, only what would be heard."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from probe_ext.load.boundary_search import Look, SearchPlan, SearchSteps, State
from probe_ext.load.sequential_test import Block, Bounds
from probe_ext.swarm.master.search_finding import search_finding

PLAN = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=512, longest=3600.0)
DOCS = Path(__file__).resolve().parents[2] / "docs"


class Server:
    """Holds up to `capacity` users; a block of replies ends every two seconds."""

    bounds = Bounds(0.90, 0.01)

    def __init__(self, capacity: int, grey: tuple[int, ...] = (), drains_in: float = 0.0) -> None:
        self.capacity, self.grey, self.drains_in = capacity, grey, drains_in
        self.now = 0.0
        self.asked: list[tuple[float, int]] = []
        self.lies: dict[int, int] = {}
        """looks at a level that still show the opposite"""
        self.said: dict[int, State] = {}
        """what was said of each level last"""
        self.later: dict[int, State] = {}
        """what its last replies turn a level to, once it was left"""
        self._at = 0

    def settled(self, since: float) -> int:
        return 10_000 if self.now - since >= self.drains_in else 0

    def leave(self, now: float, *, for_more: bool) -> None:
        if self._at in self.later:
            self.said[self._at] = self.later[self._at]

    def state(self, users: int) -> State:
        return self.said[users]

    def look(self, since: float, users: int) -> Look:
        seen = self._seen(since, users)
        self._at, self.said[users] = users, seen.state
        return seen

    def _seen(self, since: float, users: int) -> Look:
        self.asked.append((since, users))
        good = users <= self.capacity
        if self.lies.get(users, 0) > 0:
            self.lies[users] -= 1
            good = not good
            share = 1.0 if good else 0.5
        else:
            share = 0.86 if users in self.grey else float(good)
        blocks = tuple(Block(since + 2.0 * k, share, 0.0) for k in range(1, int((self.now - since) / 2) + 1))
        if users in self.grey:
            return Look("unproven", blocks)
        return Look("held" if good else "failed", blocks)


def play(server: Server, plan: SearchPlan = PLAN, until: float = 3600.0, *, obeys: bool = True) -> SearchSteps:
    """Ask once a second; the users are there two seconds after they were asked for."""
    steps = plan.begin()
    target, changed, users = 0, 0.0, 0
    while server.now < until:
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


def test_it_doubles_then_halves_then_proves_both_ends() -> None:
    steps = play(Server(11))
    assert visited(steps) == [1, 2, 4, 8, 16, 12, 10, 11]
    assert (steps.outcome, steps.bracket, steps.proven) == ("closed", (11, 12), (11, 12))
    assert {11, 12} <= {step.users for step in steps.steps if step.proven}


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 9, 64, 100, 511])
def test_it_closes_in_on_any_boundary(capacity: int) -> None:
    steps = play(Server(capacity))
    held, failed = steps.bracket
    assert failed is not None
    assert held <= capacity < failed
    assert failed - held <= max(1, held // 10)
    assert (steps.outcome, steps.proven) == ("closed", (held, failed))


def test_not_even_one_user() -> None:
    steps = play(Server(0))
    assert (visited(steps), steps.bracket, steps.outcome) == ([1], (0, 1), "closed")


def test_it_goes_no_higher_than_it_may_and_proves_that() -> None:
    server = Server(10_000)
    steps = play(server, SearchPlan(30.0, 5.0, 3, max_users=12, longest=3600.0))
    assert (visited(steps), steps.bracket, steps.outcome, steps.proven) == (
        [1, 2, 4, 8, 12],
        (12, None),
        "max_users",
        (12, None),
    )


def test_its_time_is_limited() -> None:
    steps = play(Server(100), SearchPlan(30.0, 5.0, 3, 512, longest=60.0))
    assert steps.outcome == "time"
    assert steps.steps[-1].left == 60
    assert steps.proven != steps.bracket


def test_a_wrong_first_impression_is_found_out_when_the_boundary_is_proven() -> None:
    server = Server(20)
    server.lies[16] = 9
    steps = play(server)
    assert visited(steps)[:6] == [1, 2, 4, 8, 16, 12], "16 seemed to fail"
    held, failed = steps.bracket
    assert failed is not None
    assert held <= 20 < failed
    assert (steps.outcome, steps.proven) == ("closed", (held, failed))


def test_beyond_a_level_that_cannot_be_decided_the_next_one_is_proven() -> None:
    steps = play(Server(9, grey=(10,)))
    assert (steps.outcome, steps.bracket, steps.proven, steps.undecided) == ("enclosed", (9, 10), (9, 12), [10])
    given_up = next(s for s in steps.steps if s.gave_up)
    assert given_up.left is not None
    assert given_up.measured_from is not None
    assert given_up.left - given_up.measured_from == pytest.approx(PLAN.patience, abs=1)
    assert visited(steps).count(10) == 1, "once is enough"


def test_where_nothing_beyond_is_known_it_looks_further_up() -> None:
    steps = play(Server(7, grey=(8,)))
    assert visited(steps)[:5] == [1, 2, 4, 8, 6], "8 seemed to fail: nothing above it was tried on the way"
    assert (steps.outcome, steps.bracket, steps.proven, steps.undecided) == ("enclosed", (7, 8), (7, 10), [8])


def test_an_end_that_nothing_can_prove_stays_open() -> None:
    everything = tuple(range(9, 513))
    steps = play(Server(8, grey=everything), SearchPlan(30.0, 5.0, 3, max_users=12, longest=36000.0), 36000.0)
    assert (steps.outcome, steps.bracket, steps.proven) == ("open", (8, 9), (8, None))
    assert steps.undecided == [9, 10, 12]


def test_no_time_is_spent_where_the_test_is_sure_of_the_opposite() -> None:
    """Each block is clear, but some users, followed over few replies, are not served: that will last."""

    class Unlucky(Server):
        def _seen(self, since: float, users: int) -> Look:
            seen = super()._seen(since, users)
            return Look("failed" if users == 8 else seen.state, seen.blocks)

    steps = play(Unlucky(20))
    given_up = next(s for s in steps.steps if s.gave_up)
    assert given_up.users == 8
    assert given_up.left is not None
    assert given_up.measured_from is not None
    assert given_up.left - given_up.measured_from < PLAN.patience


def test_a_level_whose_last_replies_say_otherwise_is_proven_no_longer() -> None:
    server = Server(11)
    server.later = {12: "unproven"}
    steps = play(server)
    assert visited(steps).count(12) >= 2, "it went back to prove it anew"
    steps.review(server)
    assert (steps.outcome, steps.bracket, steps.proven) == ("enclosed", (11, 12), (11, 16))
    assert not any(step["proven"] for step in told_steps(steps) if step["users"] == 12)


def test_what_becomes_known_after_the_end_counts() -> None:
    server = Server(11)
    steps = play(server)
    assert steps.outcome == "closed"
    server.said[12] = "unproven"
    steps.review(server)
    assert (steps.outcome, steps.bracket, steps.proven) == ("enclosed", (11, 12), (11, 16))
    assert steps.undecided == [12]
    assert search_finding(steps)["why"].endswith(
        "; 12 users were decided, but no longer are by the replies that ended after they were left."
    )


def test_what_was_given_up_and_what_was_only_looked_at_are_told_apart() -> None:
    server = Server(9, grey=(10,))
    steps = play(server)
    assert search_finding(steps)["why"].endswith(
        "; 10 users could not be decided within 150 s: they are close to the boundary, or their replies too few."
    )
    server.said[9] = "unproven"
    steps.review(server)
    assert steps.undecided == [1, 2, 4, 8, 9, 10]
    assert search_finding(steps)["why"].partition("but ")[2] == (
        "10 users could not be decided within 150 s: they are close to the boundary, or their replies too few; "
        "9 users were decided, but no longer are by the replies that ended after they were left; "
        "1, 2, 4 and 8 users were only looked at, to find the way."
    )


def told_steps(steps: SearchSteps) -> list[Mapping[str, object]]:
    search = steps.as_json()["search"]
    assert isinstance(search, dict)
    return list(search["steps"])


def test_coming_down_it_waits_until_the_queue_is_gone() -> None:
    steps = play(Server(8, drains_in=40.0))
    down = [b for a, b in zip(steps.steps, steps.steps[1:], strict=False) if b.users < a.users]
    up = [b for a, b in zip(steps.steps, steps.steps[1:], strict=False) if b.users > a.users]
    assert down
    assert all(s.measured_from is not None and s.measured_from - s.entered >= 40 for s in down)
    assert all(s.measured_from is not None and s.measured_from - s.entered < 10 for s in up)


def test_users_that_never_come_end_it() -> None:
    steps = play(Server(8), obeys=False)
    assert (steps.outcome, steps.never_reached, steps.steps[-1].measured_from) == ("unreachable", [1], None)


def test_no_level_is_too_short_for_the_verdict_to_see() -> None:
    for plan in (PLAN, SearchPlan(2.0, 1.0, 3, 512, 3600.0)):
        for step in play(Server(6), plan).steps:
            assert step.left is not None
            assert step.measured_from is not None
            assert step.left - step.measured_from >= min(5.0, plan.hold / 2)


def test_it_says_where_it_is() -> None:
    server, said = Server(3), []
    steps = PLAN.begin()
    while (target := steps.target(server.now, steps.level, server)) is not None:
        assert target == steps.level
        if not said or said[-1] != steps.position:
            said.append(steps.position)
        server.now += 1.0
    assert said == [
        "search: nothing known yet; looking at 1",
        "search: 1 held; looking at 2",
        "search: 2 held; looking at 4",
        "search: 2 held, 4 failed; looking at 3",
        "search: 3 held, 4 failed; proving 3",
    ]
    assert steps.target(server.now, 4, server) is None


def test_what_the_manifest_is_told_is_documented() -> None:
    told = play(Server(3)).as_json()
    assert told["levels"] == [1, 2, 4, 3]
    search = told["search"]
    assert isinstance(search, dict)
    page = (DOCS / "run-directory.md").read_text(encoding="utf-8")
    part = page[page.index("### plan") : page.index("### workers")]
    for key in {*told, *search, *search["steps"][0]}:
        assert f"`{key}`" in part, key


def test_a_level_is_not_left_at_a_lucky_moment() -> None:
    """The blocks are clear, but what the verdict would say has only just changed."""

    class Fickle(Server):
        def _seen(self, since: float, users: int) -> Look:
            seen = super()._seen(since, users)
            late = self.now - since >= 40
            return Look("held" if late and users == 2 else "unproven" if users == 2 else seen.state, seen.blocks)

    step = next(s for s in play(Fickle(8)).steps if s.users == 2)
    assert step.left is not None
    assert step.measured_from is not None
    assert step.left - step.measured_from >= 40 + 2, "a block of two seconds more"


def test_a_level_that_is_left_at_a_glance_is_proven_only_if_it_has_been_so_for_two_blocks() -> None:
    class Late(Server):
        def _seen(self, since: float, users: int) -> Look:
            seen = super()._seen(since, users)
            return Look("unproven" if users == 9 and self.now - since < 5 else seen.state, seen.blocks)

    steps = play(Late(8))
    assert (steps.outcome, steps.proven) == ("closed", (8, 9))
    for step in (one for one in steps.steps if one.users == 9 and one.proven):
        assert step.left is not None
        assert step.measured_from is not None
        assert step.left - step.measured_from >= 5 + 2 * 2, "three clear blocks, the last of them steady, are not it"


def test_a_level_that_flickers_until_its_time_is_over_is_given_up_not_proven() -> None:
    class Flickering(Server):
        def _seen(self, since: float, users: int) -> Look:
            seen = super()._seen(since, users)
            return Look("unproven" if users == 8 and (self.now - since) % 2 else seen.state, seen.blocks)

    steps = play(Flickering(8))
    given_up = [step for step in steps.steps if step.users == 8]
    assert [(step.state, step.gave_up, step.proven) for step in given_up] == [("held", True, False)]
    assert given_up[0].odds.held >= 40, "the test alone would have proven it"
    assert (steps.outcome, steps.proven, steps.undecided) == ("enclosed", (4, 9), [8])


def test_without_blocks_of_this_visit_nothing_is_proven_by_those_of_earlier_ones() -> None:
    """At first it flickers, and when it is come back to, its replies take longer than the shortest level."""

    class Slow(Server):
        def _seen(self, since: float, users: int) -> Look:
            seen = super()._seen(since, users)
            if users != 12:
                return seen
            again = since > first.setdefault("since", since)
            if again:
                return Look("failed", tuple(b for b in seen.blocks if b.end > since + 30))
            return Look("unproven" if self.now - since < 5 else "failed", seen.blocks)

    first: dict[str, float] = {}
    steps = play(Slow(11))
    again = [step for step in steps.steps if step.users == 12][1:]
    assert again
    for step in again:
        assert step.left is not None
        assert step.measured_from is not None
        assert not step.proven or step.left - step.measured_from >= 30

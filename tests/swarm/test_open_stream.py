"""Segments of an open stream on the master, and the rates of a plan as Locust's load shape, with a fake clock."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.load.level_plan import LevelPlan
from probe_ext.measure.rate import Rate
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.message_shapes import FROM_MASTER
from probe_ext.swarm.master.load_shape import RateShape
from probe_ext.swarm.master.open_stream import LEAD_S, OpenStream
from probe_ext.swarm.users.arrivals import Arrivals
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.workload.arrival_times import ArrivalForm

TWO, FOUR = Rate.of(2), Rate.of(4)
LONG_AGO = -1e6


class Master:
    """A stream with a clock and workers, and the shape that drives it."""

    def __init__(self, plan: LevelPlan | None = None) -> None:
        self.now, self.present, self.announced = 0.0, ["a", "b"], 0
        self.stream = OpenStream(ArrivalForm("gamma", 2.0), 7, 10.0, lambda: self.now)
        self.stream.workers = lambda: self.present
        self.stream.announce = self.note
        self.runner = SimpleNamespace(user_count=0)
        if plan is not None:
            self.shape = RateShape(plan, 6, lambda: self.stream, lambda: self, lambda: False, lambda: self.now)
            self.shape.runner = self.runner

    def note(self) -> None:
        self.announced += 1

    # what the plan reads of the run: nothing is known of any level
    needed_share = 0.9

    def begin_visit(self, now: float, users: int) -> None: ...

    def end_visit(self, now: float, *, more_users: bool) -> None: ...

    def is_backed_up(self, level: int) -> bool:
        return False

    def estimate(self, now: float) -> Any:
        return SimpleNamespace(level=lambda users: None)

    def play(self, seconds: int) -> list[tuple[int, float] | None]:
        ticks = []
        for _ in range(seconds):
            ticks.append(self.shape.tick())
            self.now += 1.0
            self.runner.user_count = ticks[-1][0] if ticks[-1] else 0
        return ticks


def test_a_segment_is_announced_before_it_starts_and_only_when_something_changes():
    master = Master()
    master.stream.ask(TWO)
    master.stream.ask(TWO)
    assert [(one.rate, one.start) for one in master.stream.segments] == [(TWO, LEAD_S)]
    assert master.announced == 1
    assert (master.stream.rate_at(0.5), master.stream.rate_at(LEAD_S)) == (0, TWO)
    master.now = 10.0
    master.stream.ask(FOUR)
    assert master.stream.rate_at(10.5) == TWO
    assert master.stream.rate_at(11.0) == FOUR


def test_arrivals_are_shared_out_anew_when_a_worker_leaves():
    master = Master()
    master.stream.ask(TWO)
    master.now, master.present = 20.0, ["b"]
    master.stream.check_workers()
    assert [one.workers for one in master.stream.segments] == [("a", "b"), ("b",)]
    told = master.stream.message("b", 1000.0)
    assert [(one["index"], one["of"], one["start"]) for one in told["segments"]] == [(1, 2, 1001.0), (0, 1, 1021.0)]
    assert [one["index"] for one in master.stream.message("a", 0.0)["segments"]] == [0, None]


def test_arrivals_are_numbered_over_the_whole_run_whoever_takes_them():
    """Rates change, a worker leaves and another comes: every arrival has one number, and so one request."""

    def numbered(*present: list[str]) -> list[tuple[str, int, int]]:
        master = Master()
        master.stream.kinds = {"chat": 0.75, "review": 0.25}
        for number, (rate, workers) in enumerate(zip((FOUR, TWO, Rate(0), FOUR), present, strict=True)):
            master.now, master.present = 30.0 * number, workers
            master.stream.check_workers()
            master.stream.ask(rate)
        master.now = 120.0
        master.stream.ask(Rate(0))
        found: list[tuple[str, int, int]] = []
        for worker in {name for workers in present for name in workers}:
            arrivals = Arrivals(Recorder(worker), lambda one, *_: found.append((one.kind, one.in_run, one.in_kind)))
            for one in range(len(master.stream.segments)):
                stream = OpenStream(master.stream.form, 7, 10.0, lambda: 0.0, master.stream.kinds)
                stream.segments = master.stream.segments[: one + 1]
                arrivals.update(stream.message(worker, LONG_AGO))
            arrivals.stop()
        return sorted(found, key=lambda one: one[1])

    alone = numbered(*[["a"]] * 4)
    assert numbered(*[["a", "b", "c", "d"]] * 4) == alone
    for arrivals in (alone, numbered(["a", "b"], ["b"], ["b"], ["b", "c", "d"])):
        assert [in_run for _, in_run, _ in arrivals] == list(range(len(arrivals)))
        for kind in ("chat", "review"):
            of_kind = [in_kind for name, _, in_kind in arrivals if name == kind]
            assert of_kind == list(range(len(of_kind)))
            assert len(of_kind) > 20


def test_an_announcement_has_the_shape_that_workers_accept():
    master = Master()
    for _ in range(9):
        master.stream.ask(TWO)
        master.stream.ask(FOUR)
    told = {"run": "r", **master.stream.message("a", 5.0)}
    assert FROM_MASTER[messages.ARRIVALS](told)
    assert [one["number"] for one in told["segments"]] == [15, 16, 17]
    for wrong in ({"form": "weibull"}, {"cv": 1e9}, {"give_up": -1}, {"segments": [{"number": 0}]}, {"seed": None}):
        assert not FROM_MASTER[messages.ARRIVALS]({**told, **wrong})


def test_the_stream_ends_where_the_run_is_drained():
    master = Master()
    master.stream.ask(TWO)
    master.now = 30.0
    master.stream.stop()
    master.stream.ask(FOUR)
    assert (master.stream.rate_at(29.9), master.stream.rate_at(30.0)) == (TWO, 0)
    assert master.stream.as_json()["ended"] == 30.0
    assert master.stream.as_json()["segments"] == [{"rate": 2.0, "from": 1.0, "workers": ["a", "b"]}]


def test_slots_are_started_first_and_kept_while_the_rate_changes():
    plan = LevelPlan((TWO, FOUR), hold=10.0, settle=2.0, min_replies=3)
    master = Master(plan)
    ticks = master.play(40)
    running = [tick for tick in ticks if tick is not None]
    assert {slots for slots, _ in running} == {6}
    assert ticks[-1] is None
    segments = master.stream.segments
    assert [one.rate for one in segments] == [TWO, FOUR, 0]
    assert segments[0].start > 1.0, "not before all slots are there"
    held = [after.start - before.start for before, after in pairwise(segments)]
    assert all(seconds >= plan.settle + plan.hold for seconds in held)
    assert master.now > segments[-1].start


def test_the_run_goes_on_until_its_last_arrival_was_due():
    master = Master(LevelPlan((TWO,), hold=5.0, settle=1.0, min_replies=1))
    ticks = master.play(20)
    end = master.stream.segments[-1].start
    assert [tick is not None for tick in ticks] == [second < end for second in range(20)]


@pytest.mark.parametrize("present", [[], ["a"]])
def test_a_stream_without_its_workers_is_still_described(present):
    master = Master()
    master.present = present
    master.stream.ask(TWO)
    assert master.stream.as_json()["segments"][0]["workers"] == present

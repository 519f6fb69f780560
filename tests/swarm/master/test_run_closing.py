"""A run is closed once, even if a caller is killed while it is being closed."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import gevent
from gevent.event import Event
from swarm_fakes import environment

from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchPlan
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.coordinator import Coordinator
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.users.process_state import ProcessState


class SlowRun:
    """A run whose files are written only when allowed."""

    def __init__(self) -> None:
        self.begun, self.let = Event(), Event()
        self.ended: float | None = None
        self.closed = False
        self.times = 0

    def finish(self) -> None:
        self.times += 1
        self.ended = 1.0
        self.begun.set()
        self.let.wait()
        self.closed = True


def a_head() -> Any:
    return Coordinator(ProcessState(environment(SimpleNamespace(register_message=None)), "master"))


def test_run_is_closed_even_if_the_caller_is_killed() -> None:
    head, run = a_head(), SlowRun()
    head.run = run
    first = gevent.spawn(head.finish)
    run.begun.wait()
    first.kill()
    assert not run.closed
    run.let.set()
    assert head.finish() is run  # the next caller waits, and is the first to get it
    assert run.closed
    assert run.times == 1
    assert head.finish() is None


def test_only_one_of_two_callers_gets_the_run() -> None:
    head, run = a_head(), SlowRun()
    head.run = run
    both = [gevent.spawn(head.finish) for _ in range(2)]
    run.begun.wait()
    run.let.set()
    gevent.joinall(both)
    assert sorted(one.value is run for one in both) == [False, True]
    assert run.times == 1


def test_closes_the_next_run_too() -> None:
    head = a_head()
    for run in (SlowRun(), SlowRun()):
        head.run = run
        run.let.set()
        assert head.finish() is run
        assert head.finish() is None
        assert run.closed


def test_search_is_reviewed_between_last_replies_and_last_manifest() -> None:
    done: list[str] = []
    plan = SearchPlan(hold=30.0, settle=5.0, min_replies=3, max_users=8, longest=60.0)
    shape = LevelShape(plan, lambda: None, lambda: True, lambda: 0.0)
    run: Any = object.__new__(ActiveRun)
    for name in (
        "note_users",
        "_update_live",
        "tables",
        "_rows_reserve",
        "_manifest_reserve",
        "_report_reserve",
        "collector",
    ):
        setattr(run, name, MagicMock())
    run.ended, run.pollers, run._greenlets, run.now = None, {}, [], lambda: 60.0
    run.environment = SimpleNamespace(shape_class=shape)
    run.monitor = VisitMonitor(SloProfile.model_validate({"name": "any"}), 3)
    run.collector.close = lambda: done.append("closed")
    shape.steps.review = lambda now, heard: done.append("reviewed" if heard is run.monitor else "of another")  # type: ignore[union-attr,method-assign]
    run.write_manifest = lambda: done.append("written")
    run.finish()
    assert done == ["closed", "written", "reviewed", "written"]

"""Whoever is ended while a run is being closed, the run is closed all the same, and handed on once."""

from types import SimpleNamespace
from typing import Any

import gevent
from gevent.event import Event
from swarm_fakes import environment

from probe_ext.swarm.head import Head
from probe_ext.swarm.node import Node


class SlowRun:
    """A run whose files take until they are let."""

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
    return Head(Node(environment(SimpleNamespace(register_message=None)), "master"))


def test_a_caller_that_is_killed_meanwhile_leaves_the_run_to_be_closed_and_to_the_next() -> None:
    head, run = a_head(), SlowRun()
    head.run = run
    first = gevent.spawn(head.finish)
    run.begun.wait()
    first.kill()
    assert not run.closed
    run.let.set()
    assert head.finish() is run  # the next waits for it, and is the first to have it
    assert run.closed
    assert run.times == 1
    assert head.finish() is None


def test_of_two_who_wait_one_has_the_run() -> None:
    head, run = a_head(), SlowRun()
    head.run = run
    both = [gevent.spawn(head.finish) for _ in range(2)]
    run.begun.wait()
    run.let.set()
    gevent.joinall(both)
    assert sorted(one.value is run for one in both) == [False, True]
    assert run.times == 1


def test_the_next_run_is_closed_as_well() -> None:
    head = a_head()
    for run in (SlowRun(), SlowRun()):
        head.run = run
        run.let.set()
        assert head.finish() is run
        assert head.finish() is None
        assert run.closed

"""Which of Locust's events calls what on a worker."""

from typing import Any

import gevent
from locust.runners import WorkerRunner

from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.heartbeat import MasterWatch
from probe_ext.swarm.node import Node
from probe_ext.swarm.recorder import watch_loop
from probe_ext.swarm.signals import SignalEnd
from probe_ext.swarm.worker import WorkerEnd


def wire_worker(node: Node, runner: WorkerRunner) -> None:
    """Have a worker measure, tell, and leave in order."""
    end = WorkerEnd(node, runner)
    watch = MasterWatch(runner, lambda: gevent.spawn(runner.quit))
    gevent.spawn(watch.watch, gevent.sleep)
    gevent.spawn(lambda: watch_loop(lambda: node.recorder, gevent.sleep))

    def leave(**_: Any) -> None:
        end.leave(_drain_limit(node))

    def hurry() -> None:
        node.hurry = True

    listen = node.environment.events
    listen.test_start.add_listener(lambda **_: end.test_start())
    listen.test_stopping.add_listener(leave)
    listen.quitting.add_listener(leave)  # runs before Locust tells the master that we are gone
    SignalEnd(lambda _reason: gevent.spawn(runner.quit), hurry)


def _drain_limit(node: Node) -> float:
    try:
        return node.options.drain
    except SettingsError:
        return 0.0

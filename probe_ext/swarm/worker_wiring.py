"""Connect a worker to the package: which of Locust's events calls what."""

from functools import cache
from typing import Any

import gevent
from locust import argument_parser
from locust.runners import WorkerRunner

from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.terminal.signals import SignalEnd
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.users.recorder import watch_loop
from probe_ext.swarm.worker.master_watch import MasterWatch
from probe_ext.swarm.worker.session import WorkerSession


def wire_worker(process: ProcessState, runner: WorkerRunner) -> None:
    """Set up what measures, reports and ends a worker."""
    _cache_locust_defaults()
    session = WorkerSession(process, runner)
    watch = MasterWatch(runner, lambda: gevent.spawn(runner.quit))
    gevent.spawn(watch.watch, gevent.sleep)
    gevent.spawn(lambda: watch_loop(lambda: process.recorder, gevent.sleep))

    def leave(**_: Any) -> None:
        session.leave(_drain_limit(process))

    def force_stop() -> None:
        process.force_stop = True

    events = process.environment.events
    events.test_start.add_listener(lambda **_: session.test_start())
    events.test_stopping.add_listener(leave)
    events.quitting.add_listener(leave)  # before Locust tells the master that this worker quits
    SignalEnd(lambda _reason: gevent.spawn(runner.quit), force_stop)


def _cache_locust_defaults() -> None:
    """Cache Locust's defaults, for which it rebuilds its parser for each option of each spawn message.

    During a ramp that takes a quarter of a second of CPU each second: many workers on few cores would miss heartbeats.
    """
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)


def _drain_limit(process: ProcessState) -> float:
    try:
        return process.options.drain
    except SettingsError:
        return 0.0

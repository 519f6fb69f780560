"""Which of Locust's events calls what on a worker."""

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
    """Have a worker measure, tell, and leave in order."""
    _ask_locusts_defaults_once()
    end = WorkerSession(process, runner)
    watch = MasterWatch(runner, lambda: gevent.spawn(runner.quit))
    gevent.spawn(watch.watch, gevent.sleep)
    gevent.spawn(lambda: watch_loop(lambda: process.recorder, gevent.sleep))

    def leave(**_: Any) -> None:
        end.leave(_drain_limit(process))

    def force_stop() -> None:
        process.force_stop = True

    listen = process.environment.events
    listen.test_start.add_listener(lambda **_: end.test_start())
    listen.test_stopping.add_listener(leave)
    listen.quitting.add_listener(leave)  # runs before Locust tells the master that we are gone
    SignalEnd(lambda _reason: gevent.spawn(runner.quit), force_stop)


def _ask_locusts_defaults_once() -> None:
    """Locust builds its whole parser anew for each option of each spawn message: a quarter of a second of CPU, while a
    ramp sends one a second. Many workers on few cores then do nothing else, and are taken for gone.
    """
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)


def _drain_limit(process: ProcessState) -> float:
    try:
        return process.options.drain
    except SettingsError:
        return 0.0

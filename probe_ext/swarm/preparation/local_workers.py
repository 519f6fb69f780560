"""Worker processes on the master's machine: those that Locust forks with `--processes`, those of `probe worker`."""

import os
import signal
from collections.abc import Callable
from typing import Any

import gevent
import gevent.os

PARENT_VARIABLE = "PROBE_WORKER_PARENT"
"""pid of `probe worker --processes`, in the environment of the workers that it starts"""
_LOOK_EVERY_S = 1.0
_LOST_MASTER_GRACE_S = 5.0  # nobody takes its replies any more
_LOST_PARENT_GRACE_S = 60.0  # its master may well be there, and waits for replies in flight


def keep_exit_statuses() -> None:
    """Let Locust learn at the end of a run how each of its workers ended.

    gevent forgets that after a minute, and Locust then asks again and again for three seconds, with a traceback each
    time: a run that lost a worker would end in megabytes of them. There is one status for each worker.
    """
    module: Any = gevent.os
    if hasattr(module, "_reap_children"):
        module._reap_children = lambda timeout=60: None  # noqa: SLF001 - no public way


def end_forked_workers_with_master() -> None:
    """Have each worker that Locust forks from now on end with its master, however that ends.

    At its end, Locust's master takes a worker that is still running for one that has ended, and a killed master tells
    nobody. A worker that had not connected by then would go on trying for five minutes.
    """
    module: Any = gevent
    fork: Callable[[], int] = module.fork

    def fork_worker() -> int:
        parent = os.getpid()
        child = fork()
        if not child:
            end_with(parent, _LOST_MASTER_GRACE_S)
        return child

    module.fork = fork_worker


def end_with_parent_of_variable() -> None:
    """Have a worker of `probe worker --processes` end with the process that started it and passes signals on."""
    if parent := os.environ.get(PARENT_VARIABLE):
        end_with(int(parent), _LOST_PARENT_GRACE_S)


def end_with(parent: int, grace: float) -> None:
    """From now on, end this process by SIGTERM once its parent is no longer that process.

    `grace`: seconds until it gets another one, as the first lets replies in flight finish; the third ends it at once.
    """
    gevent.spawn(_watch, parent, grace)


def _watch(parent: int, grace: float) -> None:
    while os.getppid() == parent:
        gevent.sleep(_LOOK_EVERY_S)
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        gevent.sleep(grace)

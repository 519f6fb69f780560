"""Drain the workers at the end of a run: replies in flight may finish, then every worker sends its last batch."""

from collections.abc import Callable

import gevent
from locust.runners import MasterRunner

from probe_ext.measure import clock
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.users.process_state import ProcessState

_MARGIN_S = 10.0  # beyond the drain limit, for the last batches
_FORCED_MARGIN_S = 5.0  # after a second signal
_REPEAT_AFTER_S = 1.0  # without an answer


def drain_workers(run: ActiveRun, workers: Workers, process: ProcessState, announce_run: Callable[[], None]) -> None:
    """Ask all workers to drain, again and again, until none is pending or time is up."""
    runner, limit = process.environment.runner, run.options.drain
    begun = asked = clock.monotonic()
    until, stopping = begun + limit + _MARGIN_S, False
    _ask(runner, run, limit)
    while clock.monotonic() < until and (pending := _pending(runner, run, workers)):
        if process.force_stop and not stopping:
            stopping, until = True, min(until, clock.monotonic() + _FORCED_MARGIN_S)
            _ask(runner, run, 0)
        now = clock.monotonic()
        if now - asked >= _REPEAT_AFTER_S:
            asked = now
            announce_run()
            left = 0.0 if stopping else max(0.0, limit - (now - begun))
            for worker_id in pending:
                _ask(runner, run, left, worker_id)
        gevent.sleep(0.05)


def _ask(runner: MasterRunner, run: ActiveRun, limit: float, worker_id: str | None = None) -> None:
    data = {"run": run.id, "limit": limit, "again": worker_id is not None}
    runner.send_message(messages.DRAIN, data, worker_id)


def _pending(runner: MasterRunner, run: ActiveRun, workers: Workers) -> list[str]:
    """Return the connected workers from which some batch is still missing."""
    return [
        worker_id
        for worker_id, worker in workers.known.items()
        if worker_id in runner.clients
        and not worker.absences.away
        and not (worker.last_batch is not None and run.collector.has_all(worker_id, worker.last_batch))
    ]

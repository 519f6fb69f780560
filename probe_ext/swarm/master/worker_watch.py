"""Watch the workers during a run: greet new ones again, measure clocks, and note when contact is lost."""

import logging
from typing import Any

import gevent
from locust.env import Environment
from locust.exception import RPCError

from probe_ext.swarm.link.lobby import Lobby
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.admission import Admission

logger = logging.getLogger(__name__)

TICK_S = 1.0
_CLOCK_EVERY_TICKS = 10
HELLO_GRACE_TICKS = 3  # a new worker may still be setting itself up before it says hello


class WorkerWatch:
    """Checks on every worker once a second."""

    def __init__(self, environment: Environment, workers: Workers, admission: Admission, lobby: Lobby) -> None:
        self._runner = environment.runner
        self._workers, self._admission, self._lobby = workers, admission, lobby

    def tick(self) -> None:
        """Ping workers whose hello was lost, and measure clocks again."""
        for worker_id in self._lobby.turn(HELLO_GRACE_TICKS):
            self._admission.ping(worker_id)
        for worker_id in list(self._runner.clients):
            worker = self._workers.join(worker_id)
            worker.ticks += 1
            if not worker.clock_known and worker.ticks > HELLO_GRACE_TICKS:
                self._admission.ping(worker_id)
            elif worker.clock and worker.ticks % _CLOCK_EVERY_TICKS == 0:
                gevent.spawn(self._admission.measure_clock, worker_id)

    def note_absences(self) -> None:
        """Note participants that Locust has lost contact with."""
        clients = self._runner.clients
        missing = {client.id for client in clients.missing}
        for worker_id, worker in self._workers.known.items():
            if worker.begun_at is None or worker.last_batch is not None:
                continue
            if worker_id in missing or worker_id not in clients:
                if not worker.absences.away:
                    logger.warning("lost contact with worker %s on %s", worker_id, worker.host)
                worker.absences.disconnect()

    def on_heartbeat(self, run: ActiveRun, worker_id: str) -> None:
        """Note that Locust has answered a worker's heartbeat."""
        worker = self._workers.known.get(worker_id)
        if worker is not None:
            if worker.absences.away:
                logger.warning("worker %s on %s reconnected", worker_id, worker.host)
            worker.absences.reconnect(run.now())


def keep(tick: Any) -> None:
    """Call `tick` once a second, for ever."""
    while True:
        gevent.sleep(TICK_S)
        try:
            tick()
        except RPCError as error:  # Locust repairs its connections itself
            logger.warning("probe: %s; trying again", error)

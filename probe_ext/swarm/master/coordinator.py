"""The master's side, and a lone Locust's: starts runs, gathers what workers say, and ends runs without losing a row."""

import logging
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.run.directory import DEFAULT_PARENT
from probe_ext.swarm.link import clock_sync, messages
from probe_ext.swarm.link.compatibility import Side, doubt, refusal
from probe_ext.swarm.link.workers import Worker, Workers
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.users.drain import drain
from probe_ext.swarm.users.endpoint import has_key
from probe_ext.swarm.users.process_state import ProcessState

logger = logging.getLogger(__name__)

WORKERS_LOST = "workers_lost"
"""end_reason of a run that nobody was left to go on with"""
WORKERS_LEFT = "workers_left"
"""the same where all of them went in good order"""
_TOGETHER = 2.0
"""seconds within which a signal that went to master and workers alike has reached all of them"""
_PINGS = 5
"""at a time: the one with the shortest way holds"""
_MEASURED_EVERY = 10
"""looks at a worker between two measurements of its clock"""
_MARGIN = 10.0
"""seconds beyond the drain limit that the master waits for workers' last words"""
HELLO_GRACE_TICKS = 3
"""looks at a new worker before it is spoken to unasked: it may still be setting itself up"""
_AGAIN = 1.0
"""seconds after which the master says again what a worker has not answered"""


class Coordinator:
    """Starts runs and ends them. `local` where one Locust does everything."""

    def __init__(self, node: ProcessState) -> None:
        self.node = node
        self.workers = Workers()
        self.run: ActiveRun | None = None
        self.signalled: str | None = None
        """`interrupted` or `terminated`, once a signal asked for the end"""
        self._one_at_a_time = BoundedSemaphore()
        self._finishing: tuple[ActiveRun, Any] | None = None
        self._finished: ActiveRun | None = None
        runner = node.environment.runner
        self.local = isinstance(runner, LocalRunner)
        if isinstance(runner, MasterRunner):
            runner.register_message(messages.PONG, self._on_pong)
            runner.register_message(messages.BATCH, self._on_batch)
            runner.register_message(messages.DRAINED, self._on_drained)
            runner.register_message(messages.HELLO, self._on_hello)
            node.environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
            gevent.spawn(self._watch_workers)

    def begin(self, run: ActiveRun) -> None:
        """A run has been set up: tell who will have users."""
        self.run = run
        for peer in self.workers.known.values():
            peer.new_run()
        if self.local:
            peer = self.workers.join(self.node.worker)
            peer.same_clock, peer.host, peer.version = True, platform.node(), __version__
            peer.begun_at = clock_sync.SAME_CLOCK
            self.node.fresh_recorder().begin(run.id, run.origin, None, run.options.timeout_total, run.deadlines)
            gevent.spawn(self._keep_local, run)
        else:
            for worker in self.node.environment.runner.clients:
                self._ping_once(worker)  # clocks drift apart while nobody measures
            self._tell_late_ones()

    def _keep_local(self, run: ActiveRun) -> None:
        while run.ended is None:
            gevent.sleep(1.0)
            self._take_local(run)

    def _take_local(self, run: ActiveRun) -> None:
        recorder = self.node.recorder
        recorder.flush()
        for number in list(recorder.unacknowledged):
            run.collector.accept(recorder.unacknowledged.pop(number))

    def _tell_begin(self, worker: str) -> None:
        run, peer = self.run, self.workers.known[worker]
        if run is None or run.ended is not None or not peer.measured or peer.refused or not self._is_here(worker):
            return
        if peer.begun_at is None:  # told again, it is told the same
            peer.begun_at = peer.offset(clock.monotonic())
            peer.absences.hear(run.now())
        directory = run.directory.resolve()
        if not peer.same_clock:  # another machine: under its own folders, by the name of this run
            directory = Path(run.options.out or DEFAULT_PARENT / run.id).with_name(run.directory.name)
        data = {"run": run.id, "origin": run.origin + peer.begun_at.seconds, "directory": str(directory)}
        data["longest"] = run.options.timeout_total
        data["deadlines"] = asdict(run.deadlines) if run.deadlines else None
        self.node.environment.runner.send_message(messages.BEGIN, data, worker)

    def _is_here(self, worker: str) -> bool:
        clients = self.node.environment.runner.clients
        return worker in clients and clients[worker].state != STATE_MISSING

    def drain(self) -> None:
        """Before users are taken away: let replies finish, and wait for every last word.

        Several may ask (a signal, Locust, the web UI): the later ones wait for the first, and find nothing to do.
        """
        with self._one_at_a_time:
            run = self.run
            if run is None or run.drained:
                return
            if not self.local:
                self._note_absences(run)
            if run.end_reason is None:
                run.end_reason = self._reason()
            if self.signalled:
                self._forgive_leaving_with_us(run)
            run.note_users()  # nobody asks anew from here on: what follows is no part of a level
            run.write_manifest()  # draining may take long: a kill meanwhile is no end without a reason
            if self.local:
                self._drain_local(run)
            else:
                self._drain_workers(run)
            run.drained = True

    def _reason(self) -> str:
        shape = self.node.environment.shape_class
        if self.signalled:
            return self.signalled
        if isinstance(shape, LevelShape) and shape.finished:
            return "search_done" if shape.searching else "levels_done"
        if not self.local and not self.node.environment.runner.worker_count:
            return WORKERS_LEFT if self.workers.last_left_in_order else WORKERS_LOST
        headless = self.node.environment.parsed_options.headless
        return "run_time" if headless else "stopped"

    def _forgive_leaving_with_us(self, run: ActiveRun) -> None:
        """A terminal's Ctrl-C goes to all of its processes: who heard it first did not leave a run that goes on."""
        for peer in self.workers.known.values():
            if peer.left_at is not None and run.now() - peer.left_at < _TOGETHER:
                peer.left_at = None

    def _drain_local(self, run: ActiveRun) -> None:
        drain(self.node.recorder, run.options.drain, gevent.sleep, lambda: self.node.force_stop)
        self._take_local(run)
        self.workers.known[self.node.worker].drained = self.node.recorder.last_number

    def _drain_workers(self, run: ActiveRun) -> None:
        begun = clock.monotonic()
        self._ask_to_drain(run, run.options.drain)
        asked, hurried = begun, False
        while clock.monotonic() - begun < run.options.drain + _MARGIN and (silent := self._silent(run)):
            if self.node.force_stop and not hurried:
                hurried = True
                self._ask_to_drain(run, 0)
            now = clock.monotonic()
            if now - asked >= _AGAIN:
                asked = now
                self._tell_late_ones()
                left = 0.0 if hurried else max(0.0, run.options.drain - (now - begun))
                for worker in silent:
                    self._ask_to_drain(run, left, worker)
            gevent.sleep(0.05)

    def _ask_to_drain(self, run: ActiveRun, limit: float, worker: str | None = None) -> None:
        data = {"run": run.id, "limit": limit, "again": worker is not None}
        self.node.environment.runner.send_message(messages.DRAIN, data, worker)

    def _silent(self, run: ActiveRun) -> list[str]:
        """The workers whose last word is not whole yet, and may still come."""
        live = set(self.node.environment.runner.clients)
        return [
            worker
            for worker, peer in self.workers.known.items()
            if worker in live
            and not peer.absences.away
            and not (peer.drained is not None and run.collector.has_all(worker, peer.drained))
        ]

    def _tell_late_ones(self) -> None:
        """Tell workers of the run that have not shown yet that they know of it."""
        run = self.run
        if run is None or run.ended is not None:
            return
        for worker in list(self.workers.known):
            if worker not in run.collector.told:
                self._tell_begin(worker)

    def finish(self) -> ActiveRun | None:
        """After users are gone: close the run. The run, to the first who sees it closed.

        In a greenlet of its own: Locust ends whoever calls this, when it leaves meanwhile for another reason.
        """
        run = self.run
        if run is None or run is self._finished:
            return None
        if self._finishing is None or self._finishing[0] is not run:
            self._finishing = run, gevent.spawn(self._close, run)
        self._finishing[1].join()
        if run is self._finished:
            return None
        self._finished = run
        return run

    def _close(self, run: ActiveRun) -> None:
        with self._one_at_a_time:
            if self.local:
                self._take_local(run)
            run.finish()

    def _on_hello(self, msg: Any, **_: Any) -> None:
        self.workers.join(msg.node_id)
        gevent.spawn(self._ping, msg.node_id)

    def _ping(self, worker: str) -> None:
        for _ in range(_PINGS):
            self._ping_once(worker)
            gevent.sleep(0.05)

    def _ping_once(self, worker: str) -> None:
        self.node.environment.runner.send_message(messages.PING, messages.ping(), worker)

    def _on_pong(self, msg: Any, **_: Any) -> None:
        back, data = clock.monotonic(), msg.data
        peer = self.workers.join(msg.node_id)
        peer.host, peer.version = data["host"], data["version"]
        master, worker = Side(__version__, has_key()), Side(peer.version, bool(data.get("key")))
        if why := refusal(master, worker):
            self._refuse(peer, why[1])
            return
        if not peer.measured and (why := doubt(master, worker)):
            logger.warning("worker %s on %s: %s", peer.id, peer.host, why[1])
        first, measured = not peer.measured, clock_sync.offset(data["t"], back, data["mono"])
        if first:
            same = data["clock"] != "" and data["clock"] == messages.clock_name()
            peer.same_clock = same and abs(measured.seconds) <= measured.error
        if not peer.same_clock:
            peer.clock.add((data["t"] + back) / 2, measured)
        if first:
            self._tell_begin(msg.node_id)  # it may have joined in the middle of a run

    def _refuse(self, peer: Worker, why: str) -> None:
        runner = self.node.environment.runner
        if not peer.refused:
            peer.refused = True
            logger.error("worker %s on %s: refused: %s", peer.id, peer.host, why)
        runner.send_message("quit", None, peer.id)
        runner.handle_message(peer.id, Message("quit", None, peer.id))  # it counts for nobody, from now on

    def _on_batch(self, msg: Any, **_: Any) -> None:
        if self.run is not None:
            self.run.collector.accept(msg.data)
        self.node.environment.runner.send_message(
            messages.ACK, {"run": msg.data["run"], "number": msg.data["number"]}, msg.node_id
        )

    def _on_drained(self, msg: Any, **_: Any) -> None:
        if self.run is not None and msg.data["run"] == self.run.id:
            peer = self.workers.join(msg.node_id)
            peer.drained = msg.data["last"]
            if peer.left_at is None and self.run.end_reason is None and not self.signalled:
                peer.left_at = self.run.now()
                logger.warning("worker %s on %s leaves, with its last word", peer.id, peer.host)

    def _watch_workers(self) -> None:
        """Greet workers whose hello was lost, tell of the run who has not heard, notice whom Locust hears no more."""
        while True:
            gevent.sleep(_AGAIN)
            try:
                self.look_after_workers()
            except RPCError as error:  # Locust mends its connections itself
                logger.warning("probe: %s; the workers are looked after again soon", error)

    def look_after_workers(self) -> None:
        """One look at every worker."""
        clients = self.node.environment.runner.clients
        for worker in list(clients):
            peer = self.workers.join(worker)
            peer.looks += 1
            if not peer.measured and peer.looks > HELLO_GRACE_TICKS:
                self._ping_once(worker)
            elif peer.clock and (peer.looks % _MEASURED_EVERY) == 0:
                gevent.spawn(self._ping, worker)
        self._tell_late_ones()
        run = self.run
        if run is not None and not run.drained:
            self._note_absences(run)

    def _note_absences(self, run: ActiveRun) -> None:
        clients = self.node.environment.runner.clients
        missing = {client.id for client in clients.missing}
        for worker, peer in self.workers.known.items():
            if peer.begun_at is not None and peer.drained is None and (worker in missing or worker not in clients):
                if not peer.absences.away:
                    logger.warning("worker %s on %s is not heard any more", worker, peer.host)
                peer.absences.miss()

    def _on_heartbeat(self, client_id: str, **_: Any) -> None:
        """Locust has answered a worker's heartbeat."""
        run = self.run
        if run is not None and not run.drained and client_id in self.workers.known:
            peer = self.workers.known[client_id]
            if peer.absences.away:
                logger.warning("worker %s on %s is heard again", client_id, peer.host)
            peer.absences.hear(run.now())

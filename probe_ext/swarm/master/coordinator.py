"""Coordinate a run from the master or a single-process Locust: announce it, collect rows, and end it without loss."""

import logging
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust.runners import STATE_MISSING, LocalRunner, MasterRunner

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.run.directory import DEFAULT_PARENT
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.clock_sync import SAME_CLOCK
from probe_ext.swarm.link.message_filter import MasterFilter
from probe_ext.swarm.link.workers import Worker, Workers
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.admission import Admission
from probe_ext.swarm.master.draining import drain_workers
from probe_ext.swarm.master.file_agreement import Files, await_agreement
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.run_phase import Phase, RunPhase
from probe_ext.swarm.master.worker_watch import WorkerWatch, keep
from probe_ext.swarm.users.drain import drain
from probe_ext.swarm.users.process_state import ProcessState

logger = logging.getLogger(__name__)

WORKERS_LOST = "workers_lost"
"""end_reason of a run whose last worker was lost"""
WORKERS_LEFT = "workers_left"
"""end_reason of a run whose last worker left gracefully"""
_SIGNAL_SPREAD_S = 2.0  # within which one Ctrl-C has reached master and workers alike


class Coordinator:
    """Begins and ends runs. `local`: users run in this process."""

    def __init__(self, process: ProcessState, phase: RunPhase | None = None) -> None:
        self.process = process
        self.phase = phase or RunPhase()
        self.workers = Workers()
        self.run: ActiveRun | None = None
        self.signal_reason: str | None = None
        """`interrupted` or `terminated`, once a signal has asked for the end"""
        self.prompt_files: Files = ()
        """files that every worker must have, too, as prepared for the run"""
        self._lock = BoundedSemaphore()
        self._returned: ActiveRun | None = None
        """the run that `finish` has returned"""
        self._runner = process.environment.runner
        self.local = isinstance(self._runner, LocalRunner)
        if isinstance(self._runner, MasterRunner):
            self.filter = MasterFilter(self._runner, self._is_known, self.workers.dropped)
            self._runner.register_message(messages.BATCH, self._on_batch)
            self._runner.register_message(messages.DRAINED, self._on_drained)
            process.environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
            self._admission = Admission(
                self._runner,
                self.workers,
                self.filter.admit,
                self._announce_to,
                lambda: process.options.header_env,
                lambda: self.prompt_files,
            )
            self._watch = WorkerWatch(process.environment, self.workers, self._admission, self.filter.lobby)
            gevent.spawn(lambda: keep(self.tick))

    def _is_known(self, worker_id: str) -> bool:
        """Whether a worker has joined, be it out of contact now, and was not refused."""
        worker = self.workers.known.get(worker_id)
        return worker_id in self._runner.clients or (worker is not None and not worker.refused)

    def tick(self) -> None:
        """Check on every worker."""
        self._watch.tick()
        self._announce()
        if self.run is not None and self.run.stream is not None:
            self.run.stream.check_workers()
            self._announce_arrivals()
        if self.phase.now in {Phase.RUNNING, Phase.DRAINING}:
            self._watch.note_absences()

    def await_files(self) -> None:
        """Wait until every connected worker has compared its prompt files. SettingsError names one that has others."""
        if self.prompt_files and not self.local:
            await_agreement(self.prompt_files, self._present, self._admission.ping, gevent.sleep)

    def _present(self) -> list[Worker]:
        clients = self._runner.clients
        known = [worker for worker in self.workers.known.values() if worker.id in clients]
        return [worker for worker in known if clients[worker.id].state != STATE_MISSING]

    def begin(self, run: ActiveRun) -> None:
        """Begin a run, and announce it to every process that will run users."""
        self.run = run
        self.phase.enter(Phase.RUNNING)
        if run.stream is not None:
            run.stream.announce, run.stream.workers = self._announce_arrivals, self._sending_workers
        for worker in self.workers.known.values():
            worker.start_run()
        if self.local:
            worker = self.workers.join(self.process.worker)
            worker.same_clock, worker.host, worker.version = True, platform.node(), __version__
            worker.begun_at = SAME_CLOCK
            recorder, longest = self.process.reset_recorder(), run.options.timeout_total
            recorder.begin(run.id, run.origin, None, longest, run.deadlines, follow=run.options.search)
            gevent.spawn(self._keep_local, run)
        else:
            for worker_id in self._runner.clients:
                self._admission.ping(worker_id)  # clocks have drifted since they were last measured
            self._announce()

    def _keep_local(self, run: ActiveRun) -> None:
        while run.ended is None:
            gevent.sleep(1.0)
            self._collect_local(run)

    def _collect_local(self, run: ActiveRun) -> None:
        recorder = self.process.recorder
        recorder.flush()
        for number in list(recorder.unacknowledged):
            run.collector.accept(recorder.unacknowledged.pop(number))

    def _announce(self) -> None:
        """Announce the run to workers that have sent nothing of it yet."""
        if self.run is not None and self.run.ended is None:
            for worker_id in list(self.workers.known):
                if worker_id not in self.run.collector.reported:
                    self._announce_to(worker_id)

    def _announce_to(self, worker_id: str) -> None:
        run, worker, clients = self.run, self.workers.known[worker_id], self._runner.clients
        if run is None or run.ended is not None or not worker.clock_known or worker.refused:
            return
        if worker_id not in clients or clients[worker_id].state == STATE_MISSING:
            return
        if worker.begun_at is None:  # a repeated announcement says the same
            worker.begun_at = worker.clock_offset(clock.monotonic())
            worker.absences.reconnect(run.now())
        directory = run.directory.resolve()
        if not worker.same_clock:  # another machine: below its own working directory, by the run's name
            directory = Path(run.options.out or DEFAULT_PARENT / run.id).with_name(run.directory.name)
        data = {
            "run": run.id,
            "origin": run.origin + worker.begun_at.seconds,
            "directory": str(directory),
            "longest": run.options.timeout_total,
            "deadlines": asdict(run.deadlines) if run.deadlines else None,
            "follow": run.options.search,
        }
        self._runner.send_message(messages.BEGIN, data, worker_id)

    def _sending_workers(self) -> list[str]:
        """Return the processes that have users and know the time."""
        if self.local:
            return [self.process.worker]
        clients, known = self._runner.clients, self.workers.known
        alive = [one.id for one in clients.values() if one.state != STATE_MISSING and one.user_count]
        return [
            one for one in alive if one in known and known[one].begun_at is not None and not known[one].absences.away
        ]

    def _announce_arrivals(self) -> None:
        """Tell all workers the newest segments of an open stream; repeated, as any message may be lost."""
        run = self.run
        if run is None or run.stream is None or not run.stream.segments or self.phase.now is not Phase.RUNNING:
            return
        if self.local:
            self.process.arrivals.update(run.stream.message(self.process.worker, run.origin))
            return
        for worker_id in run.stream.segments[-1].workers:
            offset = self.workers.known[worker_id].clock_offset(clock.monotonic())
            data = {"run": run.id, **run.stream.message(worker_id, run.origin + offset.seconds)}
            self._runner.send_message(messages.ARRIVALS, data, worker_id)

    def drain(self) -> None:
        """Before users are stopped: let replies finish, and wait for every worker's last batch.

        Callers may be several (a signal, Locust, the web UI): later ones wait for the first, and have nothing to do.
        """
        with self._lock:
            run = self.run
            if run is None or self.phase.now not in {Phase.RUNNING, Phase.DRAINING}:
                return
            self.phase.enter(Phase.DRAINING)
            if not self.local:
                self._watch.note_absences()
            if run.end_reason is None:
                run.end_reason = self._end_reason()
            if self.signal_reason:
                self._forgive_leaving_with_us(run)
            if run.stream is not None:
                run.stream.stop()
            run.note_users()  # no new request from here on: what follows belongs to no level
            run.write_manifest()  # draining may take long: a kill meanwhile must not lose the reason
            if self.local:
                self.process.arrivals.stop()
                drain(self.process.recorder, run.options.drain, gevent.sleep, lambda: self.process.force_stop)
                self._collect_local(run)
                self.workers.known[self.process.worker].last_batch = self.process.recorder.last_number
            else:
                drain_workers(run, self.workers, self.process, self._announce)
            self.phase.enter(Phase.DRAINED)

    def _end_reason(self) -> str:
        shape = self.process.environment.shape_class
        if self.signal_reason:
            return self.signal_reason
        if isinstance(shape, LevelShape) and shape.finished:
            return "search_done" if shape.searching else "levels_done"
        if not self.local and not self._runner.worker_count:
            return WORKERS_LEFT if self.workers.last_left_gracefully else WORKERS_LOST
        return "run_time" if self.process.environment.parsed_options.headless else "stopped"

    def _forgive_leaving_with_us(self, run: ActiveRun) -> None:
        """One Ctrl-C reaches all processes of a terminal: a worker that got it first did not leave a running test."""
        for worker in self.workers.known.values():
            if worker.left_at is not None and run.now() - worker.left_at < _SIGNAL_SPREAD_S:
                worker.left_at = None

    def finish(self) -> ActiveRun | None:
        """After users are gone: close the run, and return it to the first caller that sees it closed.

        Closing has its own greenlet, as Locust may kill the caller.
        """
        run = self.run
        if run is None or run is self._returned:
            return None
        gevent.spawn(self._close, run).join()
        if run is self._returned:
            return None
        self._returned = run
        return run

    def _close(self, run: ActiveRun) -> None:
        with self._lock:
            if run.ended is not None:
                return
            self.phase.enter(Phase.CLOSING)
            if self.local:
                self._collect_local(run)
            try:
                run.finish()
            finally:
                self.phase.enter(Phase.IDLE)  # or no other run could begin

    def _on_batch(self, msg: Any, **_: Any) -> None:
        kept = self.run is not None and self.run.collector.accept(msg.data)
        acknowledged = {"run": msg.data["run"], "number": msg.data["number"], "kept": kept}
        self._runner.send_message(messages.ACK, acknowledged, msg.node_id)

    def _on_drained(self, msg: Any, **_: Any) -> None:
        if self.run is not None and msg.data["run"] == self.run.id:
            worker = self.workers.join(msg.node_id)
            worker.last_batch = msg.data["last"]
            if worker.left_at is None and self.run.end_reason is None and not self.signal_reason:
                worker.left_at = self.run.now()
                logger.warning("worker %s on %s left gracefully", worker.id, worker.host)

    def _on_heartbeat(self, client_id: str, **_: Any) -> None:
        if self.run is not None and self.phase.now in {Phase.RUNNING, Phase.DRAINING}:
            self._watch.on_heartbeat(self.run, client_id)

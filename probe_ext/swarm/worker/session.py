"""A worker's session with its master: answer pings, join runs, send batches until acknowledged, drain."""

import logging
import math
import os
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust.exception import RPCError
from locust.runners import WorkerRunner

from probe_ext import __version__
from probe_ext.exit_codes import ExitCode
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.secrets import has_api_key, is_set
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.compatibility import Side, doubt, refusal
from probe_ext.swarm.link.message_filter import WorkerFilter
from probe_ext.swarm.terminal.console import ANNOUNCE_VARIABLE, print_line
from probe_ext.swarm.users.drain import drain
from probe_ext.swarm.users.kind_classes import install_kinds
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.worker.file_comparison import FileComparison
from probe_ext.tls_trust import TlsFileError, client_context
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.workload.workload_file import Workload

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0
_RESEND_AFTER_S = 5.0
_MAX_BATCHES_PER_TURN = 50  # repetitions must not fill up the queue of a broken connection
_ACKNOWLEDGE_TIMEOUT_S = 5.0  # for the last batches of a worker that exits by itself


class WorkerSession:
    """Handles the master's messages."""

    def __init__(self, process: ProcessState, runner: WorkerRunner) -> None:
        self._process = process
        self._runner = runner
        self._sent: dict[int, float] = {}
        """when each unacknowledged batch was last sent"""
        self._lock = BoundedSemaphore()
        self._drained_run: str | None = None
        """id of the last run that was drained"""
        self._late_replies = 0
        """that the master got too late for its run, and nobody was told of yet"""
        self._unconfirmed = 0
        """replies that the master had not confirmed when this worker last left"""
        self._refused = self._joined = False
        self._files = FileComparison(process.prompt_files.difference, lambda: runner.send_message(messages.HELLO))
        self._announces = os.environ.get(ANNOUNCE_VARIABLE) == "1"
        self.filter = WorkerFilter(runner)
        runner.register_message(messages.PING, self._on_ping)
        runner.register_message(messages.BEGIN, self._on_begin)
        runner.register_message(messages.ARRIVALS, self._on_arrivals)
        runner.register_message(messages.ACK, self._on_ack)
        runner.register_message(messages.DRAIN, self._on_drain, concurrent=True)
        runner.send_message(messages.HELLO)
        gevent.spawn(self._keep_sending)

    def test_start(self) -> None:
        """Locust starts the test here; the master's announcement of the run usually came before."""
        options = self._process.read_options()
        self._process.forget_run()
        if workload := self._process.prepared.get("workload"):
            install_kinds(self._runner.environment, Workload.of_message(workload))
        try:
            client_context(options.tls)
        except TlsFileError as error:  # its users report it with every reply
            print_line(f"{error}: each worker needs this file at the same path")
        if self._process.recorder.ending:
            self._reset()

    def _reset(self) -> None:
        self._process.recorder.close()
        self._process.reset_recorder()
        self._sent.clear()

    def _on_ping(self, msg: Any, **_: Any) -> None:
        missing = tuple(name for name in msg.data.get("variables", ()) if not is_set(name))
        compared = self._files.result(msg.data.get("files", ()))
        self._runner.send_message(messages.PONG, messages.pong(msg.data["t"], missing, compared))
        if self._joined or self._refused or compared is None:
            return
        master = Side(msg.data["version"], bool(msg.data.get("key")))
        worker = Side(__version__, has_api_key(), missing, tuple(compared["problems"]))
        if why := refusal(master, worker):
            self._refused = True
            print_line(why[0])
            self._runner.environment.process_exit_code = ExitCode.USAGE
            gevent.spawn(self._runner.quit)
            return
        self._joined = True
        if self._announces:
            address = f"{self._runner.master_host}:{self._runner.master_port}"
            print_line(f"joined the master at {address}; waiting for a run")
        if why := doubt(master, worker):
            print_line(why[0])

    def _on_begin(self, msg: Any, **_: Any) -> None:
        run = msg.data["run"]
        if self._process.recorder.run == run:
            return
        if self._process.recorder.run is not None:
            self._reset()
        out = msg.data["directory"]
        longest = msg.data.get("longest", math.inf)
        due = msg.data.get("deadlines")
        deadlines = Deadlines(**due) if due else None
        directory, follow = Path(out) if out else None, msg.data.get("follow", False)
        self._process.recorder.begin(run, msg.data["origin"], directory, longest, deadlines, follow=follow)
        if self._announces:
            print_line(f"run {run} started")

    def _on_arrivals(self, msg: Any, **_: Any) -> None:
        if msg.data["run"] == self._process.recorder.run and not self._process.recorder.ending:
            self._process.arrivals.update(msg.data)

    def _on_ack(self, msg: Any, **_: Any) -> None:
        recorder = self._process.recorder
        if msg.data["run"] != recorder.run:
            return
        batch = recorder.unacknowledged.pop(msg.data["number"], None)
        if batch is not None and not msg.data["kept"]:
            self._late_replies += len(batch["rows"])
        if self._late_replies and not recorder.unacknowledged:
            late, self._late_replies = things(self._late_replies, "reply", "replies"), 0
            print_line(f"{late} reached the master after its run had ended; backup: {recorder.backup}")

    def _on_drain(self, msg: Any, **_: Any) -> None:
        if msg.data["run"] == self._process.recorder.run:
            self._process.force_stop = self._process.force_stop or msg.data["limit"] == 0
            self.drain(msg.data["limit"])
            if msg.data.get("again"):
                self._repeat()

    def drain(self, limit: float) -> None:
        """Drain, then send everything, Locust's own statistics too, so that the master's totals are complete.

        Callers may be several (the master, a signal, Locust): later ones wait for the first, and have nothing to do.
        """
        with self._lock:
            recorder = self._process.recorder
            if recorder.run is None or recorder.run == self._drained_run:
                return
            self._process.arrivals.stop()
            drain(recorder, limit, gevent.sleep, lambda: self._process.force_stop)
            self._send_due()
            stats: dict[str, Any] = {}
            self._process.environment.events.report_to_master.fire(client_id=self._runner.client_id, data=stats)
            self._runner.send_message("stats", stats)
            self._send_drained()
            self._drained_run = recorder.run
            if self._announces:
                print_line(f"run {recorder.run} finished on this worker")

    def _send_drained(self) -> None:
        recorder = self._process.recorder
        last = {"run": recorder.run, "worker": recorder.worker, "last": recorder.last_number}
        self._runner.send_message(messages.DRAINED, last)

    def _repeat(self) -> None:
        """Send again what the master is missing."""
        self._sent.clear()
        self._send_due()
        self._send_drained()

    def leave(self, limit: float) -> None:
        """Drain before this worker exits by itself, and wait briefly for acknowledgements."""
        self.drain(limit)
        until = clock.monotonic() + _ACKNOWLEDGE_TIMEOUT_S
        while self._process.recorder.unacknowledged and clock.monotonic() < until:
            gevent.sleep(0.05)
        unsent = sum(len(batch["rows"]) for batch in self._process.recorder.unacknowledged.values())
        if unsent and unsent != self._unconfirmed:  # Locust has a worker leave twice: the test, and the process
            what = f"{things(unsent, 'reply', 'replies')} not confirmed by the master"
            print_line(f"{what}; backup: {self._process.recorder.backup}")
        self._unconfirmed = unsent
        self._process.recorder.close()

    def _keep_sending(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            self._process.recorder.flush()
            try:
                self._send_due()
            except RPCError as error:  # Locust repairs its connection itself; unacknowledged batches are sent again
                logger.warning("probe: %s; keeping rows to send them again", error)

    def _send_due(self) -> None:
        """Send new batches, and again those not acknowledged for a while; oldest first, a limited number per turn."""
        now = clock.monotonic()
        waiting = self._process.recorder.unacknowledged
        due = [n for n in waiting if now - self._sent.get(n, -_RESEND_AFTER_S) >= _RESEND_AFTER_S]
        for number in due[:_MAX_BATCHES_PER_TURN]:
            try:
                self._runner.send_message(messages.BATCH, waiting[number])
            except RPCError:
                raise
            except Exception:  # a batch that cannot be packed must not hold up the others
                logger.exception("probe: internal error while sending batch %d (please report); trying again", number)
            self._sent[number] = now

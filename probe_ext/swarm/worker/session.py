"""A worker's side: answer pings, learn of runs, send batches until they are acknowledged, say the last word."""

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
from probe_ext.settings.secrets import has_api_key
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.compatibility import Side, doubt, refusal
from probe_ext.swarm.terminal.console import ANNOUNCE_VARIABLE, print_line
from probe_ext.swarm.users.drain import drain
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.verdict.values.plurals import things

logger = logging.getLogger(__name__)

FLUSH_EVERY = 1.0
_RESEND_AFTER = 5.0
_AT_ONCE = 50
"""batches a turn: a broken connection must not fill up its queue with repetitions"""
_LAST_WORDS = 5.0
"""seconds that a worker which ends by itself waits for its last batches to be acknowledged"""


class WorkerSession:
    """The worker's end of the wire."""

    def __init__(self, process: ProcessState, runner: WorkerRunner) -> None:
        self._process = process
        self._runner = runner
        self._sent: dict[int, float] = {}
        """when each unacknowledged batch was last sent"""
        self._one_at_a_time = BoundedSemaphore()
        self._told_last: str | None = None
        """the run whose last word has been said"""
        self._refused = self._joined = False
        self._speaks = os.environ.get(ANNOUNCE_VARIABLE) == "1"
        runner.register_message(messages.PING, self._on_ping)
        runner.register_message(messages.BEGIN, self._on_begin)
        runner.register_message(messages.ACK, self._on_ack)
        runner.register_message(messages.DRAIN, self._on_drain, concurrent=True)
        runner.send_message(messages.HELLO)
        gevent.spawn(self._keep_sending)

    def test_start(self) -> None:
        """Locust begins a run here; `probe_begin` has usually come before it."""
        self._process.read_options()
        if self._process.recorder.ending:
            self._fresh()

    def _fresh(self) -> None:
        self._process.recorder.close()
        self._process.reset_recorder()
        self._sent.clear()

    def _on_ping(self, msg: Any, **_: Any) -> None:
        self._runner.send_message(messages.PONG, messages.pong(msg.data["t"]))
        if self._joined or self._refused:
            return
        master, worker = Side(msg.data["version"], bool(msg.data.get("key"))), Side(__version__, has_api_key())
        if why := refusal(master, worker):
            self._refused = True
            print_line(why[0])
            self._runner.environment.process_exit_code = ExitCode.USAGE
            gevent.spawn(self._runner.quit)
            return
        self._joined = True
        if self._speaks:
            print_line(
                f"joined the master at {self._runner.master_host}:{self._runner.master_port}; waiting for its run"
            )
        if why := doubt(master, worker):
            print_line(why[0])

    def _on_begin(self, msg: Any, **_: Any) -> None:
        run = msg.data["run"]
        if self._process.recorder.run == run:
            return
        if self._process.recorder.run is not None:
            self._fresh()
        out = msg.data["directory"]
        longest = msg.data.get("longest", math.inf)
        due = msg.data.get("deadlines")
        deadlines = Deadlines(**due) if due else None
        self._process.recorder.begin(run, msg.data["origin"], Path(out) if out else None, longest, deadlines)
        if self._speaks:
            print_line(f"run {run} has begun")

    def _on_ack(self, msg: Any, **_: Any) -> None:
        if msg.data["run"] == self._process.recorder.run:
            self._process.recorder.unacknowledged.pop(msg.data["number"], None)

    def _on_drain(self, msg: Any, **_: Any) -> None:
        if msg.data["run"] == self._process.recorder.run:
            self._process.force_stop = self._process.force_stop or msg.data["limit"] == 0
            self.last_word(msg.data["limit"])
            if msg.data.get("again"):
                self._repeat()

    def last_word(self, limit: float) -> None:
        """Drain, then hand over everything, Locust's own figures too, so that the master's totals are ours.

        Several may ask (the master, a signal, Locust): the later ones wait for the first, and find nothing to do.
        """
        with self._one_at_a_time:
            recorder = self._process.recorder
            if recorder.run is None or recorder.run == self._told_last:
                return
            drain(recorder, limit, gevent.sleep, lambda: self._process.force_stop)
            self._send_due()
            stats: dict[str, Any] = {}
            self._process.environment.events.report_to_master.fire(client_id=self._runner.client_id, data=stats)
            self._runner.send_message("stats", stats)
            self._say_drained()
            self._told_last = recorder.run
            if self._speaks:
                print_line(f"run {recorder.run} is over for this worker")

    def _say_drained(self) -> None:
        recorder = self._process.recorder
        last = {"run": recorder.run, "worker": recorder.worker, "last": recorder.last_number}
        self._runner.send_message(messages.DRAINED, last)

    def _repeat(self) -> None:
        """The master misses something of what was said last: say it again."""
        self._sent.clear()
        self._send_due()
        self._say_drained()

    def leave(self, limit: float) -> None:
        """This worker ends by itself: the last word, and wait a little until it is acknowledged."""
        self.last_word(limit)
        until = clock.monotonic() + _LAST_WORDS
        while self._process.recorder.unacknowledged and clock.monotonic() < until:
            gevent.sleep(0.05)
        if unsent := sum(len(batch["rows"]) for batch in self._process.recorder.unacknowledged.values()):
            what = f"{things(unsent, 'reply', 'replies')} that the master has not confirmed"
            print_line(f"{what}: {self._process.recorder.copy_at or 'no copy is on the disk either'}")
        self._process.recorder.close()

    def _keep_sending(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY)
            self._process.recorder.flush()
            try:
                self._send_due()
            except RPCError as error:  # Locust mends its connection itself; unacknowledged batches go again
                logger.warning("probe: %s; rows wait to be sent", error)

    def _send_due(self) -> None:
        """Send what was never sent, and again what waited for its acknowledgement: so many at a time, oldest first."""
        now = clock.monotonic()
        waiting = self._process.recorder.unacknowledged
        due = [n for n in waiting if now - self._sent.get(n, -_RESEND_AFTER) >= _RESEND_AFTER]
        for number in due[:_AT_ONCE]:
            self._runner.send_message(messages.BATCH, waiting[number])
            self._sent[number] = now

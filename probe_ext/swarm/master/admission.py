"""Admit workers: measure each one's clock, and refuse those that cannot take part."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from locust.rpc import Message
from locust.runners import MasterRunner

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.settings.secrets import has_api_key
from probe_ext.swarm.link import clock_sync, messages
from probe_ext.swarm.link.compatibility import Side, doubt, refusal
from probe_ext.swarm.link.message_filter import MAX_WORKERS
from probe_ext.swarm.link.workers import Worker, Workers
from probe_ext.swarm.master.file_agreement import Files, has_compared, note

logger = logging.getLogger(__name__)

_MAX_PONG_AGE_S = 60.0  # an older answer tells nothing about the clock
_MAX_LOGGED_REFUSALS = 100
_PINGS = 5  # per measurement; the one with the shortest round trip counts


class Admission:
    """Answers hellos with pings, and takes pongs.

    `admit` gives a worker to Locust; `on_admitted` is called once for each that may take part, after that.
    `header_env`: the run's option of that name. `files`: the run's prompt files, as the master has prepared them.
    """

    def __init__(
        self,
        runner: MasterRunner,
        workers: Workers,
        admit: Callable[[str], None],
        on_admitted: Callable[[str], None],
        header_env: Callable[[], Sequence[str]] = lambda: (),
        files: Callable[[], Files] = lambda: (),
    ) -> None:
        self._header_env, self._files = header_env, files
        self._refusals: set[str] = set()
        """ids of refused workers that were logged"""
        self._runner, self._workers, self._admit, self._on_admitted = runner, workers, admit, on_admitted
        runner.register_message(messages.HELLO, self._on_hello)
        runner.register_message(messages.PONG, self._on_pong)

    def ping(self, worker_id: str) -> None:
        """Ask a worker for its clock."""
        self._runner.send_message(messages.PING, messages.ping(self._header_env(), self._files()), worker_id)

    def measure_clock(self, worker_id: str) -> None:
        """Ask a worker for its clock several times."""
        for _ in range(_PINGS):
            self.ping(worker_id)
            gevent.sleep(0.05)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        gevent.spawn(self.measure_clock, msg.node_id)

    def _on_pong(self, msg: Any, **_: Any) -> None:
        received, data = clock.monotonic(), msg.data
        if not received - _MAX_PONG_AGE_S <= data["t"] <= received:
            return  # not the answer to a ping of ours
        worker = self._workers.known.get(msg.node_id) or Worker(msg.node_id)
        worker.host, worker.version = safe_text(data["host"]), safe_text(data["version"])
        note(worker, data.get("compared"))
        is_known = worker.id in self._workers.known  # its files may wait: the run that needs them does not begin
        problems = () if is_known else worker.file_problems
        sides = Side(__version__, has_api_key()), Side(worker.version, bool(data.get("key")), _missing(data), problems)
        if why := refusal(*sides):
            self._refuse(worker, why[1])
            return
        if not is_known and not has_compared(worker, self._files()):
            return
        if worker.id not in self._workers.known and len(self._workers.known) >= MAX_WORKERS:
            return
        self._workers.known.setdefault(worker.id, worker)
        self._admit(worker.id)
        first, measured = not worker.clock_known, clock_sync.offset(data["t"], received, data["mono"])
        if first:
            if why := doubt(*sides):
                logger.warning("worker %s on %s: %s", worker.id, worker.host, why[1])
            same = data["clock"] != "" and data["clock"] == messages.clock_name()
            worker.same_clock = same and abs(measured.seconds) <= measured.error
        if not worker.same_clock:
            worker.clock.add((data["t"] + received) / 2, measured)
        if first:
            self._on_admitted(worker.id)

    def _refuse(self, worker: Worker, why: str) -> None:
        worker.refused = True
        if worker.id not in self._refusals and len(self._refusals) < _MAX_LOGGED_REFUSALS:
            self._refusals.add(worker.id)
            logger.error("worker %s on %s refused: %s", worker.id, worker.host, why)
        self._runner.send_message("quit", None, worker.id)
        if worker.id in self._runner.clients:
            self._runner.handle_message(worker.id, Message("quit", None, worker.id))  # Locust drops it at once


def _missing(data: dict[str, Any]) -> tuple[str, ...]:
    return tuple(safe_text(name) for name in data.get("missing", ()))

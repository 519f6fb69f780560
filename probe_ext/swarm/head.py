"""The master's side, and a lone Locust's: from a run's start to its last row."""

import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.measure.rows import ReplyRow, ServerRow, UserRow
from probe_ext.run import directory as places
from probe_ext.run import manifest as manifests
from probe_ext.server.fetch import Fetcher
from probe_ext.server.poller import Poller
from probe_ext.settings.options import Options
from probe_ext.swarm import axis, wire
from probe_ext.swarm.collector import Collector
from probe_ext.swarm.ending import drain
from probe_ext.swarm.llm import api_key
from probe_ext.swarm.locust_csv import LocustTables
from probe_ext.swarm.node import Node
from probe_ext.swarm.prepare import Preparation
from probe_ext.swarm.shape import LevelShape
from probe_ext.swarm.tally import Tally

logger = logging.getLogger(__name__)

_MANIFEST_EVERY = 5.0
_USERS_EVERY = 0.5
_WINDOWS_EVERY = 15.0
_PINGS = 5
_MARGIN = 10.0
"""seconds beyond the drain limit that the master waits for workers' last words"""


@dataclass
class Peer:
    """A worker as the master knows it."""

    id: str
    offset: axis.Offset | None = None
    host: str = ""
    version: str = ""
    drained: int | None = None
    """the number of its last batch, once it has said so"""
    lost_at: float | None = None


@dataclass
class Peers:
    """All workers that ever joined, by id."""

    known: dict[str, Peer] = field(default_factory=dict)

    def join(self, worker: str) -> Peer:
        """A worker says hello, perhaps again."""
        return self.known.setdefault(worker, Peer(worker))


class ActiveRun:
    """One run: everything that exists only while it lasts, and its run directory."""

    def __init__(
        self, node: Node, peers: Peers, options: Options, made: Preparation, directory: Path, name: str
    ) -> None:
        self.node, self.peers, self.options, self.made = node, peers, options, made
        self.environment: Environment = node.environment
        self.directory = directory
        self.scenario = name
        self.origin = clock.monotonic()
        self.started_unix = clock.wall()
        self.id = f"{clock.utc_compact(self.started_unix)}-{name}"
        self.tally = Tally(options.min_replies)
        self.collector = Collector(self.id, directory, self._on_reply)
        self.end_reason: str | None = None
        self.ended: float | None = None
        self.findings: list[dict[str, Any]] = []
        self._users: UserRow | None = None
        self._poller = self._make_poller()
        self._tables = LocustTables(self.environment, directory / places.LOCUST_PREFIX)
        self._greenlets = [gevent.spawn(self._watch_users), gevent.spawn(self._keep_books)]
        self.write_manifest()
        if self._poller:
            self._poller.start()

    def now(self) -> float:
        """Seconds since the run's zero."""
        return clock.monotonic() - self.origin

    def _on_reply(self, row: ReplyRow) -> None:
        self.tally.add(row)

    def _make_poller(self) -> Poller | None:
        if self.options.no_metrics or not self.made.metrics_urls:
            return None
        every = self.options.metrics_every
        fetcher = Fetcher(api_key(), verify=not self.options.insecure, timeout=0.9 * every)
        return Poller(
            self.made.metrics_urls,
            fetcher.get,
            clock=self.now,
            sleep=gevent.sleep,
            spawn=gevent.spawn,
            emit=self._on_server,
            period=every,
        )

    def _on_server(self, rows: list[ServerRow]) -> None:
        self.collector.add_server(rows)

    def _watch_users(self) -> None:
        while True:
            self.note_users()
            gevent.sleep(_USERS_EVERY)

    def note_users(self) -> None:
        """A row of users.csv where something changed, and at least one a second."""
        runner = self.environment.runner
        shape = self.environment.shape_class
        target = shape.steps.level if isinstance(shape, LevelShape) else getattr(runner, "target_user_count", None)
        row = UserRow(self.now(), runner.user_count, target, runner.state)
        last = self._users
        if (
            last is None
            or row.t - last.t >= 1
            or (row.users, row.target, row.state) != (last.users, last.target, last.state)
        ):
            self._users = row
            self.collector.add_users(row)

    def _keep_books(self) -> None:
        windows_at = 0.0
        while True:
            gevent.sleep(_MANIFEST_EVERY)
            self.write_manifest()
            if self.now() - windows_at >= _WINDOWS_EVERY:
                windows_at = self.now()
                self.collector.write_windows()

    def finish(self) -> None:
        """Close everything; the run directory is whole after this."""
        if self.ended is not None:
            return
        self.ended = self.now()
        gevent.killall(self._greenlets)
        self.note_users()
        if self._poller:
            self._poller.stop()
        self._tables.finish()
        self.collector.close()
        self.write_manifest()

    def write_manifest(self) -> None:
        """Replace `run.json`; a disk that refuses is remembered by the tables, which write more often."""
        try:
            manifests.write(self.directory, self._manifest())
        except OSError as error:
            logger.warning("%s: %s", self.directory / places.MANIFEST, error.strerror or error)

    def _manifest(self) -> dict[str, Any]:
        made, plan = self.made, self.options.plan
        return {
            "schema": manifests.SCHEMA,
            "run_id": self.id,
            "scenario": self.scenario,
            "locustfile": self.environment.parsed_options.locustfile,
            "started_at": clock.utc_text(self.started_unix),
            "started_unix": self.started_unix,
            "ended_at": None if self.ended is None else clock.utc_text(self.started_unix + self.ended),
            "duration": self.ended,
            "end_reason": self.end_reason,
            "versions": {
                "probe_ext": __version__,
                "locust": locust.__version__,
                "gevent": gevent.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
            },
            "target": {
                "host": made.host,
                "model": made.model,
                "model_from": made.model_from,
                "tls_verified": made.host.startswith("https") and not self.options.insecure,
            },
            "options": self.options.as_json(),
            "plan": None
            if plan is None
            else {"levels": plan.levels, "hold": plan.hold, "settle": plan.settle, "min_replies": plan.min_replies},
            "workers": [self._worker(peer) for peer in self._heard_peers()],
            "server": made.server,
            "prompts": made.prompts,
            "findings": self.findings + self._live_findings(),
        }

    def _heard_peers(self) -> list[Peer]:
        return [peer for worker, peer in self.peers.known.items() if worker in self.collector.told or peer.lost_at]

    def _worker(self, peer: Peer) -> dict[str, Any]:
        told = self.collector.told.get(peer.id, {})
        known = peer.offset
        stamped = told.get("stamped")
        return {
            "id": peer.id,
            "host": peer.host,
            "version": peer.version,
            "clock_offset": known.seconds if known else None,
            "clock_error": known.error if known else None,
            "started": told.get("started"),
            "rows": told.get("rows", 0),
            "last_word": peer.drained is not None and self.collector.has_all(peer.id, peer.drained),
            "lost_at": peer.lost_at,
            "cpu_seconds": told.get("cpu_seconds"),
            "loop_lag_max": told.get("loop_lag_max"),
            "receive_stamps": None if stamped is None else ("kernel" if stamped else "read"),
        }

    def _live_findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._poller.findings() if self._poller else []
        for name, error in self.collector.disk_errors.items():
            left = self.collector.unwritten()
            found.append(
                {
                    "check": "disk",
                    "state": "fail",
                    "invalidates": left > 0,
                    "why": f"{self.directory / name}: {error}; {left} lines could not be written",
                    "advice": "Make room, or give --out a folder that can be written.",
                }
            )
        for worker, told in self.collector.told.items():
            if told.get("disk_error"):
                found.append(
                    {
                        "check": "worker_disk",
                        "state": "fail",
                        "invalidates": False,
                        "why": f"worker {worker}: {told['disk_error']}; its own copy of the rows is not whole",
                        "advice": "The master has the rows; make room on the worker for the next run.",
                    }
                )
        shape = self.environment.shape_class
        if isinstance(shape, LevelShape):
            found.extend(
                {
                    "check": "level_reached",
                    "state": "fail",
                    "invalidates": False,
                    "why": f"the level of {level} users was never reached",
                    "advice": "Look at Locust's log for users that could not be started.",
                }
                for level in shape.steps.never_reached
            )
        return found


class Head:
    """Starts runs and ends them. `local` where one Locust does everything."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.peers = Peers()
        self.run: ActiveRun | None = None
        self.signalled: str | None = None
        """`interrupted` or `terminated`, once a signal asked for the end"""
        runner = node.environment.runner
        self.local = isinstance(runner, LocalRunner)
        if isinstance(runner, MasterRunner):
            runner.register_message(wire.PONG, self._on_pong)
            runner.register_message(wire.BATCH, self._on_batch)
            runner.register_message(wire.DRAINED, self._on_drained)
            node.environment.events.worker_connect.add_listener(self._on_connect)
            gevent.spawn(self._watch_workers)

    # --- a run -------------------------------------------------------------------------------------------------

    def begin(self, run: ActiveRun) -> None:
        """A run has been set up: tell who will have users."""
        self.run = run
        for peer in self.peers.known.values():
            peer.drained = None
        if self.local:
            peer = self.peers.join(self.node.worker)
            peer.offset, peer.host, peer.version = axis.SAME_CLOCK, platform.node(), __version__
            self.node.fresh_recorder().begin(run.id, run.origin, None)
            gevent.spawn(self._keep_local, run)
        else:
            for worker in self.peers.known:
                self._tell_begin(worker)

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
        run, peer = self.run, self.peers.known[worker]
        if run is None or run.ended is not None or peer.offset is None:
            return
        directory = str(run.directory.resolve()) if peer.offset is axis.SAME_CLOCK else run.options.out
        data = {"run": run.id, "origin": run.origin + peer.offset.seconds, "directory": directory}
        self.node.environment.runner.send_message(wire.BEGIN, data, worker)

    # --- the end -----------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Before users are taken away: let replies finish, and wait for every last word."""
        run = self.run
        if run is None or run.ended is not None:
            return
        if run.end_reason is None:
            run.end_reason = self._reason()
        if self.local:
            self._drain_local(run)
        else:
            self._drain_workers(run)

    def _reason(self) -> str:
        shape = self.node.environment.shape_class
        if self.signalled:
            return self.signalled
        if isinstance(shape, LevelShape) and shape.finished:
            return "levels_done"
        headless = self.node.environment.parsed_options.headless
        return "run_time" if headless else "stopped"

    def _drain_local(self, run: ActiveRun) -> None:
        drain(self.node.recorder, run.options.drain, gevent.sleep, lambda: self.node.hurry)
        self._take_local(run)
        self.peers.known[self.node.worker].drained = self.node.recorder.last_number

    def _drain_workers(self, run: ActiveRun) -> None:
        self._ask_to_drain(run.options.drain)
        until = clock.monotonic() + run.options.drain + _MARGIN
        hurried = False
        while clock.monotonic() < until and not self._all_told(run):
            if self.node.hurry and not hurried:
                hurried = True
                self._ask_to_drain(0)
            gevent.sleep(0.05)

    def _ask_to_drain(self, limit: float) -> None:
        if self.run:
            self.node.environment.runner.send_message(wire.DRAIN, {"run": self.run.id, "limit": limit})

    def _all_told(self, run: ActiveRun) -> bool:
        live = set(self.node.environment.runner.clients)
        for worker, peer in self.peers.known.items():
            told = peer.drained is not None and run.collector.has_all(worker, peer.drained)
            if not told and worker in live and peer.lost_at is None:
                return False
        return True

    def finish(self) -> ActiveRun | None:
        """After users are gone: close the run. The run, if this closed one."""
        run = self.run
        if run is None or run.ended is not None:
            return None
        if self.local:
            self._take_local(run)
        run.finish()
        return run

    # --- what workers say --------------------------------------------------------------------------------------

    def _on_connect(self, client_id: str, **_: Any) -> None:
        self.peers.join(client_id).lost_at = None
        gevent.spawn(self._ping, client_id)

    def _ping(self, worker: str) -> None:
        for _ in range(_PINGS):
            self.node.environment.runner.send_message(wire.PING, {"t": clock.monotonic()}, worker)
            gevent.sleep(0.05)

    def _on_pong(self, msg: Any, **_: Any) -> None:
        back, data = clock.monotonic(), msg.data
        peer = self.peers.join(msg.node_id)
        peer.host, peer.version = data["host"], data["version"]
        same = data["boot"] != "" and data["boot"] == wire.boot_id()
        first = peer.offset is None
        peer.offset = axis.SAME_CLOCK if same else axis.better(peer.offset, axis.offset(data["t"], back, data["mono"]))
        if first:
            self._tell_begin(msg.node_id)  # it may have joined in the middle of a run

    def _on_batch(self, msg: Any, **_: Any) -> None:
        if self.run is not None:
            self.run.collector.accept(msg.data)
        self.node.environment.runner.send_message(
            wire.ACK, {"run": msg.data["run"], "number": msg.data["number"]}, msg.node_id
        )

    def _on_drained(self, msg: Any, **_: Any) -> None:
        if self.run is not None and msg.data["run"] == self.run.id:
            self.peers.join(msg.node_id).drained = msg.data["last"]

    def _watch_workers(self) -> None:
        """Notice workers that Locust no longer hears of."""
        while True:
            gevent.sleep(1.0)
            run = self.run
            if run is None or run.ended is not None:
                continue
            for client in self.node.environment.runner.clients.missing:
                peer = self.peers.join(client.id)
                if peer.lost_at is None:
                    peer.lost_at = run.now()

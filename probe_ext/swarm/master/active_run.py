"""One run on the master, or in a lone Locust: what exists only while it lasts, and its run directory."""

import itertools
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.live.live_run import LiveRun
from probe_ext.load.boundary_search import SearchSteps
from probe_ext.measure import clock
from probe_ext.measure.table_rows import ReplyRow, ServerRow, UserRow
from probe_ext.run import directory as places
from probe_ext.run import manifest
from probe_ext.settings.options import Options
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master import calibration_store
from probe_ext.swarm.master.build_manifest import describe
from probe_ext.swarm.master.collector import Collector
from probe_ext.swarm.master.disk_reserve import FOR_MANIFEST, FOR_ROWS, Room
from probe_ext.swarm.master.search_monitor import ReplyCounter, SearchMonitor
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.locust_csv import LocustTables
from probe_ext.swarm.master.stats_pruning import forget_old_seconds
from probe_ext.swarm.master.target_probe import Preparation
from probe_ext.swarm.users.endpoint import api_key
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.web.live_json import MASTER, rules_of
from probe_ext.target.fetch import Fetcher
from probe_ext.target.poller import Poller

logger = logging.getLogger(__name__)

_BOOKS_EVERY = 2.0
_SEAL_SLACK = 120.0
"""seconds beyond the longest reply, for batches that come late"""
_WINDOWS_EVERY = 5
"""manifests: long replies change many windows, so changed windows go to the disk that much more seldom"""
_USERS_EVERY = 0.5
_LIVE_EVERY = 1.0


class ActiveRun:
    """One run: everything that exists only while it lasts, and its run directory."""

    def __init__(
        self, node: ProcessState, workers: Workers, options: Options, made: Preparation, directory: Path, name: str
    ) -> None:
        self.node, self.workers, self.options, self.made = node, workers, options, made
        self.environment: Environment = node.environment
        self.directory = directory
        self.scenario = name
        self.deadlines = made.deadlines
        self.origin = clock.monotonic()
        self.started_unix = clock.wall()
        self.id = f"{clock.utc_compact(self.started_unix)}-{name}-{secrets.token_hex(3)}"
        self._tally = self._make_tally()
        self._manifest_room, self._rows_room = Room(directory, FOR_MANIFEST), Room(directory, FOR_ROWS)
        self.floor = calibration_store.load()
        """what `probe calibrate` found on this machine"""
        self.collector = Collector(self.id, directory, self._on_reply, self._behind)
        self.end_reason: str | None = None
        self.drained = False
        """whether every last word has been waited for"""
        self.ended: float | None = None
        self.closed = False
        """whether everything of it is on the disk"""
        self._writing: Any = None
        """the manifest that a thread is writing"""
        self._users: UserRow | None = None
        self.live = LiveRun(rules_of(options, made.profile)) if self._is_watched() else None
        self._poller = self._make_poller()
        self.tables = LocustTables(self.environment, directory / places.LOCUST_PREFIX)
        self._greenlets = [gevent.spawn(self._watch_users), gevent.spawn(self._keep_books)]
        if self.live:
            self._greenlets.append(gevent.spawn(self._keep_live))
        self.write_manifest()
        if self._poller:
            self._poller.start()

    def now(self) -> float:
        """Seconds since the run's zero."""
        return clock.monotonic() - self.origin

    def _make_tally(self) -> ReplyCounter | SearchMonitor:
        if self.options.search:
            return SearchMonitor(SloProfile.model_validate(self.made.profile), self.options.min_replies)
        return ReplyCounter(self.options.min_replies)

    @property
    def hearing(self) -> Callable[[float], int] | SearchMonitor:
        """What the steps of the load shape ask: how many were heard, or a search's how they felt."""
        return self._tally if isinstance(self._tally, SearchMonitor) else self._tally.heard

    def _behind(self, worker: str, t: float) -> float:
        return self.workers.join(worker).behind(self.origin + t)

    def _on_reply(self, row: ReplyRow) -> None:
        if isinstance(self.environment.shape_class, LevelShape):
            self._tally.add(row)
        if self.node.exporter:
            self.node.exporter.add(row)
        if self.live:
            self.live.on_reply(row)

    def _is_watched(self) -> bool:
        """Whether there is a live page, or a line of progress: a headless Locust that shows its own tables has none."""
        given = self.environment.parsed_options
        return bool(getattr(self.environment, "web_ui", None)) or (given.headless and given.only_summary)

    def _make_poller(self) -> Poller | None:
        if self.options.no_metrics or self.options.prometheus or not self.made.metrics_urls:
            return None
        every = self.options.metrics_every
        fetcher = Fetcher(api_key(), home=self.made.host, verify=not self.options.insecure, timeout=0.9 * every)
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
        if self.live:
            self.live.on_server(rows)

    def _watch_users(self) -> None:
        while True:
            self.note_users()
            gevent.sleep(_USERS_EVERY)

    def note_users(self) -> None:
        """A row of users.csv where something changed, and at least one a second."""
        runner = self.environment.runner
        shape = self.environment.shape_class
        target = shape.steps.level if isinstance(shape, LevelShape) else getattr(runner, "target_user_count", None)
        row = UserRow(self.now(), runner.user_count, target, "stopping" if self.end_reason else runner.state)
        if self.live:
            self.live.on_users(row)
        last = self._users
        if (
            last is None
            or row.t - last.t >= 1
            or (row.users, row.target, row.state) != (last.users, last.target, last.state)
        ):
            self._users = row
            self.collector.add_users(row)

    def _keep_books(self) -> None:
        for turn in itertools.count(1):
            gevent.sleep(_BOOKS_EVERY)
            self._write_manifest_beside()
            if turn % _WINDOWS_EVERY == 0:
                self.collector.add_windows()
                self.collector.spill(self.now() - self.options.timeout_total - _SEAL_SLACK)
                forget_old_seconds(self.environment)

    def _keep_live(self) -> None:
        while True:
            gevent.sleep(_LIVE_EVERY)
            self._look()

    def _look(self) -> None:
        """A moment for those who watch; whatever goes wrong with it, the run goes on."""
        if self.live is None:
            return
        try:
            now = self.now()
            for worker, told in self.collector.told.items():
                self.live.cpu.add(worker, now, told["cpu_seconds"])
            self.live.cpu.add(MASTER, now, clock.cpu())
            self.live.tick(now)
        except Exception:
            logger.exception("probe: a defect of the live view; the run is not touched by it")

    def poll_findings(self) -> list[dict[str, Any]]:
        """What the reading of the server's metrics ran into."""
        return self._poller.findings() if self._poller else []

    def disk_problems(self) -> dict[str, str]:
        """Why a file is not whole, or was not for a while, by its name."""
        return {**self.tables.problems, **self.collector.disk_errors}

    def finish(self) -> None:
        """Close everything; the run directory is whole after this, or its manifest says what it lacks."""
        if self.ended is not None:
            return
        self.ended = self.now()
        gevent.killall(self._greenlets)
        self.note_users()
        self._look()
        if self._poller:
            for url in self.made.metrics_urls:
                self._poller.poll(url)  # once more: servers count a reply when it has ended
            self._poller.stop()
        self.collector.write_again()
        if self.collector.unwritten:
            self._rows_room.free()
        self.tables.finish()
        self.collector.close()
        self._rows_room.free()
        self._manifest_room.free()
        self._review()
        self.write_manifest()
        self.closed = True

    def _review(self) -> None:
        """What a search found, now that the last replies have ended: the manifest and its findings tell of that."""
        shape = self.environment.shape_class
        if (
            isinstance(shape, LevelShape)
            and isinstance(shape.steps, SearchSteps)
            and isinstance(self._tally, SearchMonitor)
        ):
            shape.steps.review(self._tally)

    def write_manifest(self) -> None:
        """Replace `run.json`, now. A disk that refuses is remembered by the tables, which write more often."""
        if self._writing:
            self._writing.wait()  # or what is older would come last
        self._told(_put(self.directory, describe(self)))

    def _write_manifest_beside(self) -> None:
        """The same in a thread, since a disk may take long to say that it has it, and replies arrive meanwhile."""
        if self._writing is None or self._writing.ready():
            self._told(self._writing.get() if self._writing else None)
            self._writing = gevent.get_hub().threadpool.spawn(_put, self.directory, describe(self))

    def _told(self, error: OSError | None) -> None:
        if error:
            logger.warning("%s: %s", self.directory / places.MANIFEST, error.strerror or error)


def _put(directory: Path, told: manifest.Manifest) -> OSError | None:
    try:
        manifest.write(directory, told)
    except OSError as error:
        return error
    return None

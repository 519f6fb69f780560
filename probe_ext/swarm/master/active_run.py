"""One run on the master or in a single-process Locust: its greenlets, and its run directory."""

import itertools
import logging
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.inspection.machine import calibration_store
from probe_ext.live.live_levels import rules_of
from probe_ext.live.live_run import LiveRun
from probe_ext.live.server.others_now import OthersNow
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchSteps, critical_after
from probe_ext.measure import clock
from probe_ext.measure.table_rows import GpuRow, ReplyRow, ServerRow, UserRow
from probe_ext.measure.unfinished import Counts, add_counts
from probe_ext.run import directory as places
from probe_ext.run import manifest
from probe_ext.settings.options import Options
from probe_ext.settings.request_extras import header_pairs
from probe_ext.settings.secrets import api_key, secret_headers
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.build_manifest import describe, described_so_far
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.open_stream import OpenStream, TraceStream
from probe_ext.swarm.master.others_notice import OthersNotice
from probe_ext.swarm.master.run_facts import HostPollers, RunFacts
from probe_ext.swarm.master.run_view import MASTER
from probe_ext.swarm.master.stats_pruning import forget_old_seconds
from probe_ext.swarm.preparation.stream_plan import form_of, give_up_times, kinds_of, rates_of, replays, slots_of
from probe_ext.swarm.preparation.target_probe import HostPreparation, Preparation, profiles_of, recorded_workload
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.run_files.disk_reserve import FOR_MANIFEST, FOR_REPORT, FOR_ROWS, DiskReserve
from probe_ext.swarm.run_files.locust_csv import LocustTables
from probe_ext.swarm.terminal.console import print_line
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.gpu.gpu_poller import gpu_pollers
from probe_ext.target.metrics.catalogue import read_page
from probe_ext.target.metrics.poller import SLOW_PAGE_TIMEOUT_S, Poller
from probe_ext.verdict.evidence.manifest_view import who_uses

logger = logging.getLogger(__name__)

_MANIFEST_EVERY_S = 2.0
_WINDOWS_EVERY = 5  # manifests; long replies change many windows, so these are written less often
_FINALIZE_SLACK_S = 120.0  # beyond the longest reply, for batches that come late
_USERS_EVERY_S = 0.5
_OTHERS_EVERY_S = 2.0
_LIVE_EVERY_S = 1.0
_GENERATOR_EVERY = 5  # updates of the live figures
_LAST_POLLS_TIMEOUT_S = 3.0  # for all metrics URLs together


class ActiveRun(RunFacts):
    """Everything that exists only while a run lasts. It starts when it is made."""

    def __init__(
        self,
        environment: Environment,
        workers: Workers,
        options: Options,
        preparation: Preparation,
        directory: Path,
        scenario: str,
        on_reply: Callable[[ReplyRow], None] | None = None,
    ) -> None:
        super().__init__(environment, workers, options, preparation, directory, scenario)
        self.id = f"{clock.utc_compact(self.started_unix)}-{scenario}-{secrets.token_hex(3)}"
        self.stream = self._make_stream()
        longest_reply = preparation.workload.longest_reply if preparation.workload else options.max_tokens
        self._others = OthersNow(preparation.host, longest_reply)
        self.monitor = self._make_monitor()
        """what the plan's steps are decided by"""
        self.others_notice = OthersNotice(self._others, self.monitor, preparation.busy)
        self._on_reply = on_reply
        self._manifest_reserve, self._rows_reserve, self._report_reserve = (
            DiskReserve(directory, size) for size in (FOR_MANIFEST, FOR_ROWS, FOR_REPORT)
        )
        self.calibration = calibration_store.load()
        self.collector = Collector(self.id, directory, self._add_reply, self._offset_at)
        self._manifest_writer: Any = None
        self._manifest_failed = False
        """the thread that writes the manifest"""
        self._last_users: UserRow | None = None
        self.live = None
        if self._is_displayed() and not preparation.by_host:
            rules = rules_of(self.plan, profiles_of(preparation), who_uses(recorded_workload(preparation)))
            self.live = LiveRun(rules, self.monitor, options.metrics_every, options.window)
        hosts = preparation.by_host or [HostPreparation("", options, preparation)]
        self.pollers = {one.kind: self._make_pollers(one) for one in hosts}
        self.tables = LocustTables(self.environment, directory / places.LOCUST_PREFIX)
        self._greenlets = [gevent.spawn(self._keep_users), gevent.spawn(self._keep_files)]
        if self.live:
            self._greenlets.append(gevent.spawn(self._keep_live))
        self.write_manifest()
        if not preparation.by_host and any(one.metrics for one in self.pollers.values()):
            self._greenlets.append(gevent.spawn(self._watch_others))
        for pollers in self.pollers.values():
            pollers.start()

    def _make_stream(self) -> OpenStream | None:
        """Return the open stream of a run at given rates."""
        if not rates_of(self.plan):
            return None
        seed, given = self.options.prompt_seed, self.preparation.workload
        workload = given.workload if given else None
        give_up, give_up_of = give_up_times(profiles_of(self.preparation))
        seed = secrets.randbelow(2**32) if seed is None else seed
        if passes := replays(workload, self.preparation.context):
            return TraceStream(passes, seed, give_up, self.now)
        to_each = bool(self.preparation.by_host)
        kinds = kinds_of(workload)
        return OpenStream(form_of(workload), seed, give_up, self.now, kinds, give_up_of, to_each=to_each)

    def _make_monitor(self) -> VisitMonitor:
        profiles = profiles_of(self.preparation)
        critical = critical_after if self.options.search else None
        return VisitMonitor(
            profiles.default,
            self.options.min_replies,
            critical,
            self._others,
            profiles.kinds,
            open_stream=self.stream is not None,
            in_flight=self._reported_in_flight,
            unfinished=self._reported_unfinished,
        )

    def _offset_at(self, worker_id: str, t: float) -> float:
        return self.workers.join(worker_id).offset_at(self.origin + t)

    def _add_reply(self, row: ReplyRow) -> None:
        if self._on_reply:
            self._on_reply(row)
        if self.preparation.by_host:
            self.host_counts.add(row)
        elif self.live:
            self.live.on_reply(row)
        elif isinstance(self.environment.shape_class, LevelShape):
            self.monitor.add(row)

    def _is_displayed(self) -> bool:
        """Whether there is a live page or a progress line: a headless Locust that prints its own tables has neither."""
        given = self.environment.parsed_options
        return bool(getattr(self.environment, "web_ui", None)) or (given.headless and given.only_summary)

    def _make_pollers(self, of: HostPreparation) -> HostPollers:
        options, preparation = of.options, of.preparation
        metrics = None
        if preparation.metrics_urls and not options.no_metrics and not options.prometheus:
            metrics = Poller(
                preparation.metrics_urls,
                self._make_fetcher(preparation.host).get,
                partial(read_page, model=preparation.model),
                clock=self.now,
                sleep=gevent.sleep,
                spawn=gevent.spawn,
                emit=self._on_server,
                period=options.metrics_every,
            )
        gpus = gpu_pollers(
            options.gpu_metrics,
            self._make_fetcher(preparation.host).get,
            clock=self.now,
            sleep=gevent.sleep,
            spawn=gevent.spawn,
            emit=self._on_gpu,
            period=options.metrics_every,
        )
        return HostPollers(metrics, gpus)

    def _make_fetcher(self, home: str) -> Fetcher:
        options = self.options
        return Fetcher(
            api_key(),
            home=home,
            tls=options.tls,
            timeout=SLOW_PAGE_TIMEOUT_S,
            headers={**header_pairs(options.header), **secret_headers(options.header_env)},
        )

    def _on_gpu(self, rows: list[GpuRow]) -> None:
        self.collector.add_gpu(rows)
        if self.live:
            self.live.on_gpu(rows)

    def _on_server(self, rows: list[ServerRow]) -> None:
        self.collector.add_server(rows)
        if not self.preparation.by_host:
            self._others.add_server(rows, self._in_flight())
        if self.live:
            self.live.on_server(rows)

    def _in_flight(self) -> float:
        """Return the most requests that this run may have at the server: one per user, or as many as are reported."""
        reported = self._reported_in_flight()
        return reported if self.stream else float(max(self.environment.runner.user_count, reported))

    def _reported_in_flight(self) -> float:
        reports = self.collector.reported.values()
        return float(sum((r.get("started") or 0) - (r.get("finished") or 0) for r in reports))

    def _reported_unfinished(self) -> Counts:
        return add_counts(report.get("early", ()) for report in self.collector.reported.values())

    def _watch_others(self) -> None:
        """Say on the terminal when others use the server."""
        while True:
            gevent.sleep(_OTHERS_EVERY_S)
            if line := self.others_notice.update(self.now(), self._in_flight()):
                print_line(line)

    def _keep_users(self) -> None:
        while True:
            self.note_users()
            gevent.sleep(_USERS_EVERY_S)

    def note_users(self) -> None:
        """Add a row to users.csv if something changed, and at least once a second."""
        runner = self.environment.runner
        target = self.steps.level if self.steps else getattr(runner, "target_user_count", None)
        now, rate = self.now(), None
        if self.stream is not None:
            workload = self.preparation.workload
            target = slots_of(self.options, workload.workload if workload else None)
            rate = self.stream.rate_at(now).per_second
        state = "stopping" if self.end_reason else runner.state
        row = UserRow(now, runner.user_count, target, state, rate)
        if self.live:
            self.live.on_users(row)
        last = self._last_users
        if (
            last is None
            or row.t - last.t >= 1
            or (row.users, row.target, row.state, row.rate) != (last.users, last.target, last.state, last.rate)
        ):
            self._last_users = row
            self.collector.add_users(row)

    def _keep_files(self) -> None:
        for turn in itertools.count(1):
            gevent.sleep(_MANIFEST_EVERY_S)
            self._write_manifest_in_thread()
            if turn % _WINDOWS_EVERY == 0:
                self.collector.add_windows()
                self.collector.finalize_windows(self.now() - self.options.timeout_total - _FINALIZE_SLACK_S)
                forget_old_seconds(self.environment)

    def _keep_live(self) -> None:
        for turn in itertools.count(1):
            gevent.sleep(_LIVE_EVERY_S)
            self._update_live(generator=turn % _GENERATOR_EVERY == 0)

    def _update_live(self, *, generator: bool = True) -> None:
        """Update the live figures. Whatever goes wrong with them, the run goes on."""
        if self.live is None:
            return
        try:
            now = self.now()
            for worker_id, reported in self.collector.reported.items():
                self.live.cpu.add(worker_id, now, reported["cpu_seconds"])
            self.live.cpu.add(MASTER, now, clock.cpu())
            target = self.steps.level if self.steps else None
            self.live.tick(now, final=self.ended is not None, position=self.position, target=target)
            if generator:
                book = self.collector.book
                self.live.generator.update(described_so_far(self, now), book.total("lag"), book.total("overdue"))
        except Exception:
            logger.exception("probe: internal error of the live view (please report); the run itself is not affected")

    def finish(self) -> None:
        """Close everything. After this the run directory is complete, or its manifest says what is missing."""
        if self.ended is not None:
            return
        self.ended = self.now()
        gevent.killall(self._greenlets)
        self.note_users()
        self._update_live()
        pollers = [poller for of_host in self.pollers.values() for poller in of_host.all]
        gevent.joinall([gevent.spawn(poller.poll_last, _LAST_POLLS_TIMEOUT_S) for poller in pollers])
        self.collector.write_again()
        if self.collector.unwritten:
            self._rows_reserve.free()
        self.tables.finish()
        self.collector.close()
        self._rows_reserve.free()
        self._manifest_reserve.free()
        self.write_manifest()
        if isinstance(self.steps, SearchSteps):
            self.steps.review(self.now(), self.monitor)  # the last replies have ended
            self.write_manifest()
        self._report_reserve.free()

    def write_manifest(self) -> None:
        """Replace `run.json` now. Disk errors are only logged here: the tables, written more often, record them."""
        if self._manifest_writer:
            self._manifest_writer.wait()  # else an older one would be written last
        self._log_error(_write(self.directory, describe(self)))

    def _write_manifest_in_thread(self) -> None:
        """Replace `run.json` without holding up replies: an fsync may take long."""
        writer = self._manifest_writer
        if writer is None or writer.ready():
            self._log_error(writer.get() if writer else None)
            self._manifest_writer = gevent.get_hub().threadpool.spawn(_write, self.directory, describe(self))

    def _log_error(self, error: OSError | None) -> None:
        if error and not self._manifest_failed:  # once, not every few seconds
            logger.warning("%s: %s", self.directory / places.MANIFEST, error.strerror or error)
        self._manifest_failed = error is not None


def _write(directory: Path, content: manifest.Manifest) -> OSError | None:
    try:
        manifest.write(directory, content)
    except OSError as error:
        return error
    return None

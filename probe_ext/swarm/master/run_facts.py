"""The data of a run on the master: how it was started, and what has arrived so far."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from locust.env import Environment

from probe_ext.live.host_counts import HostCounts
from probe_ext.live.live_run import LiveRun
from probe_ext.load.boundary_search import SearchSteps
from probe_ext.load.level_plan import LevelSteps
from probe_ext.load.open_ended_search import OpenEndedSteps
from probe_ext.load.series_plan import SeriesSteps
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.options import Options, Plan
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.open_stream import OpenStream
from probe_ext.swarm.master.others_notice import OthersNotice
from probe_ext.swarm.master.search_finding import least_minutes_in_words
from probe_ext.swarm.preparation.target_probe import Preparation
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.run_files.locust_csv import LocustTables
from probe_ext.target.gpu.gpu_poller import gpu_findings
from probe_ext.target.metrics.poller import Poller
from probe_ext.verdict.phrasing.plurals import minutes


@dataclass
class RunFacts:
    """One run. Times are seconds since its zero, `origin` in monotonic seconds."""

    environment: Environment
    workers: Workers
    options: Options
    preparation: Preparation
    directory: Path
    scenario: str
    id: str = field(init=False)
    origin: float = field(init=False, default_factory=clock.monotonic)
    started_unix: float = field(init=False, default_factory=clock.wall)
    calibration: dict[str, Any] | None = field(init=False)
    """what `probe calibrate` measured on this machine"""
    collector: Collector = field(init=False)
    tables: LocustTables = field(init=False)
    pollers: dict[str, "HostPollers"] = field(init=False)
    """by the kind of user that asks the server; the only server's has no name"""
    host_counts: HostCounts = field(init=False, default_factory=HostCounts)
    """of a run over several servers"""
    live: LiveRun | None = field(init=False)
    """None if nothing displays the run"""
    stream: OpenStream | None = field(init=False, default=None)
    """None where users wait for replies"""
    others_notice: OthersNotice = field(init=False)
    end_reason: str | None = field(init=False, default=None)
    ended: float | None = field(init=False, default=None)

    @property
    def deadlines(self) -> Deadlines | None:
        """When the run's profile wants each token."""
        return self.preparation.deadlines

    @property
    def ending(self) -> bool:
        """Whether the end was asked for, and users are still there."""
        return self.end_reason is not None and self.ended is None

    def now(self) -> float:
        """Seconds since the run's zero."""
        return clock.monotonic() - self.origin

    @property
    def plan(self) -> Plan | None:
        """What the run holds; None if Locust's own fields say how many users there are."""
        shape = self.environment.shape_class
        return shape.plan if isinstance(shape, LevelShape) else None

    @property
    def steps(self) -> LevelSteps | SearchSteps | SeriesSteps | None:
        """Current step of the plan; None without a plan."""
        shape = self.environment.shape_class
        return shape.steps if isinstance(shape, LevelShape) else None

    @property
    def position(self) -> str:
        """What the plan is doing, in a few words; empty without a plan."""
        steps = self.steps
        if steps is None:
            return ""
        if isinstance(steps, LevelSteps | SeriesSteps):
            return f"{steps.position}, {steps.why_again}" if steps.why_again else steps.position
        if self.goes_on:
            return "search, until Ctrl-C"
        run_for = self.live.now.t if self.live and self.live.now else 0.0
        return search_position(steps.seconds_left, steps.plan.longest - run_for, steps.least_seconds_left)

    @property
    def goes_on(self) -> bool:
        """Whether it is a search that goes on although it has reached its precision."""
        return isinstance(self.steps, OpenEndedSteps) and self.steps.goes_on

    def problems(self) -> list[str]:
        """What someone who watches the run should know: others' load, a slow load generator, unreadable metrics."""
        others = self.others_notice.present
        metrics = sorted({finding["why"] for finding in self.poll_findings()})
        slow = self.live.generator.trouble if self.live else ""
        return [*([f"{others[:1].upper()}{others[1:]}."] if others else []), *([slow] if slow else []), *metrics]

    def poll_findings(self) -> list[dict[str, Any]]:
        """Problems with reading the metrics of the server and its GPUs."""
        return [finding for pollers in self.pollers.values() for finding in pollers.findings()]


@dataclass(frozen=True)
class HostPollers:
    """What reads the metrics of one server and of its GPUs."""

    metrics: Poller | None
    gpus: tuple[Poller, ...]

    @property
    def all(self) -> tuple[Poller, ...]:
        """All of them."""
        return (self.metrics, *self.gpus) if self.metrics else self.gpus

    def start(self) -> None:
        """Start polling."""
        for poller in self.all:
            poller.start()

    def findings(self) -> list[dict[str, Any]]:
        """Problems with reading."""
        return [*(self.metrics.findings() if self.metrics else []), *gpu_findings(self.gpus)]


def search_position(left: float | None, limit: float, least: float | None = None) -> str:
    """Return `search, about 4 more minutes`. `left`: seconds until it is precise, `limit`: until its time is up.

    `least`: a lower limit, which alone is known at first: `search, at least 2 more minutes`.
    """
    if not left and least and least < limit:
        return ", ".join(filter(None, ("search", least_minutes_in_words(least))))
    left = left or least
    if not left or limit <= 0:
        return "search"
    return f"search, {'about' if left < limit else 'at most'} {minutes(min(left, limit), 'more minute')}"

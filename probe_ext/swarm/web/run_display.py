"""What is shown of runs while they go on: beside Locust's web UI, in it, and on the terminal."""

import json
import logging
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.client.safe_text import safe_text
from probe_ext.measure import clock
from probe_ext.run import directory
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.terminal.progress_line import Progress
from probe_ext.swarm.terminal.report_process import make_report
from probe_ext.swarm.web import live_json
from probe_ext.swarm.web.live_json import PastRun, Span, State
from probe_ext.swarm.web.live_page_routes import serve
from probe_ext.swarm.web.locust_tabs import add_tabs

logger = logging.getLogger(__name__)

_REMEMBERED = 100
"""runs whose reports are offered"""


class RunDisplay:
    """Knows the runs since this process began, and what goes on."""

    def __init__(self, environment: Environment) -> None:
        self.run: ActiveRun | None = None
        """the newest"""
        self.past: list[PastRun] = []
        """every run, that one too"""
        self._environment = environment
        self._doing: tuple[str, float] | None = None
        self._refused: str | None = None
        """why the last try to begin a run came to nothing"""
        self._progress = Progress()
        if environment.web_ui:
            serve(environment, self)
            add_tabs(environment.web_ui, self)
        elif environment.parsed_options.headless and environment.parsed_options.only_summary:
            gevent.spawn(self._keep_showing)

    def _keep_showing(self) -> None:
        """A line on the terminal, as long as there is something to wait for."""
        while True:
            gevent.sleep(1.0)
            if self._doing is not None:
                what, since = self._doing
                self._progress.preparing(what, clock.monotonic() - since)
            elif self._is_running() and self.run is not None and self.run.live and self.run.live.now:
                self._progress.show(self.run.live.now, self._environment.shape_class)

    def _is_running(self) -> bool:
        return self.run is not None and self.run.ended is None

    def preparing(self, what: str | None) -> None:
        """What is being done before a run begins; None when that is over."""
        if what is None:
            self._progress.clear()
        since = self._doing[1] if self._doing else clock.monotonic()
        self._doing = None if what is None else (what, since)

    def began(self, run: ActiveRun) -> None:
        """A run has begun."""
        self.run, self._refused = run, None
        number = self.past[-1].number + 1 if self.past else 1
        self.past.append(PastRun(number, run.directory, run.scenario, clock.utc_text(run.started_unix)))
        del self.past[:-_REMEMBERED]

    def refused(self, why: str) -> None:
        """A run did not begin."""
        self._refused = why

    def ended(self) -> None:
        """A run is over."""
        self._progress.clear()
        self.past[-1].state = "ended"

    def report(self, run: ActiveRun) -> None:
        """Make the report of a run that is over, and say so."""
        mine = next(one for one in self.past if one.directory == run.directory)
        mine.report = "making"
        code = make_report(run.directory)
        mine.report = "ready" if (run.directory / directory.CAPACITY_HTML).exists() else "failed"
        mine.sentence, mine.verdict = _answer(run.directory / directory.CAPACITY_JSON)
        logger.info("probe: the report of run %d ended with %d: %s", mine.number, code, run.directory)

    def now(self, span: Span) -> dict[str, Any]:
        """What the live page shows."""
        state = self._state()
        if self.past and state in {"running", "ending"}:
            self.past[-1].state = state
        return live_json.state(state, self._said(), self.run, self.past, span)

    def _state(self) -> State:
        if self._doing is not None:
            return "preparing"
        if self.run is None:
            return "idle"
        if self.run.ended is not None:
            return "ended"
        return "ending" if self.run.end_reason else "running"

    def _said(self) -> str | None:
        if self._doing is None:
            return self._refused
        what, since = self._doing
        return f"{what}, {clock.monotonic() - since:.0f} s"


def _answer(capacity: Path) -> tuple[str | None, str | None]:
    """The report's sentence and verdict."""
    try:
        told = json.loads(capacity.read_text(encoding="utf-8"))
        return safe_text(str(told["sentence"]), length=500), str(told["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None

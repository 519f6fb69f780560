"""Display runs while they go on: on the live page, in Locust's web UI, and on the terminal."""

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.live.capacity_range.range_news import RangeNews
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.load.boundary_search import EarlyRange
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.run import directory
from probe_ext.swarm.master.run_view import RunView
from probe_ext.swarm.terminal.console import ProgressLine, print_line
from probe_ext.swarm.terminal.report_process import make_report
from probe_ext.swarm.web import live_json
from probe_ext.swarm.web.live_json import PastRun, Span, State
from probe_ext.swarm.web.live_page_routes import serve
from probe_ext.swarm.web.locust_tabs import add_tabs
from probe_ext.verdict.values.answer import Answer

logger = logging.getLogger(__name__)

MAX_PART = 500
"""characters of a part of the answer"""
_MAX_PAST_RUNS = 100


class RunDisplay:
    """Knows the runs since this process started, and what is going on now."""

    def __init__(self, environment: Environment) -> None:
        self.past: list[PastRun] = []
        """every run, the current one last"""
        self._view: Callable[[], RunView] | None = None
        """of the newest run"""
        self._environment = environment
        self._preparation: tuple[str, float] | None = None
        """what is being prepared, and since when"""
        self._refusal: str | None = None
        """why the last attempt to start a run failed"""
        self._progress = ProgressLine()
        self._range_news: RangeNews | None = None
        if environment.web_ui:
            serve(environment, self.figures, self.past)
            add_tabs(environment, self._live_run)
        elif environment.parsed_options.headless and environment.parsed_options.only_summary:
            gevent.spawn(self._keep_progress)

    def _keep_progress(self) -> None:
        while True:
            gevent.sleep(1.0)
            run = self._run()
            if self._preparation is not None:
                what, since = self._preparation
                self._progress.show_preparation(what, clock.monotonic() - since)
            elif run and not run.ended and run.by_host is not None:
                self._progress.show_hosts(run.seconds, run.by_host, ending=bool(run.end_reason))
            elif run and not run.ended and run.live and run.live.now:
                self._show_run(run, run.live, run.live.now)

    def _show_run(self, run: RunView, live: LiveRun, now: Now) -> None:
        if run.end_reason:
            self._progress.show_ending(now.t)
        else:
            self._progress.show(now, live.levels.estimate, run.position)
            self._print_range(run, live)

    def _print_range(self, run: RunView, live: LiveRun) -> None:
        if run.search and live.now:
            _, _, remaining = run.position.partition(", ")
            self._range_news = self._range_news or RangeNews(live.levels.needed_share, live.rules.who)
            now, known = live.now, live.levels.estimate
            suggested = run.early_range or EarlyRange()
            if line := self._range_news.line(
                now.t,
                now.replies,
                known,
                remaining,
                suggested,
                precise=run.goes_on,
                generator=live.generator.trouble,
                widening=live.levels.widening,
            ):
                print_line(line)

    def _run(self) -> RunView | None:
        return self._view() if self._view else None

    def _live_run(self) -> LiveRun | None:
        run = self._run()
        return run.live if run else None

    def preparing(self, what: str | None) -> None:
        """Show what is being prepared before a run; None once it is done."""
        if what is None:
            self._progress.clear()
        since = self._preparation[1] if self._preparation else clock.monotonic()
        self._preparation = None if what is None else (what, since)

    def began(self, view: Callable[[], RunView]) -> None:
        """Show a new run."""
        self._view, self._refusal = view, None
        run = view()
        number = self.past[-1].number + 1 if self.past else 1
        self.past.append(PastRun(number, run.directory, run.scenario, run.started_at))
        del self.past[:-_MAX_PAST_RUNS]

    def refused(self, why: str) -> None:
        """Show why a run did not start."""
        self._refusal = why

    def ended(self) -> None:
        """Note that the run is over."""
        self._progress.clear()
        self.past[-1].state = "ended"

    def report(self, run_directory: Path, header_env: Iterable[str] = ()) -> None:
        """Make the report of a finished run, and link it."""
        run = next(past for past in self.past if past.directory == run_directory)
        run.report = "making"
        code = make_report(run_directory, header_env)
        run.report = "ready" if (run_directory / directory.CAPACITY_HTML).exists() else "failed"
        _read_answer(run_directory / directory.CAPACITY_JSON, run)
        run.sentence = run.answer.sentence if run.answer else None
        logger.info("probe: report of run %d finished with exit code %d: %s", run.number, code, run_directory)

    def figures(self, span: Span) -> dict[str, Any]:
        """Return what the live page shows."""
        run = self._run()
        state = self._state(run)
        if self.past and state in {"running", "ending"}:
            self.past[-1].state = state
        return live_json.state(state, self._detail(), run, self.past, span)

    def _state(self, run: RunView | None) -> State:
        if self._preparation is not None:
            return "preparing"
        if run is None:
            return "idle"
        if run.ended:
            return "ended"
        return "ending" if run.end_reason else "running"

    def _detail(self) -> str | None:
        if self._preparation is None:
            return self._refusal
        what, since = self._preparation
        return f"{what}, {clock.monotonic() - since:.0f} s"


def _read_answer(capacity: Path, run: live_json.PastRun) -> None:
    """Take the report's answer and verdict from `capacity.json`; leave them unknown where that can't be read."""
    try:
        report = json.loads(capacity.read_text(encoding="utf-8"))
        parts = {key: _safe(part) for key, part in report["answer"].items()}
        run.any_served = any(report[key][0] is not None for key in ("bracket", "rate_bracket"))
        run.answer, run.verdict = Answer(**parts), str(report["verdict"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return


def _safe(part: str | list[str]) -> Any:
    if isinstance(part, str):
        return safe_text(part, length=MAX_PART)
    return tuple(safe_text(text, length=MAX_PART) for text in part)

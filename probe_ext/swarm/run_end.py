"""End runs on a master or in a single-process Locust: by signal, by the scenario, by Locust; then report."""

import logging
import os
import sys
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group

from probe_ext.exit_codes import ExitCode
from probe_ext.swarm.master.coordinator import WORKERS_LEFT, WORKERS_LOST, Coordinator
from probe_ext.swarm.master.run_phase import Phase
from probe_ext.swarm.terminal.console import exit_main, print_line
from probe_ext.swarm.terminal.report_process import make_report
from probe_ext.swarm.web.run_display import RunDisplay
from probe_ext.verdict.phrasing.plurals import things

logger = logging.getLogger(__name__)

_NO_WORKERS = {
    WORKERS_LOST: "lost contact with the last worker; the run ends",
    WORKERS_LEFT: "the last worker left; the run ends",
}
_FORCED_END_S = 10.0  # from the second signal to the report, at most
_QUIT_TIMEOUT_S = 1.0  # for Locust to get to its last event, unless it waits for workers


class RunEnd:
    """Ends the run and the process in order."""

    def __init__(self, coordinator: Coordinator, display: RunDisplay) -> None:
        self._coordinator, self._display = coordinator, display
        self._process, self._environment = coordinator.process, coordinator.process.environment
        self._headless: bool = self._environment.parsed_options.headless
        self._reports = Group()
        self._final: Any = None
        """greenlet that makes the final report and exit code"""
        self.waiting: Any = None
        """greenlet that waits for workers"""

    def on_signal(self, reason: str) -> None:
        """Quit on the first signal."""
        self._coordinator.signal_reason = reason
        gevent.spawn(self._leave)

    def force_stop(self) -> None:
        """Abort replies in flight, on the second. Whatever still waits then, the process ends soon, with its report."""
        self._process.force_stop = True
        gevent.spawn_later(_FORCED_END_S, self._end_now)

    def _end_now(self) -> None:
        """Report what there is and exit, if Locust has not come to its last event by now."""
        if self._final is None:
            self._final = gevent.spawn(self._finish, ExitCode.OK)
        code: int = self._final.get()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _leave(self) -> None:
        self._coordinator.phase.wait_while(Phase.STARTING)  # a run with a directory is ended in order, and reported
        if self.waiting:
            self.waiting.kill()
        if self._headless and self._coordinator.run is None:
            self._display.preparing(None)
            print_line(f"{self._coordinator.signal_reason or 'interrupted'} before the run began")
        elif self._headless:
            self._announce_drain()
        self._environment.runner.quit()
        if self._environment.web_ui:
            self._environment.web_ui.stop()
        elif self._coordinator.run is None:
            gevent.sleep(_QUIT_TIMEOUT_S)
            if self._final is None:  # Locust still waits for its workers
                exit_main(ExitCode.INTERRUPTED)

    def _announce_drain(self) -> None:
        run, phase = self._coordinator.run, self._coordinator.phase.now
        if run is not None and run.options.drain and phase in {Phase.RUNNING, Phase.DRAINING}:
            self._display.preparing(None)  # clears the progress line
            limit = f"waiting up to {run.options.drain:g} s for replies in flight"
            print_line(f"{self._coordinator.signal_reason}: {limit}; repeat the signal to abort them")

    def on_scenario_end(self, why: str | None = None) -> None:
        """A user has ended the run: stop the test, and headless, Locust too. `why`: end_reason, if it is not done."""
        run = self._coordinator.run
        if run is None or run.end_reason is not None:
            return
        run.end_reason = why or "scenario_done"
        if self._headless:
            self._environment.runner.quit()
        else:
            self._environment.runner.stop()

    def on_test_stop(self) -> None:
        """Users are gone: close the run, and in a web UI, report it."""
        run = self._coordinator.finish()
        if run is None:
            return
        self._display.ended()
        if self._headless and run.end_reason in _NO_WORKERS:
            print_line(_NO_WORKERS[run.end_reason])
            gevent.spawn(self._environment.runner.quit)  # Locust would wait for workers for ever
        logger.info("probe: results saved to %s", run.directory)
        if not self._headless and not run.options.no_report:
            self._reports.spawn(self._display.report, run.directory, run.options.header_env)

    def on_quit(self, exit_code: int, **_: Any) -> None:
        """Locust's last event: make the report, the last thing that a headless run prints.

        A SIGTERM while the report is made fires it again, as when Docker stops the rest after a worker's container has
        ended: both wait for one report and one exit code.
        """
        if self._final is None:
            self._final = gevent.spawn(self._finish, exit_code)
        code: int = self._final.get()
        if code == exit_code:
            return
        if gevent.getcurrent() is not gevent.get_hub().parent:  # a signal's, where SystemExit would print a traceback
            exit_main(code)
            Event().wait()  # the main greenlet ends the process
        raise SystemExit(code)

    def _finish(self, locust_code: int) -> int:
        """Return INTERRUPTED after Ctrl-C, INVALID if rows were lost, else the report's code, or Locust's own."""
        self.on_test_stop()  # in case the runner never stopped
        self._reports.join()
        run, code = self._coordinator.run, 0
        if self._headless and run is not None and not run.options.no_report:
            code = make_report(run.directory, run.options.header_env)
            if code < 0 or code == ExitCode.INTERRUPTED:  # the signal reached the report's process too
                print_line(f"the report was interrupted; `probe report {run.directory}` makes it from what was kept")
        if run is not None and (unwritten := run.collector.unwritten):
            lost = ", ".join(f"{things(lines, 'line')} of {name}" for name, lines in unwritten.items())
            print_line(f"--out {run.directory}: the disk did not take {lost}")
            code = ExitCode.INVALID
        return ExitCode.INTERRUPTED if self._coordinator.signal_reason == "interrupted" else code or locust_code

"""Which of Locust's events calls what on a master or in a lone Locust: runs start, are ended, are reported."""

import logging
import os
import sys
from collections import Counter
from typing import Any, NoReturn

import gevent
from locust.runners import MasterRunner

from probe_ext.client.safe_text import safe_text
from probe_ext.exit_codes import ExitCode
from probe_ext.measure import clock
from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, Plan
from probe_ext.swarm.commands.run_command import DEFAULT_LEVELS_VARIABLE
from probe_ext.swarm.commands.worker_command import joining
from probe_ext.swarm.link import messages
from probe_ext.swarm.master import calibration_store
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.coordinator import WORKERS_LEFT, WORKERS_LOST, Coordinator
from probe_ext.swarm.master.exit_status import final_code
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.preflight import Preflight, PreparedRun, plan_line, refuse_mixture, take_default_levels
from probe_ext.swarm.master.wait_for_workers import for_workers, outlive_workers
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.terminal.signals import SignalEnd
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.users.recorder import watch_loop
from probe_ext.swarm.web.exporter import Exporter, serve
from probe_ext.swarm.web.live_page_routes import address
from probe_ext.swarm.web.login import add_login
from probe_ext.swarm.web.run_display import RunDisplay
from probe_ext.swarm.web.run_form import WebForm

logger = logging.getLogger(__name__)

_NOBODY_LEFT = {
    WORKERS_LOST: "the last worker was lost; the run ends here",
    WORKERS_LEFT: "the last worker left; the run ends here",
}
_STOPPED = "it was stopped before it began"
_WORKERS_COME = 10.0
"""seconds that a refused run waits for its own worker processes, to tell them"""
_CLOSES_WITHIN = 30.0
_GOES_BY_ITSELF = 1.0
"""seconds in which Locust, told to quit, has come to its last event, unless it waits for something"""
_SAID_AGAIN = 20
"""times, half a second apart, that workers are told to stop what should not have begun"""


class MasterWiring:
    """A master or a lone Locust: starts and ends runs as Locust's events come."""

    def __init__(self, node: ProcessState) -> None:
        self.node = node
        self.environment = node.environment
        self.headless: bool = self.environment.parsed_options.headless
        self.head = Coordinator(node)
        self._view = RunDisplay(self.environment)
        self._starter = Preflight(node, self._view.preparing)
        self._ready: PreparedRun | None = None
        self._reporting: list[Any] = []
        self._refused = 0
        self._starting = False
        self._last: Any = None
        """the greenlet that says the last words"""
        self._waiting: Any = None
        """the greenlet that waits for workers; a signal may come before there is one"""
        self._preparing = False
        """whether a run is on its way from the web form to its first user"""
        self._given_up = False
        """whether Stop was pressed while the form was being looked at"""
        if DEFAULT_LEVELS_VARIABLE in os.environ:
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)  # its tables would hide the verdict
        SignalEnd(self._signalled, self._force_stop)
        if self.headless and isinstance(self.environment.runner, MasterRunner):
            outlive_workers(self.environment.runner, lambda: self.head.run is not None)
        if self.headless:
            take_default_levels(self.environment.parsed_options, self.environment.user_classes)
            self._prepare_or_leave()
        self._attach_shape(self._plan_given())
        if self.environment.web_ui:
            add_login(self.environment)
            logger.info("probe: the live page is at %s", address(self.environment.parsed_options))
            WebForm(self.environment, self._is_running, self._take_form, self._give_up)
            node.exporter = Exporter(self.environment)
            serve(self.environment, node.exporter)
        self._waiting = gevent.spawn(self._wait_for_workers) if self._is_to_wait() else None
        if self.head.local:
            gevent.spawn(lambda: watch_loop(lambda: node.recorder, gevent.sleep))
        self.environment.runner.register_message(messages.END, lambda **_: gevent.spawn(self._wanted_end))
        listen = self.environment.events
        listen.test_start.add_listener(lambda **_: self._test_start())
        listen.test_stopping.add_listener(lambda **_: self.head.drain())
        listen.test_stop.add_listener(lambda **_: self._test_stop())
        listen.quit.add_listener(self._quit)

    def _prepare_or_leave(self) -> None:
        """Headless, a run that cannot work is refused before any load, in one line."""
        try:
            options = self.node.options
            refuse_mixture(self.environment.parsed_options, options)
            ready = self._starter.ready(options, self.environment.host)
            if options.plan is not None:
                print_line(plan_line(options.plan))
            self._ready = self._starter.warmed(ready)
            self._warn_of_shortage(options)
        except (SettingsError, RunDirectoryError) as error:
            self._refuse(str(error))
        except Exception as defect:
            logger.debug("while preparing", exc_info=defect)
            self._refuse(f"a defect of probe itself: {type(defect).__name__}: {defect}")

    def _is_to_wait(self) -> bool:
        given = self.environment.parsed_options
        return isinstance(self.environment.runner, MasterRunner) and bool(self.headless or given.autostart)

    def _wait_for_workers(self) -> None:
        """Locust itself waits in silence, and gives up with the code of a gate that is missed."""
        given = self.environment.parsed_options
        most, given.expect_workers_max_wait = given.expect_workers_max_wait or 0, 0
        how = None if given.processes else f"start one with {joining(given.master_bind_host, given.master_bind_port)}"
        if not for_workers(self._here, given.expect_workers, most, how, self._view.preparing, gevent.sleep):
            self.environment.runner.quit()
            self._end_main(ExitCode.USAGE)

    def _here(self) -> Counter[str]:
        return self.head.workers.hosts(self.environment.runner.clients.values())

    def _warn_of_shortage(self, options: Options) -> None:
        """Before the start: whether the workers bear what is planned, as far as this machine was ever calibrated."""
        given = self.environment.parsed_options
        users = max(options.levels or (given.num_users or 1,))
        why = calibration_store.shortage(
            calibration_store.load(), users, max(1, given.processes or 1, given.expect_workers or 1)
        )
        if why:
            print_line(why)

    def _refuse(self, why: str) -> NoReturn:
        """Say why there is no run, send the workers away, leave. A worker without a master would wait for a minute."""
        print_line(why)
        runner, wanted = self.environment.runner, self.environment.parsed_options.processes or 0
        if isinstance(runner, MasterRunner):
            until = clock.monotonic() + _WORKERS_COME
            while len(runner.clients) < wanted and clock.monotonic() < until:
                gevent.sleep(0.05)
            runner.quit()
        sys.exit(ExitCode.USAGE)

    def _plan_given(self) -> Plan | None:
        try:
            return self.node.options.plan
        except SettingsError as error:
            self._refuse(str(error))

    def _attach_shape(self, plan: Plan | None) -> None:
        """Levels from the options make Locust's load shape; without them Locust keeps its user fields."""
        if plan is None:
            if isinstance(self.environment.shape_class, LevelShape):
                self.environment.shape_class = None
            return
        shape = LevelShape(plan, self._hearing, self._is_ending, self._run_now)
        shape.runner = self.environment.runner
        self.environment.shape_class = shape

    def _take_form(self, options: Options, host: str | None) -> None:
        """The web form's run; its levels take effect before Locust reads whether there is a shape.

        A second form meanwhile would take the first one's place in the middle of its warm-up.
        """
        if self._preparing:
            raise SettingsError("a run is being started already; stop it first to start another")
        self._preparing, self._given_up = True, False
        try:
            self._take(options, host)
        finally:
            self._preparing = False

    def _take(self, options: Options, host: str | None) -> None:
        until = clock.monotonic() + _CLOSES_WITHIN
        while self.head.run is not None and not self.head.run.closed:  # Locust's figures are still those of that run
            if clock.monotonic() > until:
                raise SettingsError("the last run is still being closed; try again in a while")
            gevent.sleep(0.05)
        ready = self._starter.ready(options, host)
        if self._given_up:
            raise SettingsError(_STOPPED)
        self._ready = ready
        self._attach_shape(options.plan)

    def _give_up(self) -> None:
        """Stop was pressed while no run was going on: what the form has begun comes to no run."""
        while self._starting:  # it has its folder: Locust's own Stop, which comes next, ends it in order
            gevent.sleep(0.01)
        self._given_up = True
        if self._ready is None:
            return
        self._ready = None
        runner = self.environment.runner
        if runner.shape_greenlet is not None:  # Locust's Stop ends only who has users already
            runner.shape_greenlet.kill()
            runner.shape_greenlet = runner.shape_last_tick = None
        self._view.refused(_STOPPED)

    def _is_running(self) -> bool:
        return self.head.run is not None and self.head.run.ended is None

    def _hearing(self) -> Any:
        return self.head.run.hearing if self.head.run else None

    def _is_ending(self) -> bool:
        run = self.head.run
        return run is not None and run.end_reason is not None and run.ended is None

    def _run_now(self) -> float:
        return self.head.run.now() if self.head.run else 0.0

    def _made_ready(self) -> PreparedRun:
        if self.headless and self._ready:
            return self._ready
        return self._starter.warmed(self._ready or self._starter.ready(self.node.options, self.environment.host))

    def _test_start(self) -> None:
        self._preparing = True
        try:
            self._start_run()
        finally:
            self._preparing = False  # also where a stop meanwhile ends this greenlet

    def _start_run(self) -> None:
        try:
            ready = self._made_ready()
        except Exception as error:  # Locust would log it and load the server all the same, with nobody measuring
            defect = "" if isinstance(error, SettingsError | RunDirectoryError) else "a defect of probe itself: "
            why = f"{defect}{safe_text(str(error), length=1000)}"
            logger.error("probe: %s; the run is stopped", why)  # noqa: TRY400 - one line says it
            self._view.refused(why)
            gevent.spawn(self._stop_starting)
            return
        self._ready = None
        self._starting = True
        try:
            self._begin(ready)
        finally:
            self._starting = False

    def _begin(self, ready: PreparedRun) -> None:
        scenario = self._starter.scenario()
        self.node.prepared = {"model": ready.made.model, "prompts": ready.made.prompts, "scenario": scenario}
        try:
            run = ActiveRun(self.node, self.head.workers, ready.options, ready.made, ready.directory, scenario)
        except OSError as error:
            self._refused = ExitCode.USAGE
            logger.error("probe: --out %s: cannot be written: %s; the run is stopped", ready.directory, error.strerror)  # noqa: TRY400
            gevent.spawn(self.environment.runner.quit if self.headless else self._stop_starting)
            return
        self.head.begin(run)
        self._view.began(run)

    def _stop_starting(self) -> None:
        """Locust goes on to send users once its listeners return: who does that is ended, as its own Stop ends it."""
        starting = getattr(self.environment.web_ui, "_swarm_greenlet", None)
        if starting is not None:
            starting.kill()
        runner = self.environment.runner
        runner.stop()
        for _ in range(_SAID_AGAIN):
            gevent.sleep(0.5)
            if not runner.user_count:
                return
            runner.send_message("stop")  # what it had sent already came after the first word

    def _test_stop(self) -> None:
        run = self.head.finish()
        if run is None:
            return
        self._view.ended()
        if self.headless and run.end_reason in _NOBODY_LEFT:
            print_line(_NOBODY_LEFT[run.end_reason])
            gevent.spawn(self.environment.runner.quit)  # Locust alone would wait for workers without end
        logger.info("probe: the run lies in %s", run.directory)
        if not self.headless and not run.options.no_report:
            self._reporting.append(gevent.spawn(self._view.report, run))

    def _signalled(self, reason: str) -> None:
        self.head.signalled = reason
        gevent.spawn(self._leave)

    def _wanted_end(self) -> None:
        """A user has what it wanted: a headless run is over, a web UI stays for the next."""
        run = self.head.run
        if run is None or run.end_reason is not None:
            return  # it ends already
        run.end_reason = "scenario_done"
        if self.headless:
            self.environment.runner.quit()
        else:
            self.environment.runner.stop()

    def _leave(self) -> None:
        while self._starting:  # a run that has its folder is ended in order, and reported
            gevent.sleep(0.01)
        if self._waiting:
            self._waiting.kill()
        if self.headless and self.head.run is None:
            self._view.preparing(None)
            print_line("interrupted before the run began")
        elif self.headless:
            self._say_what_may_take_long()
        self.environment.runner.quit()
        if self.environment.web_ui:
            self.environment.web_ui.stop()
        elif self.head.run is None:
            gevent.sleep(_GOES_BY_ITSELF)
            if self._last is None:  # Locust still waits for its workers
                self._end_main(ExitCode.INTERRUPTED)

    def _say_what_may_take_long(self) -> None:
        run = self.head.run
        if run is not None and not run.drained and run.options.drain:
            self._view.preparing(None)  # off the line of progress
            limit = f"replies in flight may go on for {run.options.drain:g} s"
            print_line(f"{self.head.signalled}: {limit}; the same once more cuts them off")

    def _end_main(self, code: int) -> None:
        main: Any = gevent.get_hub().parent
        gevent.kill(main, SystemExit(code))

    def _force_stop(self) -> None:
        self.node.force_stop = True

    def _quit(self, exit_code: int, **_: Any) -> None:
        """Locust's last event: everything is in. The report is the last thing that a headless run says.

        A SIGTERM while the report is made brings it a second time, as when Docker stops what is left once a worker's
        container has ended: there is one report all the same, and one exit code, for which both wait.
        """
        if self._last is None:
            self._last = gevent.spawn(self._last_words, exit_code)
        code: int = self._last.get()
        if code != exit_code:
            raise SystemExit(code)

    def _last_words(self, exit_code: int) -> int:
        self._test_stop()  # a runner that never stopped in order
        gevent.joinall(self._reporting)
        signalled = self.head.signalled
        code = final_code(self.head.run, exit_code, headless=self.headless, signalled=signalled)
        return code if signalled == "interrupted" else self._refused or code

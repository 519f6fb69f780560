"""Start runs on a master or in a single-process Locust: from the command line, or from the web form."""

import logging
import sys
from argparse import Namespace
from typing import Any, NoReturn

import gevent
from gevent.event import Event
from locust.runners import MasterRunner

from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.planned_run import planned_run
from probe_ext.inspection.quick_checks import lines_to_print, machine_findings
from probe_ext.inspection.replies.streaming import streaming
from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.open_ended_search import open_ended
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, Plan
from probe_ext.swarm.locust_options import is_open_ended
from probe_ext.swarm.master.active_run import ActiveRun
from probe_ext.swarm.master.coordinator import Coordinator
from probe_ext.swarm.master.load_shape import LevelShape, RateShape
from probe_ext.swarm.master.run_phase import Phase
from probe_ext.swarm.master.run_view import view_of
from probe_ext.swarm.preparation.host_choice import choose_host
from probe_ext.swarm.preparation.preflight import (
    Preflight,
    PreparedRun,
    plan_line,
    server_line,
    take_default_levels,
)
from probe_ext.swarm.preparation.provability import profile_line, proof_line
from probe_ext.swarm.preparation.stream_plan import kinds_of, plan_of, rates_of, slots_of
from probe_ext.swarm.preparation.target_probe import Preparation, PreparedWorkload
from probe_ext.swarm.preparation.workload_plan import workload_lines
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.web.run_display import RunDisplay
from probe_ext.verdict.wording.early_end import NO_ANSWER

logger = logging.getLogger(__name__)

_STOPPED = "stopped before it began"
_STARTING = {Phase.PREPARING, Phase.CANCELLED, Phase.STARTING}
_WORKERS_TIMEOUT_S = 10.0  # for our own worker processes to connect, so that a refused run can end them
_CLOSING_TIMEOUT_S = 30.0
_MAX_STOPS = 20  # half a second apart


class RunStart:
    """Prepares a run, and begins it when Locust starts the test."""

    def __init__(self, coordinator: Coordinator, display: RunDisplay) -> None:
        self._coordinator, self._display = coordinator, display
        self._process, self._phase = coordinator.process, coordinator.phase
        self._environment = self._process.environment
        self._headless: bool = self._environment.parsed_options.headless
        self._preflight = Preflight(self._process, display.preparing)
        self._prepared: PreparedRun | None = None

    def prepare(self) -> None:
        """Prepare what the command line asks for. Headless, a run that cannot work is refused before any load."""
        try:
            chosen = choose_host(self._environment, self._preflight.workload())
            if self._headless:
                self._prepare_headless(chosen)
            else:
                if chosen is not None:
                    print_line(chosen)
                options = self._process.read_options()
                given = self._preflight.take_workload(options)
                self._attach_shape(options, plan_of(options, given[0] if given else None))
        except (SettingsError, RunDirectoryError) as error:
            self.refuse(str(error))
        except Exception as error:
            logger.debug("while preparing", exc_info=error)
            self.refuse(f"internal error (please report): {type(error).__name__}: {error}")

    def _prepare_headless(self, chosen: str | None) -> None:
        """Prepare the run; `chosen` says which server was found, once it is known that a run against it can start."""
        self._phase.enter(Phase.PREPARING)
        given = self._environment.parsed_options
        if not self._preflight.opens_stream():
            think_time = self._process.read_options().think_time
            take_default_levels(given, self._environment.user_classes, self._preflight.workload(), think_time)
        options = self._process.read_options()
        prepared = self._preflight.prepare(options, self._environment.host)
        if chosen is not None:
            print_line(chosen)
        elif not prepared.preparation.by_host:
            print_line(server_line(prepared.preparation))
        self._hold_if_ending()
        self._coordinator.prompt_files = _files_of(prepared)  # workers that join from now on need them
        plan = _to_carry_out(prepared.plan, given)
        if plan is not None:
            print_line(plan_line(plan))
        self._attach_shape(options, plan, prepared.preparation.workload)
        if demand := profile_line(prepared):
            print_line(demand)
        for line in workload_lines(prepared.preparation.workload, options):
            print_line(line)
        self._prepared = self._preflight.warm_up(prepared)
        self._hold_if_ending()
        if self._prepared.preparation.refusal is not None:
            print_line(self._prepared.preparation.refusal)
            self._quit(self._report_refusal(self._prepared))
        if proof := proof_line(self._prepared):
            print_line(proof)
        self._print_what_to_fix(self._prepared)
        self._phase.enter(Phase.PREPARED)

    def _print_what_to_fix(self, prepared: PreparedRun) -> None:
        """Print the limits of this machine that the plan exceeds, and what is wrong with the warm-up's first reply."""
        given, workload = self._environment.parsed_options, prepared.preparation.workload
        options = workload.sample if workload else prepared.options
        processes = max(1, given.processes or 1)
        workers = max(processes, given.expect_workers or 1)
        plan = planned_run(options, given.num_users, given.run_time)
        findings = machine_findings(plan, options, processes=processes, workers=workers)
        if prepared.preparation.first_reply is not None and not options.no_stream:
            findings.append(streaming([prepared.preparation.first_reply]))
        for line in lines_to_print(findings):
            print_line(line)

    def _report_refusal(self, prepared: PreparedRun) -> int:
        """Report a run that ends before it begins, as the server answers no request; return the exit code."""
        try:
            run = self._make_run(prepared)
        except OSError as error:
            print_line(f"--out {prepared.directory}: not writable: {error.strerror}")
            return ExitCode.INVALID
        run.end_reason = NO_ANSWER
        self._display.began(lambda: view_of(run))
        run.finish()
        self._display.ended()
        if not prepared.options.no_report:
            self._display.report(run.directory, run.options.header_env)
        return ExitCode.INVALID

    def _make_run(self, prepared: PreparedRun) -> ActiveRun:
        return ActiveRun(
            self._environment,
            self._coordinator.workers,
            prepared.options,
            prepared.preparation,
            prepared.directory,
            self._preflight.scenario(),
            self._process.on_reply,
        )

    def refuse(self, why: str) -> NoReturn:
        """Say why there is no run or no web UI, and end."""
        print_line(why)
        self._quit(ExitCode.USAGE)

    def _quit(self, code: int) -> NoReturn:
        """End the workers, and exit. A worker without a master would wait for a minute."""
        runner, expected = self._environment.runner, self._environment.parsed_options.processes or 0
        if isinstance(runner, MasterRunner):
            until = clock.monotonic() + _WORKERS_TIMEOUT_S
            # Not `runner.clients`: Locust lists a worker before it has started, and it would miss the quit message.
            while len(self._coordinator.workers.known) < expected and clock.monotonic() < until:
                gevent.sleep(0.05)
            runner.quit()
        sys.exit(code)

    def _attach_shape(self, options: Options, plan: Plan | None, prepared: PreparedWorkload | None = None) -> None:
        """Make a plan Locust's load shape; without one, Locust keeps its user fields."""
        environment, coordinator = self._environment, self._coordinator
        if plan is None:
            if isinstance(environment.shape_class, LevelShape):
                environment.shape_class = None
            return
        reads = (
            lambda: coordinator.run.monitor if coordinator.run else None,
            lambda: coordinator.run is not None and coordinator.run.ending,
            lambda: coordinator.run.now() if coordinator.run else 0.0,
        )
        if isinstance(plan, LevelPlan | SeriesPlan) and plan.by_rate:
            shape: LevelShape = RateShape(
                plan,
                slots_of(options, prepared.workload if prepared else None),
                lambda: coordinator.run.stream if coordinator.run else None,
                *reads,
            )
        else:
            shape = LevelShape(plan, *reads)
        shape.runner = environment.runner
        environment.shape_class = shape

    def take_form(self, options: Options, host: str | None) -> None:
        """Prepare the web form's run; its plan takes effect before Locust looks for a load shape.

        SettingsError or RunDirectoryError if it cannot start, also while another one is being prepared.
        """
        if not self._phase.wait_while(Phase.CLOSING, _CLOSING_TIMEOUT_S):  # Locust's figures are still the last run's
            raise SettingsError("the last run is still being closed; try again in a moment")
        if self._phase.now in _STARTING:
            raise SettingsError("a run is already being started; stop it first")
        self._phase.enter(Phase.PREPARING)
        try:
            prepared = self._preflight.prepare(options, host)
            self._compare_files(prepared)
        finally:
            cancelled = self._phase.now is Phase.CANCELLED
            self._phase.enter(Phase.IDLE)
        if cancelled:
            raise SettingsError(_STOPPED)
        self._prepared = prepared
        self._attach_shape(options, prepared.plan)
        self._phase.enter(Phase.PREPARED)

    def _compare_files(self, prepared: PreparedRun) -> None:
        """Wait until all workers have compared their prompt files. SettingsError names one that has others."""
        self._coordinator.prompt_files = _files_of(prepared)  # a worker that joins from now on needs them
        try:
            self._coordinator.await_files()
        except SettingsError:
            self._coordinator.prompt_files = ()
            raise

    def cancel(self) -> None:
        """Give up the run that is being prepared: Stop was pressed before it began."""
        self._phase.wait_while(Phase.STARTING)  # its directory exists: Locust's own Stop, which comes next, ends it
        if self._phase.now is Phase.PREPARING:
            self._phase.enter(Phase.CANCELLED)
        elif self._phase.now is Phase.PREPARED:
            self._phase.enter(Phase.IDLE)
        if self._prepared is None:
            return
        self._prepared = None
        runner = self._environment.runner
        if runner.shape_greenlet is not None:  # Locust's Stop ends a load shape only if there are users
            runner.shape_greenlet.kill()
            runner.shape_greenlet = runner.shape_last_tick = None
        self._display.refused(_STOPPED)

    def on_test_start(self) -> None:
        """Locust starts the test: warm the server up, and begin the run."""
        self._phase.enter(Phase.PREPARING)
        try:
            self._begin(self._warmed_up())
        except Exception as error:  # Locust would log it, and load the server with nobody measuring
            known = isinstance(error, SettingsError | RunDirectoryError)
            why = safe_text(("" if known else "internal error (please report): ") + str(error), length=1000)
            logger.error("probe: %s; the run is stopped", why)  # noqa: TRY400 - one line is enough
            self._display.refused(why)
            gevent.spawn(self._stop_test)
        finally:
            if self._phase.now in _STARTING:  # failed, or Stop has killed this greenlet
                self._phase.enter(Phase.IDLE)

    def _warmed_up(self) -> PreparedRun:
        if self._headless and self._prepared:
            return self._prepared
        prepared = self._prepared or self._preflight.prepare(self._process.read_options(), self._environment.host)
        prepared = self._preflight.warm_up(prepared)
        if self._phase.now is Phase.CANCELLED:  # and nobody has killed this greenlet
            raise SettingsError(_STOPPED)
        return prepared

    def _hold_if_ending(self) -> None:
        """Go no further once a signal has come: `RunEnd` says that no run began, and exits within a second."""
        if self._headless and self._coordinator.signal_reason is not None:
            Event().wait()

    def _begin(self, prepared: PreparedRun) -> None:
        self._hold_if_ending()
        self._prepared = None
        self._phase.enter(Phase.STARTING)
        preparation = prepared.preparation
        if preparation.refusal is not None:
            self._environment.process_exit_code = self._report_refusal(prepared)
            raise SettingsError(preparation.refusal)
        self._compare_files(prepared)
        self._process.options = prepared.options
        self._environment.parsed_options.body = prepared.options.body or ""  # the form may name its file
        workload = preparation.workload.workload if preparation.workload else None
        self._process.prepared = {
            "model": preparation.model,
            "prompts": preparation.prompts,
            "scenario": self._preflight.scenario(),
            "form": preparation.negotiation.form.as_dict() if preparation.negotiation else None,
            "workload": workload.to_message() if workload else None,
            "context": preparation.context,
            "prompt_files": _files_of(prepared),
            "stream_kinds": list(kinds_of(workload)) if rates_of(prepared.plan) else None,
            "by_host": {one.kind: _of_host(one.preparation) for one in preparation.by_host},
        }
        try:
            run = self._make_run(prepared)
        except OSError as error:
            self._environment.process_exit_code = ExitCode.USAGE
            logger.error("probe: --out %s: not writable: %s; the run is stopped", prepared.directory, error.strerror)  # noqa: TRY400
            gevent.spawn(self._environment.runner.quit if self._headless else self._stop_test)
            return
        self._display.began(lambda: view_of(run))
        self._coordinator.begin(run)

    def _stop_test(self) -> None:
        """Stop the test that Locust is starting: it goes on to spawn users when its listeners have returned."""
        starting = getattr(self._environment.web_ui, "_swarm_greenlet", None)
        if starting is not None:
            starting.kill()
        runner = self._environment.runner
        runner.stop()
        for _ in range(_MAX_STOPS):
            gevent.sleep(0.5)
            if not runner.user_count:
                return
            runner.send_message("stop")  # spawn messages that were under way arrived after the first stop


def _to_carry_out(plan: Plan | None, given: Namespace) -> Plan | None:
    """Return the plan; of a search that someone watches, one that goes on after its precision is reached."""
    return open_ended(plan) if isinstance(plan, SearchPlan) and is_open_ended(given) else plan


def _of_host(preparation: Preparation) -> dict[str, Any]:
    """Return what users of one of several servers need to know of it."""
    return {
        "host": preparation.host,
        "model": preparation.model,
        "prompts": preparation.prompts,
        "form": preparation.negotiation.form.as_dict() if preparation.negotiation else None,
        "context": preparation.context,
    }


def _files_of(prepared: PreparedRun) -> list[dict[str, Any]]:
    workload = prepared.preparation.workload
    return workload.file_messages() if workload else []

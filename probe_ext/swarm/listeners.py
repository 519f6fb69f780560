"""Which of Locust's events calls what, per kind of node. Importing this module is what switches the package on."""

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from probe_ext.client.safe_text import safe_text
from probe_ext.client.target import parse_target
from probe_ext.load.levels import LevelPlan
from probe_ext.measure import clock
from probe_ext.run.directory import RunDirectoryError, fresh
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, read_options
from probe_ext.swarm import wire
from probe_ext.swarm.active_run import ActiveRun
from probe_ext.swarm.after import make_report
from probe_ext.swarm.head import Head
from probe_ext.swarm.launch import DEFAULT_LEVELS_VARIABLE
from probe_ext.swarm.node import Node
from probe_ext.swarm.options import add_options
from probe_ext.swarm.prepare import Preparation, prepare
from probe_ext.swarm.recorder import watch_loop
from probe_ext.swarm.shape import LevelShape
from probe_ext.swarm.signals import INTERRUPTED, SignalEnd
from probe_ext.swarm.warm_up import warm_up
from probe_ext.swarm.worker import WorkerEnd

logger = logging.getLogger(__name__)

WRONG_USAGE = 2
ROWS_LOST = 3
_WORKERS_COME = 10.0
"""seconds that a refused run waits for its own worker processes, to tell them"""

_GOES_BY_ITSELF = 1.0
"""seconds in which Locust, told to quit, has come to its last event, unless it waits for something"""


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    add_options(parser)


@events.init.add_listener
def _set_up(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    node = Node(environment, worker=runner.client_id if hasattr(runner, "client_id") else "master")
    environment.probe_node = node
    if isinstance(runner, WorkerRunner):
        _set_up_worker(node, runner)
    else:
        HeadWiring(node)


def _set_up_worker(node: Node, runner: WorkerRunner) -> None:
    end = WorkerEnd(node, runner)
    gevent.spawn(lambda: watch_loop(lambda: node.recorder, gevent.sleep))

    def leave(**_: Any) -> None:
        end.leave(_drain_limit(node))

    def hurry() -> None:
        node.hurry = True

    node.environment.events.test_start.add_listener(lambda **_: end.test_start())
    node.environment.events.test_stopping.add_listener(leave)
    node.environment.events.quitting.add_listener(leave)  # runs before Locust tells the master that we are gone
    SignalEnd(lambda _reason: gevent.spawn(runner.quit), hurry)


def _drain_limit(node: Node) -> float:
    try:
        return node.options.drain
    except SettingsError:
        return 0.0


def _say(why: str) -> None:
    print(f"probe: {safe_text(why, length=1000)}", file=sys.stderr, flush=True)  # noqa: T201 - a command speaks to its user


class HeadWiring:
    """A master or a lone Locust: starts and ends runs as Locust's events come."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.environment = node.environment
        self.headless: bool = self.environment.parsed_options.headless
        self.head = Head(node)
        self._prepared: tuple[Options, Preparation, Path] | None = None
        self._reporting: list[Any] = []
        self._refused: int | None = None
        self._runs = 0
        self._starting = self._quitting = False
        if DEFAULT_LEVELS_VARIABLE in os.environ:
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)  # its tables would hide the verdict
        SignalEnd(self._signalled, self._hurry)
        if self.headless:
            self._take_default_levels()
            self._prepare_or_leave()
        self._attach_shape(self._plan_given())
        if self.environment.web_ui:
            self.environment.web_ui.app.before_request(self._before_request)
        if self.head.local:
            gevent.spawn(lambda: watch_loop(lambda: node.recorder, gevent.sleep))
        self.environment.runner.register_message(wire.END, lambda **_: gevent.spawn(self._wanted_end))
        listen = self.environment.events
        listen.test_start.add_listener(lambda **_: self._test_start())
        listen.test_stopping.add_listener(lambda **_: self.head.drain())
        listen.test_stop.add_listener(lambda **_: self._test_stop())
        listen.quit.add_listener(self._quit)

    def _take_default_levels(self) -> None:
        """`probe run` without levels, users or time: the usual levels, unless the scenario ends by itself."""
        given = self.environment.parsed_options
        usual = os.environ.get(DEFAULT_LEVELS_VARIABLE)
        driven = given.levels or given.num_users or given.run_time
        ends_itself = any(getattr(user, "ends_itself", False) for user in self.environment.user_classes)
        if usual and not driven and not ends_itself:
            given.levels = usual

    def _prepare_or_leave(self) -> None:
        """Headless, a run that cannot work is refused before any load, in one line."""
        try:
            self._refuse_mixture()
            self._prepared = self._prepare()
        except (SettingsError, RunDirectoryError) as error:
            self._refuse(str(error))
        except Exception as defect:
            logger.debug("while preparing", exc_info=defect)
            self._refuse(f"a defect of probe itself: {type(defect).__name__}: {defect}")

    def _refuse(self, why: str) -> NoReturn:
        """Say why there is no run, send the workers away, leave. A worker without a master would wait for a minute."""
        _say(why)
        runner, wanted = self.environment.runner, self.environment.parsed_options.processes or 0
        if not self.head.local:
            until = clock.monotonic() + _WORKERS_COME
            while len(runner.clients) < wanted and clock.monotonic() < until:
                gevent.sleep(0.05)
            runner.quit()
        sys.exit(WRONG_USAGE)

    def _refuse_mixture(self) -> None:
        given = self.environment.parsed_options
        if self.node.options.levels is None:
            return
        for name, flag in (("num_users", "-u"), ("spawn_rate", "-r"), ("run_time", "-t")):
            if getattr(given, name, None):
                raise SettingsError(
                    f"{flag} {getattr(given, name)}: --levels decides users, rate and time; leave one out"
                )

    def _prepare(self) -> tuple[Options, Preparation, Path]:
        options = self.node.options
        made = prepare(self.environment, options)
        if made.problem:
            raise SettingsError(made.problem)  # before a folder is made, or an old run removed from it
        asked = Path(options.out) if options.out else None
        self._runs += 1
        directory = fresh(asked, self._scenario(), force=options.force, numbered=self._runs > 1)
        return options, replace(made, warm_up=warm_up(self.environment, options, made)), directory

    def _scenario(self) -> str:
        locustfile = self.environment.parsed_options.locustfile or "run"
        return Path(locustfile.split(",")[0]).stem if locustfile != "-" else "run"

    def _plan_given(self) -> LevelPlan | None:
        try:
            return self.node.options.plan
        except SettingsError as error:
            self._refuse(str(error))

    def _attach_shape(self, plan: LevelPlan | None) -> None:
        """Levels from the options make Locust's load shape; without them Locust keeps its user fields."""
        if plan is None:
            if isinstance(self.environment.shape_class, LevelShape):
                self.environment.shape_class = None
            return
        shape = LevelShape(plan, self._heard, self._is_ending, self._run_now)
        shape.runner = self.environment.runner
        self.environment.shape_class = shape

    def _before_request(self) -> Any:
        """The web form's levels take effect before Locust reads whether there is a shape."""
        from flask import jsonify, request  # noqa: PLC0415 - only where there is a web UI

        if request.method != "POST" or not request.path.endswith("/swarm") or self._is_running():
            return None
        given = vars(self.environment.parsed_options)
        asked = {**given, **request.form.to_dict()}
        try:
            plan = read_options(asked).plan
            parse_target(asked["host"] or "")
        except (SettingsError, ValueError) as error:
            return jsonify({"success": False, "message": str(error), "host": self.environment.host})
        self._attach_shape(plan)
        return None

    def _is_running(self) -> bool:
        return self.head.run is not None and self.head.run.ended is None

    def _heard(self, since: float) -> int:
        return self.head.run.tally.heard(since) if self.head.run else 0

    def _is_ending(self) -> bool:
        run = self.head.run
        return run is not None and run.end_reason is not None and run.ended is None

    def _run_now(self) -> float:
        return self.head.run.now() if self.head.run else 0.0

    def _test_start(self) -> None:
        try:
            options, made, directory = self._prepared or self._prepare()
        except Exception as error:  # Locust would log it and load the server all the same, with nobody measuring
            defect = "" if isinstance(error, SettingsError | RunDirectoryError) else "a defect of probe itself: "
            logger.error("probe: %s%s; the run is stopped", defect, safe_text(str(error), length=1000))  # noqa: TRY400 - one line says it
            gevent.spawn(self.environment.runner.stop)
            return
        self._prepared = None
        self._starting = True
        try:
            self._begin(options, made, directory)
        finally:
            self._starting = False

    def _begin(self, options: Options, made: Preparation, directory: Path) -> None:
        self.node.prepared = {"model": made.model, "prompts": made.prompts}
        try:
            run = ActiveRun(self.node, self.head.peers, options, made, directory, self._scenario())
        except OSError as error:
            self._refused = WRONG_USAGE
            logger.error("probe: --out %s: cannot be written: %s; the run is stopped", directory, error.strerror)  # noqa: TRY400
            gevent.spawn(self.environment.runner.quit if self.headless else self.environment.runner.stop)
            return
        self.head.begin(run)

    def _test_stop(self) -> None:
        run = self.head.finish()
        if run is None:
            return
        logger.info("probe: the run lies in %s", run.directory)
        if not self.headless and not run.options.no_report:
            self._reporting.append(gevent.spawn(make_report, run.directory))

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
        if self.headless and self.head.run is None:
            _say("interrupted before the run began")
        self.environment.runner.quit()
        if self.environment.web_ui:
            self.environment.web_ui.stop()
        elif self.head.run is None:
            gevent.sleep(_GOES_BY_ITSELF)
            if not self._quitting:  # Locust still waits for its workers
                main: Any = gevent.get_hub().parent
                gevent.kill(main, SystemExit(INTERRUPTED))

    def _hurry(self) -> None:
        self.node.hurry = True

    def _quit(self, exit_code: int, **_: Any) -> None:
        """Locust's last event: everything is in. The report is the last thing that a headless run says."""
        self._quitting = True
        self._test_stop()  # a runner that never stopped in order
        gevent.joinall(self._reporting)
        code = self._final_code(exit_code)
        if code != exit_code:
            raise SystemExit(code)

    def _final_code(self, exit_code: int) -> int:
        run = self.head.run
        code = self._refused or 0
        if self.headless and run is not None and not run.options.no_report:
            code = make_report(run.directory)
        if run is not None and run.collector.unwritten:
            lost = ", ".join(f"{lines} lines of {name}" for name, lines in run.collector.unwritten.items())
            _say(f"--out {run.directory}: the disk did not take {lost}")
            code = ROWS_LOST
        if self.head.signalled == "interrupted":
            return INTERRUPTED
        return code or exit_code

"""Prepare a run: check that its options fit together, ask the server about itself, make the directory, warm up."""

import contextlib
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from probe_ext.access.local_servers import LocalServer
from probe_ext.access.workload_lengths import check_unused_options
from probe_ext.bundled import folder
from probe_ext.client.api.negotiation import Negotiated
from probe_ext.load.boundary_search import MIN_TARGET_USERS, SearchPlan
from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.open_ended_search import OpenEndedPlan
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.measure.findings import recorded_finding
from probe_ext.run.directory import make_run_directory
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, Plan
from probe_ext.swarm.locust_options import default_levels
from probe_ext.swarm.preparation.gate_checks import check_gates, check_gates_of_series
from probe_ext.swarm.preparation.kind_trials import common_form, try_kinds
from probe_ext.swarm.preparation.several_hosts import check_hosts, prepare_hosts
from probe_ext.swarm.preparation.stream_plan import is_open_stream, plan_of
from probe_ext.swarm.preparation.target_probe import Preparation, prepare
from probe_ext.swarm.preparation.trial import Trial
from probe_ext.swarm.preparation.warm_up import first_requests, warm_up
from probe_ext.swarm.preparation.workload_files import read_files, read_trace
from probe_ext.swarm.preparation.workload_plan import check_levels, check_think_time, levels_for
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.users.kind_classes import install_kinds, workload_of
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.verdict.checks.equal_failures import all_failed
from probe_ext.verdict.phrasing.formats import span
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.workload.workload_file import Workload

_MAX_LISTED_LEVELS = 12
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_ABOUT_FIELDS = frozenset({400, 422})


@dataclass(frozen=True)
class PreparedRun:
    """A run that may begin."""

    options: Options
    preparation: Preparation
    directory: Path
    plan: Plan | None = None
    """None: Locust's own fields say how many users there are"""


class Preflight:
    """Prepares runs, one after another in a web UI. `tell` is called with what it waits for, then with None."""

    def __init__(self, process: ProcessState, tell: Callable[[str | None], None]) -> None:
        self._process = process
        self._tell = tell
        self._runs = 0

    def scenario(self) -> str:
        """Return the locustfile's name."""
        locustfile = self._process.environment.parsed_options.locustfile or "run"
        return Path(locustfile.split(",")[0]).stem if locustfile != "-" else "run"

    def take_workload(self, options: Options) -> tuple[Workload, str | None] | None:
        """Make the user classes of the run's workload, before Locust dispatches any; return it and where it is from.

        SettingsError if it is invalid, or users do not fit the options.
        """
        environment = self._process.environment
        given = workload_of(environment, options.workload)
        check_think_time(options, environment.user_classes, given[0] if given else None)
        if given is not None:
            check_unused_options(given[0], options)
            refuse_tags(environment.parsed_options)
            line = environment.parsed_options  # in a web UI, it has the users of the last run
            check_levels(given[0], options, line.num_users if line.headless else None)
            install_kinds(environment, given[0])
        return given

    def workload(self) -> Workload | None:
        """Return the workload that the command line asks for. SettingsError if it is invalid."""
        environment = self._process.environment
        given = workload_of(environment, environment.parsed_options.workload or None)
        return given[0] if given else None

    def opens_stream(self) -> bool:
        """Tell whether the workload is an open stream of requests. SettingsError if it is invalid."""
        environment = self._process.environment
        given = workload_of(environment, environment.parsed_options.workload or None)
        return is_open_stream(given[0] if given else None)

    def prepare(self, options: Options, host: str | None) -> PreparedRun:
        """Ask the server, make the directory. SettingsError or RunDirectoryError, in one line, if no run can start."""
        check_gates(options)
        given, files = self.take_workload(options), self._process.prompt_files
        line = self._process.environment.parsed_options
        if given is not None and given[0].has_hosts:
            workers = max(getattr(line, "processes", None) or 1, getattr(line, "expect_workers", None) or 1)
            check_hosts(given[0], options, workers)
        try:
            if given is not None and given[0].trace is not None:
                self._tell("reading the workload's trace")
                read_trace(given[0])
            plan = plan_of(options, given[0] if given else None)
            check_gates_of_series(options, plan)
            if line.headless:  # a web form sends Locust's users with every run
                refuse_mixture(line, plan)
            if given is not None:
                self._tell("reading the workload's prompt files")
                read_files(given[0], files)
            self._tell("querying the server")
            if given is not None and given[0].has_hosts:
                preparation = prepare_hosts(options, given, files)
            else:
                preparation = prepare(host, options, given, files)
        finally:
            self._tell(None)
        if preparation.problem:
            raise SettingsError(preparation.problem)  # before a directory is made, or an old run removed from it
        if given is not None and given[0].trace is not None:
            plan = plan_of(options, given[0], preparation.context)
        out = Path(options.out) if options.out else None
        workload = preparation.workload.workload if preparation.workload else None
        name = _NOT_IN_NAMES.sub("-", workload.name) if workload else self.scenario()
        directory = make_run_directory(out, name, force=options.force, numbered=self._runs > 0)
        return PreparedRun(options, preparation, directory, plan)

    def warm_up(self, prepared: PreparedRun) -> PreparedRun:
        """Say if others use the server, find the form of request that it accepts, warm it up, and add what that cost.

        The preparation's `refusal` is set if the server answers no request.
        """
        if prepared.preparation.busy:
            print_line(prepared.preparation.busy)
        self._runs += 1
        preparation = prepared.preparation
        try:
            if preparation.by_host:
                preparation = self._with_hosts(preparation)
            else:
                preparation = self._asked_and_warmed(preparation, prepared.options)
        except SettingsError:
            with contextlib.suppress(OSError):  # it is not empty
                prepared.directory.rmdir()
            raise
        finally:
            self._tell(None)
        said = [("", preparation), *((f"{one.kind}: ", one.preparation) for one in preparation.by_host)]
        for name, about in said:
            for finding in about.findings:
                if finding["check"] != "equal_failures":  # which is said with the end of the run
                    print_line(f"{name}{finding['why']}")
        return replace(prepared, preparation=preparation)

    def _asked_and_warmed(self, preparation: Preparation, given: Options) -> Preparation:
        """Add what the first requests to a server and its warm-up showed."""
        options = preparation.workload.sample if preparation.workload else given
        trial = first_requests(options, preparation, self._tell)
        if trial is not None:
            preparation = with_trial(preparation, self._excused(trial))
        if preparation.refusal is None and trial is not None:
            preparation = self._with_kinds(preparation, given)
        if preparation.refusal is not None:
            return preparation
        cost, first_reply = warm_up(self._process.environment, options, preparation, self._tell)
        return replace(preparation, warm_up=cost, first_reply=first_reply)

    def _with_hosts(self, preparation: Preparation) -> Preparation:
        """Ask and warm up one server after another. SettingsError if one of them answers no request."""
        hosts = []
        for one in preparation.by_host:
            warmed = self._asked_and_warmed(one.preparation, one.options)
            if warmed.refusal is not None:
                raise SettingsError(f"{one.kind} ({warmed.host}): {warmed.refusal}")
            hosts.append(replace(one, preparation=warmed))
        first = hosts[0].preparation
        return replace(preparation, by_host=tuple(hosts), first_reply=first.first_reply)

    def _with_kinds(self, preparation: Preparation, options: Options) -> Preparation:
        """Add what other kinds of the workload need of the request form, and a refusal if one is not answered."""
        for way, trial in try_kinds(preparation, options, self._tell):
            if trial.failure is not None:
                failed = with_trial(preparation, trial)
                return replace(failed, refusal=f"{way.kind} (--api {way.api}, model {way.model}): {failed.refusal}")
            if preparation.negotiation is not None:
                form = common_form(preparation.negotiation.form, trial.negotiated.form)
                preparation = replace(preparation, negotiation=replace(preparation.negotiation, form=form))
        return preparation

    def _excused(self, trial: Trial) -> Trial:
        """Drop a refusal of our request's fields where the locustfile is the user's own: it may send others."""
        if trial.failure is None or trial.failure.code not in _ABOUT_FIELDS or self._is_bundled_scenario():
            return trial
        print_line(f"the first request was refused ({trial.failure.words}); the locustfile's own requests may differ")
        asked = trial.negotiated.asked
        return replace(trial, failure=None, negotiated=replace(trial.negotiated, form=asked, refusals=()))

    def _is_bundled_scenario(self) -> bool:
        locustfile = Path(self._process.environment.parsed_options.locustfile or "-")
        return locustfile.resolve().parent == folder("locustfiles").resolve()


def with_trial(preparation: Preparation, trial: Trial) -> Preparation:
    """Add what the first requests showed."""
    negotiated, findings = trial.negotiated, list(preparation.findings)
    if negotiated.losses and trial.failure is None:
        refusals = listed([f"“{text}”" for text in dict.fromkeys(negotiated.refusals)])
        why = f"{' '.join(negotiated.losses)} It says: {refusals}."
        findings.append(recorded_finding("request_form", why, _form_advice(negotiated)))
    refusal = None
    if trial.failure is not None:
        finding = all_failed(trial.failure, trial.tries, before_the_run=True)
        findings.insert(0, asdict(finding))
        refusal = f"{finding.why} {finding.advice}"
    return replace(preparation, negotiation=negotiated, findings=tuple(findings), refusal=refusal)


def _form_advice(negotiated: Negotiated) -> str:
    """Name the options that ask for no more than the server accepts."""
    form, asked = negotiated.form, negotiated.asked
    options = [f"--usage {form.usage}"] if form.usage != asked.usage else []
    without = [f"without --{name.replace('_', '-')}" for name in sorted(form.left_out - asked.left_out)]
    if not options and not without:
        return ""
    return f"Nothing needs to be done. A run with {listed([*options, *without])} is the same, and asks only once."


def refuse_tags(given: Namespace) -> None:
    """SettingsError if Locust is to choose tasks by tag, which would leave a workload's users without one."""
    for flag in ("tags", "exclude_tags"):
        if chosen := getattr(given, flag, None):
            option = f"--{flag.replace('_', '-')}"
            raise SettingsError(f"{option} {' '.join(chosen)}: the users of a workload have no tags; leave it out")


def take_default_levels(
    given: Namespace, user_classes: list[Any], workload: Workload | None = None, think_time: float = 0.0
) -> None:
    """Set `probe run`'s default levels if no levels, users or time are given, and the scenario does not end itself.

    `think_time`: mean seconds that users without a workload pause.
    """
    levels = default_levels(given)
    driven = given.levels or given.rate or given.search or given.num_users or given.run_time
    ends_itself = any(getattr(user, "ends_itself", False) for user in user_classes)
    if levels and not driven and not ends_itself:
        given.levels = levels_for(workload, levels, think_time)


def refuse_mixture(given: Namespace, planned: Plan | None) -> None:
    """SettingsError if a plan and Locust's own users, rate or time are both given."""
    if planned is None:
        return
    flags = {SearchPlan: "--search", SeriesPlan: "the workload's series"}
    by_rate = getattr(given, "rate", None) or (isinstance(planned, LevelPlan) and planned.by_rate)
    plan = "--rate" if by_rate else flags.get(type(planned), "--levels")
    for name, flag in (("num_users", "-u"), ("spawn_rate", "-r"), ("run_time", "-t")):
        if getattr(given, name, None):
            raise SettingsError(
                f"{flag} {getattr(given, name)}: cannot be combined with {plan}, which sets users, rate and time"
            )


def plan_line(plan: Plan) -> str:
    """Describe a plan and how long it takes."""
    if isinstance(plan, SearchPlan):
        return _search_line(plan)
    if isinstance(plan, SeriesPlan):
        return f"{things(len(plan.steps), 'step')} of up to {max(plan.levels)} requests/s: {span(plan.min_duration)}"
    rest = ", …" if len(plan.levels) > _MAX_LISTED_LEVELS else ""
    users = ", ".join(map(str, plan.levels[:_MAX_LISTED_LEVELS])) + rest
    per_level = f"{time_text(plan.settle)} settle + {time_text(plan.hold)} hold" + " each" * (len(plan.levels) > 1)
    noun = "requests/s" if plan.by_rate else "users"
    counts = things(plan.levels[0], "user") if len(plan.levels) == 1 else f"{users} {noun}"
    total = f"at least {time_text(plan.min_duration)}, longer if replies are slow"
    return f"{things(len(plan.levels), 'level')} ({counts}), {per_level}: {total}"


def _search_line(plan: SearchPlan) -> str:
    """Say when a search counts as precise, how long it may take, and how to end it."""
    width = f"{100 * plan.precision:g} % of the estimate (or {things(MIN_TARGET_USERS, 'user')})"
    then = "then narrowed further" if isinstance(plan, OpenEndedPlan) else "which ends it"
    goal = f"precise once the 95 % interval is at most {width} wide, {then}"
    users, longest = things(plan.max_users, "user"), span(plan.longest)
    return f"search up to {users}: {goal}; at most {longest}. Ctrl-C gives the report at any time"


def server_line(preparation: Preparation) -> str:
    """Return `testing vLLM 0.32.0 at http://127.0.0.1:8000 (model tiny)`, as for a server that was found."""
    entry, prepared = preparation.server[0], preparation.workload
    kinds = prepared.workload.kinds if prepared else ()
    models = dict.fromkeys(name for kind in kinds for name in (kind.model.names if kind.model else [preparation.model]))
    model = ", ".join(filter(None, models)) or preparation.model
    return f"testing {LocalServer(preparation.host, str(entry['kind']), entry['version'], model)}"


def time_text(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else span(seconds)

"""What a run needs before it starts: options that fit each other, a server that answers, a folder of its own."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.run.directory import fresh
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, Plan
from probe_ext.swarm.commands.run_command import DEFAULT_LEVELS_VARIABLE
from probe_ext.swarm.master.target_probe import Preparation, prepare
from probe_ext.swarm.master.warm_up import warm_up
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.verdict.values.formats import span
from probe_ext.verdict.values.plurals import things

_NAMED = 12
"""levels of a plan that are said one by one"""


@dataclass(frozen=True)
class PreparedRun:
    """A run that may begin."""

    options: Options
    made: Preparation
    directory: Path


class Preflight:
    """Makes runs ready, one after another where a web UI goes on."""

    def __init__(self, node: ProcessState, tell: Callable[[str | None], None]) -> None:
        """`tell` hears what is being waited for, and None when that is over."""
        self._node = node
        self._tell = tell
        self._runs = 0

    def scenario(self) -> str:
        """The locustfile's name."""
        locustfile = self._node.environment.parsed_options.locustfile or "run"
        return Path(locustfile.split(",")[0]).stem if locustfile != "-" else "run"

    def ready(self, options: Options, host: str | None) -> PreparedRun:
        """Ask the server, make the folder. SettingsError or RunDirectoryError says in one line why there is no run."""
        self._tell("asking the server about itself")
        try:
            made = prepare(host, options)
        finally:
            self._tell(None)
        if made.problem:
            raise SettingsError(made.problem)  # before a folder is made, or an old run removed from it
        asked = Path(options.out) if options.out else None
        directory = fresh(asked, self.scenario(), force=options.force, numbered=self._runs > 0)
        return PreparedRun(options, made, directory)

    def warmed(self, ready: PreparedRun) -> PreparedRun:
        """With the server woken up."""
        self._runs += 1
        try:
            cost = warm_up(self._node.environment, ready.options, ready.made, self._tell)
        finally:
            self._tell(None)
        return replace(ready, made=replace(ready.made, warm_up=cost))


def take_default_levels(given: Any, user_classes: list[Any]) -> None:
    """`probe run` without levels, users or time: the usual levels, unless the scenario ends by itself."""
    usual = os.environ.get(DEFAULT_LEVELS_VARIABLE)
    driven = given.levels or given.search or given.num_users or given.run_time
    ends_itself = any(getattr(user, "ends_itself", False) for user in user_classes)
    if usual and not driven and not ends_itself:
        given.levels = usual


def refuse_mixture(given: Any, options: Options) -> None:
    """SettingsError where levels or a search, and Locust's own users, rate or time are both given."""
    if options.plan is None:
        return
    who = "--search" if options.search else "--levels"
    for name, flag in (("num_users", "-u"), ("spawn_rate", "-r"), ("run_time", "-t")):
        if getattr(given, name, None):
            raise SettingsError(f"{flag} {getattr(given, name)}: {who} decides users, rate and time; leave one out")


def plan_line(plan: Plan) -> str:
    """What is to come, and how long it takes."""
    if isinstance(plan, SearchPlan):
        return f"a search up to {things(plan.max_users, 'user')}: at most {span(plan.longest)}"
    users = ", ".join(map(str, plan.levels[:_NAMED])) + (", …" if len(plan.levels) > _NAMED else "")
    each = f"{_time(plan.settle)} to settle and {_time(plan.hold)} held" + " each" * (len(plan.levels) > 1)
    people = things(plan.levels[0], "user") if len(plan.levels) == 1 else f"{users} users"
    length = f"at least {_time(plan.shortest)}, more where replies take long"
    return f"{things(len(plan.levels), 'level')} ({people}), {each}: {length}"


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else span(seconds)

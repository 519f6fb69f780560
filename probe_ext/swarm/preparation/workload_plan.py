"""Whether a run's users are enough for its workload's kinds, who decides their pauses, and what to say of it before."""

from collections.abc import Iterable
from typing import Any

from locust import TaskSet, User

from probe_ext.load.level_plan import LevelPlan
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.target_probe import PreparedWorkload
from probe_ext.swarm.users.kind_dispatcher import mix_of
from probe_ext.swarm.users.user import StreamingUser
from probe_ext.verdict.phrasing.plurals import levels, listed, things
from probe_ext.workload.workload_file import Workload

_MAX_SHOWN_LEVELS = 4
_LONG_PAUSE_S = 5.0  # with which few of a level's users wait for a reply at any moment
_PEOPLE_PER_USER = 10  # in the default levels, where users pause so long


def check_levels(workload: Workload, options: Options, users: int | None = None) -> None:
    """SettingsError if the kinds of a fixed number leave no users for the others at some level.

    `users`: Locust's own number of users, for a run without a plan.
    """
    fixed = workload.fixed_users
    if not fixed:
        return
    least = fixed + (1 if any(kind.users is None for kind in workload.kinds) else 0)
    of_kinds = f"the workload {workload.name} has {things(fixed, 'user')} of fixed kinds"
    if options.search:
        raise SettingsError(f"--search: starts with a single user, but {of_kinds}; give --levels from {least} on")
    given = [("--levels", level) for level in options.levels or ()] or ([("-u", users)] if users else [])
    for flag, level in given:
        if level < least:
            raise SettingsError(
                f"{flag} {level}: {of_kinds}, and every level must have at least {things(least, 'user')}"
            )


def check_think_time(options: Options, users: Iterable[type[User]], workload: Workload | None) -> None:
    """SettingsError if --think-time is given and users of the scenario, or of its workload, set their own pauses."""
    if not options.think_time:
        return
    given = f"--think-time {options.think_time:g}: cannot be combined with"
    if workload is not None:
        raise SettingsError(f"{given} the workload {workload.name}: give its kinds a think_time in its file")
    for user in users:
        if issubclass(user, StreamingUser) and _sets_pauses(user):
            raise SettingsError(f"{given} {user.__name__}, whose pauses the scenario sets itself (wait_time)")


def _sets_pauses(user: type[StreamingUser]) -> bool:
    return user.wait_time is not StreamingUser.wait_time or any(map(_sets_own, user.tasks))


def _sets_own(task: Any) -> bool:
    """Tell whether a task is a set of tasks with a wait time of its own, or contains one."""
    is_set = isinstance(task, type) and issubclass(task, TaskSet)
    return is_set and (task.wait_time is not TaskSet.wait_time or any(map(_sets_own, task.tasks)))


def levels_for(workload: Workload | None, default: str, think_time: float = 0.0) -> str:
    """Return the default levels: beside a workload's fixed users, and more people where they pause for long.

    `think_time`: mean seconds that users without a workload pause. Agents pause between two tasks only, and their
    requests are long: as many of them as of people who do not pause.
    """
    fixed, pauses = 0, [think_time]
    if workload is not None:
        fixed = workload.fixed_users
        pauses = [0.0 if kind.agent else kind.think_time.average for kind in workload.kinds if kind.users is None]
    factor = _PEOPLE_PER_USER if pauses and min(pauses) >= _LONG_PAUSE_S else 1
    return ",".join(str(fixed + factor * int(level)) for level in default.split(","))


def workload_lines(prepared: PreparedWorkload | None, options: Options) -> list[str]:
    """Describe a workload: its question, its kinds, the mix at each level, and what does not fit."""
    if prepared is None:
        return []
    workload = prepared.workload
    lines = [f"workload {workload.name}: {workload.question or listed([kind.name for kind in workload.kinds])}"]
    if workload.has_hosts:
        lines.append(f"each request goes to {listed([f'{kind.name} ({kind.host})' for kind in workload.kinds])}")
    plan = options.plan
    if isinstance(plan, LevelPlan) and not plan.by_rate and len(workload.kinds) > 1:
        mixes = {users: mix(workload, users) for users in sorted(set(plan.levels))}
        shown = list(mixes.items())[:_MAX_SHOWN_LEVELS]
        rest = "; …" if len(mixes) > len(shown) else ""
        mixed = (f"{things(users, 'user')}: {_of_mix(counts)}" for users, counts in shown)
        lines.append(f"mix: {'; '.join(mixed)}{rest}")
        for kind in workload.kinds:
            without = [users for users, counts in mixes.items() if not counts[kind.name]]
            if without:
                lines.append(f"{kind.name}: no user of this kind at {levels(without)}, because its share is too small")
    return [*lines, *prepared.notes]


def mix(workload: Workload, users: int) -> dict[str, int]:
    """Return how many users of each kind a number of users has."""
    shares = workload.shares
    fixed = {kind.name: kind.users for kind in workload.kinds if kind.users is not None}
    return mix_of(users, {name: share for name, share in shares.items() if share is not None}, fixed)


def _of_mix(counts: dict[str, int]) -> str:
    return " + ".join(f"{number:,} {name}" for name, number in counts.items() if number)

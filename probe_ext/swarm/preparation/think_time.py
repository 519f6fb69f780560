"""Whether --think-time can decide how long the users of a run pause."""

from collections.abc import Iterable
from typing import Any

from locust import TaskSet, User

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.users.user import StreamingUser
from probe_ext.workload.workload_file import Workload


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

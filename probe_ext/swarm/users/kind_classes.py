"""Turn a workload into user classes of Locust, one per kind: before the master dispatches, and before a worker spawns.

Locust then splits them over levels, ramps and workers, and shows them in its web UI.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from locust.env import Environment

from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.users.kind_dispatcher import DISPATCH, KindDispatcher
from probe_ext.swarm.users.workload_user import WorkloadUser
from probe_ext.workload.workload_file import Workload, parse_workload, read_workload

_COMPOSED = "the workload that its locustfile composes"


def workload_classes(environment: Environment) -> list[type[WorkloadUser]]:
    """Return the user classes that stand for a whole workload, or that were made from one."""
    return [kind for kind in environment.user_classes if issubclass(kind, WorkloadUser)]


def takes_workload() -> bool:
    """Return whether the locustfile has a user class that runs the workload of --workload."""
    found = [*WorkloadUser.__subclasses__()]
    for kind in found:
        found += kind.__subclasses__()
    return any(not kind.abstract and kind.workload is None for kind in found)


def workload_of(environment: Environment, given: str | None) -> tuple[Workload, str | None] | None:
    """Return the run's workload, and the name or file that it was read from; None if it has none.

    `given`: --workload. SettingsError if it is missing, invalid, or the locustfile has no use for it.
    """
    classes = {_origin(kind) for kind in workload_classes(environment)}
    if not classes:
        if given:
            raise SettingsError(
                f"--workload {given}: this scenario has its own users; leave it out: probe run --workload {given}"
            )
        return None
    if len(classes) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in classes))
        raise SettingsError(f"{names}: a locustfile can have one WorkloadUser; put all kinds into its workload")
    (base,) = classes
    if base.workload is not None and given:
        raise SettingsError(f"--workload {given}: cannot replace {_COMPOSED} ({base.__name__})")
    chosen = base.workload if base.workload is not None else given
    if isinstance(chosen, Mapping):
        return parse_workload({"name": base.__name__, **chosen}, f"{base.__name__}.workload", _folder_of(base)), None
    if not chosen:
        raise SettingsError("--workload: is missing; see `probe list`")
    return read_workload(chosen), chosen


def _folder_of(base: type[WorkloadUser]) -> Path:
    """Return the locustfile's folder, which names of files are relative to; the current one if it is not known."""
    try:
        return Path(inspect.getfile(base)).parent
    except (TypeError, OSError):
        return Path()


def install_kinds(environment: Environment, workload: Workload) -> None:
    """Replace the class that stands for the workload by one class for each kind."""
    made = workload_classes(environment)
    if not made:
        return
    base = _origin(made[0])
    others = [kind for kind in environment.user_classes if kind not in made]
    shares = workload.shares
    kinds = [
        type(
            kind.name,
            (base,),
            {
                "abstract": False,
                "origin": base,
                "kind": kind,
                "place": place,
                "weight": base.weight * (shares[kind.name] or 0.0),
                "fixed_count": kind.users or 0,
                "__doc__": base.__doc__,
            },
        )
        for place, kind in enumerate(workload.kinds)
    ]
    clashing = {kind.__name__ for kind in kinds} & {kind.__name__ for kind in others}
    if clashing:
        raise SettingsError(f"{min(clashing)}: is the name of a kind and of a user class of the locustfile")
    environment.user_classes = [*kinds, *others]
    _make_available(environment, made, kinds)
    environment.dispatcher_class = partial(_dispatcher, environment)


def _origin(kind: type[WorkloadUser]) -> type[WorkloadUser]:
    """Return the class that the locustfile defines."""
    return kind.origin or kind


def _make_available(environment: Environment, old: list[Any], new: list[Any]) -> None:
    """Show the kinds in the web UI's dialogs, instead of the class that stands for them."""
    gone = {kind.__name__ for kind in old}
    if environment.available_user_classes is not None:
        kept = {name: kind for name, kind in environment.available_user_classes.items() if name not in gone}
        environment.available_user_classes = {**kept, **{kind.__name__: kind for kind in new}}
    if environment.available_user_tasks is not None:
        tasks = {name: kept for name, kept in environment.available_user_tasks.items() if name not in gone}
        environment.available_user_tasks = {**tasks, **{kind.__name__: kind.tasks for kind in new}}


def _dispatcher(environment: Environment, worker_nodes: list[Any], user_classes: list[Any]) -> KindDispatcher:
    return KindDispatcher(partial(setattr, environment.parsed_options, DISPATCH), worker_nodes, user_classes)

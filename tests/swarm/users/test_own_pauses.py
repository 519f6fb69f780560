"""--think-time decides the pauses of users who have none, and is refused where it could not."""

import ast
from pathlib import Path
from typing import Any

import pytest
from locust import TaskSet, between, constant

from probe_ext import StreamingUser
from probe_ext.bundled import folder
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.workload_plan import check_think_time
from probe_ext.verdict.wording.next_run import TAKE_THINK_TIME
from probe_ext.workload.workload_file import read_workload


class Pausing(StreamingUser):
    """Has no wait time."""

    abstract = True
    tasks = [print]  # noqa: RUF012


class Heir(Pausing):
    """Inherits none."""


class Chatting(StreamingUser):
    """Has one."""

    abstract = True
    wait_time = between(1, 3)


class Hasty(Chatting):
    """Inherits one."""


class _Slow(TaskSet):
    wait_time = constant(5)


class _Around(TaskSet):
    tasks = [_Slow]  # noqa: RUF012


class Nested(StreamingUser):
    """Has one in a set of tasks."""

    abstract = True
    tasks = [_Around]  # noqa: RUF012


def test_users_without_a_wait_time_take_it() -> None:
    check_think_time(Options(think_time=30.0), [Pausing, Heir], None)
    check_think_time(Options(), [Pausing, Chatting, Nested], read_workload("chat"))


@pytest.mark.parametrize("own", [Chatting, Hasty, Nested])
def test_it_is_refused_where_a_class_sets_its_own_pauses(own: Any) -> None:
    with pytest.raises(SettingsError) as error:
        check_think_time(Options(think_time=30.0), [Pausing, own], None)
    assert str(error.value) == (
        f"--think-time 30: cannot be combined with {own.__name__}, whose pauses the scenario sets itself (wait_time)"
    )


def test_it_is_refused_with_a_workload() -> None:
    with pytest.raises(SettingsError, match=r"^--think-time 0\.5: cannot be combined with the workload chat: "):
        check_think_time(Options(think_time=0.5), [Pausing], read_workload("chat"))


def test_a_team_is_proven_by_the_bundled_scenarios_that_take_it() -> None:
    assert {file.stem for file in sorted(folder("locustfiles").glob("*.py")) if takes_it(file)} == TAKE_THINK_TIME


def takes_it(file: Path) -> bool:
    """Tell whether a locustfile's users set no pauses, and are as many as the levels say."""
    (user,) = (node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef))
    own = {ast.unparse(node.targets[0]) for node in user.body if isinstance(node, ast.Assign)}
    return ast.unparse(user.bases[0]) == "StreamingUser" and not own & {"wait_time", "fixed_count"}

"""A workload becomes user classes: one per kind, on the master before it dispatches, and on workers."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from locust.env import Environment

from probe_ext import StreamingUser, WorkloadUser
from probe_ext.access.kind_prompts import KindPrompts
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.locust_options import default_levels
from probe_ext.swarm.preparation.preflight import refuse_tags, take_default_levels
from probe_ext.swarm.preparation.target_probe import PreparedWorkload
from probe_ext.swarm.preparation.workload_plan import check_levels, mix, workload_lines
from probe_ext.swarm.users.kind_classes import install_kinds, workload_of
from probe_ext.swarm.web.run_form import _check_name
from probe_ext.workload.distribution_forms import Constant
from probe_ext.workload.user_kind import UserKind
from probe_ext.workload.workload_file import Workload, parse_workload, read_workload


class Stand(WorkloadUser):
    """Takes --workload."""


class Team(WorkloadUser):
    """Composes its own."""

    workload = {"kinds": [{"name": "chat", "share": 3}, {"name": "batch", "users": 2}]}  # noqa: RUF012


class Other(StreamingUser):
    """Has nothing to do with workloads."""


def environment(*classes: Any) -> Environment:
    made = Environment(user_classes=list(classes), available_user_classes={kind.__name__: kind for kind in classes})
    made.available_user_tasks = {kind.__name__: kind.tasks for kind in classes}
    made.parsed_options = Namespace()
    return made


def kinds(**more: Any) -> Workload:
    raw = [{"name": "chat", "share": 3}, {"name": "review", "share": 1}, {"name": "batch", "users": 2}]
    return parse_workload({"kinds": raw, **more}, "test", Path())


def test_each_kind_becomes_a_user_class_with_its_weight() -> None:
    env = environment(Stand, Other)
    install_kinds(env, kinds())
    assert [kind.__name__ for kind in env.user_classes] == ["chat", "review", "batch", "Other"]
    assert [(kind.weight, kind.fixed_count) for kind in env.user_classes[:3]] == [(0.75, 0), (0.25, 0), (0, 2)]
    assert all(issubclass(kind, Stand) and kind.tasks for kind in env.user_classes[:3])
    assert set(env.available_user_classes) == set(env.available_user_tasks) == {"chat", "review", "batch", "Other"}
    env.update_user_class({"user_class_name": "review", "weight": 5})  # as the web UI's dialog does
    assert env.user_classes[1].weight == 5


def test_another_workload_replaces_the_kinds_of_the_last() -> None:
    env = environment(Stand)
    install_kinds(env, kinds())
    install_kinds(env, read_workload("rag"))
    assert [kind.__name__ for kind in env.user_classes] == list(env.available_user_classes) == ["rag"]
    found = workload_of(env, "coding")
    assert found is not None
    assert (found[0].name, found[1]) == ("coding", "coding")


def test_a_locustfile_composes_a_workload() -> None:
    found = workload_of(environment(Team, Other), None)
    assert found is not None
    assert (found[0].name, found[0].fixed_users, found[1]) == ("Team", 2, None)


def test_where_a_workload_has_no_place_it_is_refused_in_one_line() -> None:
    assert workload_of(environment(Other), None) is None
    for classes, given, reason in (
        ((Other,), "chat", "--workload chat: this scenario has its own users; leave it out: probe run --workload chat"),
        ((Team,), "chat", "--workload chat: cannot replace the workload that its locustfile composes (Team)"),
        ((Stand,), None, "--workload: is missing; see `probe list`"),
        ((Stand,), "chatt", "--workload chatt: no such workload (did you mean chat?)"),
        ((Stand, Team), None, "Stand, Team: a locustfile can have one WorkloadUser"),
    ):
        with pytest.raises(SettingsError) as error:
            workload_of(environment(*classes), given)
        assert str(error.value).startswith(reason)
    with pytest.raises(SettingsError, match="Other: is the name of a kind and of a user class"):
        install_kinds(environment(Stand, Other), parse_workload({"kinds": [{"name": "Other"}]}, "test", Path()))


def test_users_who_come_back_join_in_the_middle_of_a_pause_again(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = KindPrompts(UserKind(name="chat", think_time=Constant(30)), 0, {}, Options(), None)
    user, slept = object.__new__(Stand), []
    monkeypatch.setattr("gevent.sleep", slept.append)
    user.person = maker.user(0)
    user.on_start()
    assert [user.wait_time() for _ in range(3)] == [30, 30, 30]
    user.on_start()
    assert max(slept) < 30
    assert len(set(slept)) == 2
    monkeypatch.setattr(user, "wait_time", lambda: 0.0)  # as in an open stream
    user.on_start()
    assert slept[2:] == [0.0]


def test_levels_leave_room_for_kinds_of_a_fixed_number() -> None:
    check_levels(kinds(), Options(levels=(3, 8)))
    check_levels(read_workload("chat"), Options(search=True))
    for options, users, reason in (
        (Options(levels=(8, 2)), None, "--levels 2: the workload workload has 2 users of fixed kinds, and every level"),
        (Options(search=True), None, "--search: starts with a single user, but the workload workload has 2 users"),
        (Options(), 2, "-u 2: the workload workload has 2 users of fixed kinds"),
    ):
        with pytest.raises(SettingsError) as error:
            check_levels(kinds(), options, users)
        assert str(error.value).startswith(reason)


def test_default_levels_come_beside_the_fixed_users_and_are_more_where_users_pause() -> None:
    def defaults(workload: Workload | None, think_time: float = 0.0) -> str:
        given = Namespace(
            levels=None, rate=None, search=False, num_users=None, run_time=None, probe_default_levels="1,2,4"
        )
        assert default_levels(given) == "1,2,4"
        take_default_levels(given, [Stand], workload, think_time)
        return str(given.levels)

    assert defaults(None) == defaults(None, 4.0) == "1,2,4"
    assert defaults(None, 5.0) == "10,20,40"
    assert defaults(kinds()) == "3,4,6"
    assert defaults(read_workload("coding")) == "10,20,40"
    assert defaults(read_workload("batch-beside-chat")) == "12,22,42"


def test_tags_and_files_of_the_web_form_are_refused() -> None:
    refuse_tags(Namespace(tags=None, exclude_tags=[]))
    with pytest.raises(SettingsError, match=r"^--exclude-tags a b: the users of a workload have no tags"):
        refuse_tags(Namespace(tags=None, exclude_tags=["a", "b"]))
    _check_name("workload", {"workload": "coding"}, "")
    _check_name("workload", {"workload": "mine.yaml"}, "mine.yaml")
    _check_name("workload", {}, "")
    for given in ("/etc/passwd", "../x.yaml", "codign"):
        with pytest.raises(
            SettingsError, match=r"^workload: .*: must be one of batch-beside-chat, chat, coding, coding-agents, rag"
        ):
            _check_name("workload", {"workload": given}, "mine.yaml")


def test_mix_of_each_level_and_missing_kinds_are_said() -> None:
    workload = kinds(question="How many?")
    assert mix(workload, 10) == {"batch": 2, "chat": 6, "review": 2}
    lines = workload_lines(PreparedWorkload(workload, None, Options(), 100, ("a note",)), Options(levels=(3, 10)))
    assert lines == [
        "workload workload: How many?",
        "mix: 3 users: 2 batch + 1 chat; 10 users: 2 batch + 6 chat + 2 review",
        "review: no user of this kind at 3 users, because its share is too small",
        "a note",
    ]
    assert workload_lines(None, Options()) == []

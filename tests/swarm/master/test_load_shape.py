"""Levels as Locust's load shape, with a fake runner."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.load.boundary_search import SearchPlan
from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.open_ended_search import open_ended
from probe_ext.settings.options import read_options
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.preparation.preflight import PreparedRun, plan_line, server_line, time_text
from probe_ext.swarm.preparation.provability import profile_line, proof_line
from probe_ext.swarm.preparation.target_probe import PreparedWorkload
from probe_ext.verdict.inference.level_estimates import least_proof
from probe_ext.workload.workload_file import parse_workload

PLAN = LevelPlan((2, 6, 3), hold=10.0, settle=2.0, min_replies=1)


MORE = ", longer if replies are slow"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"levels": "1,2,4,8"},
            f"4 levels (1, 2, 4, 8 users), 5 s settle + 30 s hold each: at least 2 min 20 s{MORE}",
        ),
        ({"levels": "1"}, f"1 level (1 user), 5 s settle + 30 s hold: at least 35 s{MORE}"),
        (
            {"levels": "2", "hold": "1m"},
            f"1 level (2 users), 5 s settle + 60 s hold: at least 65 s{MORE}",
        ),
        ({"levels": "1,2," * 9 + "1"}, "19 levels (1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, … users), "),
        (
            {"search": "1", "max_users": "64", "search_time": "10m"},
            (
                "search up to 64 users: precise once the 95 % interval is at most 20 % of the estimate (or 2 users) "
                "wide, which ends it; at most 10 min. Ctrl-C gives the report at any time"
            ),
        ),
    ],
)
def test_plan_line_gives_levels_and_duration(given: dict[str, str], said: str) -> None:
    plan = read_options(given).plan
    assert plan is not None
    assert plan_line(plan).startswith(said)


def test_the_line_of_a_search_that_someone_watches_says_that_it_goes_on() -> None:
    plan = read_options({"search": "1", "precision": "10%"}).plan
    assert isinstance(plan, SearchPlan)
    said = plan_line(open_ended(plan))
    assert "at most 10 % of the estimate (or 2 users) wide, then narrowed further; at most " in said
    assert said.endswith("Ctrl-C gives the report at any time")


@pytest.mark.parametrize(
    ("kind", "version", "model", "said"),
    [
        ("vllm", "0.32.0", "tiny", "testing vLLM 0.32.0 at http://127.0.0.1:8000 (model tiny)"),
        ("unknown", None, None, "testing an OpenAI-compatible server at http://127.0.0.1:8000 (no model listed)"),
    ],
)
def test_a_server_that_is_given_is_named_as_one_that_was_found(
    kind: str, version: str | None, model: str | None, said: str
) -> None:
    about: Any = SimpleNamespace(
        host="http://127.0.0.1:8000", model=model, server=[{"kind": kind, "version": version}], workload=None
    )
    assert server_line(about) == said


def test_the_models_of_a_workload_are_named() -> None:
    kinds = [SimpleNamespace(model=SimpleNamespace(names=("a", "b"))), SimpleNamespace(model=None)]
    workload = SimpleNamespace(workload=SimpleNamespace(kinds=kinds))
    server = [{"kind": "vllm", "version": None}]
    about: Any = SimpleNamespace(host="http://x", model="tiny", server=server, workload=workload)
    assert server_line(about) == "testing vLLM at http://x (model a, b, tiny)"


class Stage:
    """A shape, its runner and its clock."""

    def __init__(self, plan: LevelPlan = PLAN) -> None:
        self.now, self.ending, self.heard = 0.0, False, 1_000
        self.asked: list[float] = []
        self.shape = LevelShape(plan, lambda: self, lambda: self.ending, lambda: self.now)
        self.runner = SimpleNamespace(user_count=0)
        self.shape.runner = self.runner

    def users_with_enough_replies(self, since: float) -> int:
        self.asked.append(since)
        return self.heard

    def begin_visit(self, now: float, users: int) -> None:
        """Nothing is judged here."""

    def end_visit(self, now: float, *, more_users: bool) -> None:
        """Nothing is judged here."""

    def estimate(self, now: float) -> "Stage":
        return self

    def level(self, users: int) -> None:
        """No level is known, so none is held on or visited again."""

    def play(self, seconds: int, *, obeys: bool = True) -> list[tuple[int, float] | None]:
        """Tick once a second; the runner has the requested users a second later."""
        ticks = []
        for _ in range(seconds):
            tick = self.shape.tick()
            ticks.append(tick)
            if tick is None:
                break
            if obeys:
                self.runner.user_count = tick[0]
            self.now += 1
        return ticks


def held(ticks: list[tuple[int, float] | None]) -> list[int]:
    users = [tick[0] for tick in ticks if tick]
    return [n for n, before in zip(users, [None, *users], strict=False) if n != before]


def test_holds_levels_in_order_then_finishes() -> None:
    stage = Stage()
    ticks = stage.play(100)
    assert held(ticks) == [2, 6, 3]
    assert ticks[-1] is None
    assert stage.shape.finished
    assert stage.shape.steps.never_reached == []
    each = [sum(1 for tick in ticks if tick and tick[0] == n) for n in PLAN.levels]
    assert all(n >= PLAN.hold + PLAN.settle for n in each)


def test_level_waits_for_replies_up_to_a_limit() -> None:
    stage = Stage()
    stage.heard = 1  # of two users
    ticks = stage.play(1000)
    first = sum(1 for tick in ticks if tick and tick[0] == 2)
    assert 5 * PLAN.hold <= first - PLAN.settle <= 5 * PLAN.hold + 2
    assert ticks[-1] is None
    assert len(set(stage.asked)) == 3  # since each level's own measured part


def test_ramp_takes_a_few_seconds_for_any_step() -> None:
    stage = Stage()
    ticks = stage.play(100)
    rates = {tick[0]: tick[1] for tick in ticks if tick}
    assert rates == {2: 1.0, 6: 4 / 3, 3: 1.0}


def test_first_level_ramps_as_fast_without_replies() -> None:
    live: list[Stage] = []
    shape = LevelShape(LevelPlan((90, 9), 5.0, 1.0, 3), lambda: live[0] if live else None, lambda: False, lambda: 0.0)
    shape.runner = SimpleNamespace(user_count=0)
    assert shape.tick() == (90, 30.0)
    live.append(Stage())
    shape.runner.user_count = 20
    assert shape.tick() == (90, 30.0)
    shape._last = (9, 27.0)
    shape.reset_time()
    live.clear()
    shape.runner.user_count = 0
    assert shape.tick() == (90, 30.0)


def test_records_a_level_that_is_never_reached() -> None:
    stage = Stage()
    ticks = stage.play(1000, obeys=False)
    assert ticks[-1] is None
    assert stage.shape.steps.never_reached == [2, 6, 3]


def test_changes_nothing_while_the_run_ends() -> None:
    stage = Stage()
    stage.play(5)
    last = stage.shape.tick()
    stage.ending = True
    stage.now += 1000
    assert stage.play(5) == [last] * 5
    assert not stage.shape.finished


def test_second_run_starts_with_the_first_level() -> None:
    stage = Stage()
    stage.play(100)
    stage.shape.reset_time()
    stage.now, stage.runner.user_count = 0.0, 0
    assert not stage.shape.finished
    assert held(stage.play(100)) == [2, 6, 3]


def test_locust_does_not_take_the_class_for_the_locustfiles_shape() -> None:
    assert LevelShape.abstract


@pytest.mark.parametrize(("share", "said"), [(0.99, None), (0.995, "No run proves that 99.5 % of the replies are ")])
def test_a_profile_that_no_run_can_satisfy_is_told_before_the_run(share: float, said: str | None) -> None:
    preparation: Any = SimpleNamespace(
        profile={"name": "strict", "users": {"served_share": share}}, warm_up=None, workload=None
    )
    line = profile_line(PreparedRun(read_options({}), preparation, Path()))
    assert (line or "").startswith(said or "")
    assert (line is None) == (said is None)


@pytest.mark.parametrize(
    ("given", "rounds", "said"),
    [
        ({}, [], None),
        ({"fail_under_users": "8"}, [], "gate of 8 users: its proof takes at least "),
        ({"fail_under_users": "1", "max_tokens": "160"}, [{"slowest_reply": 0.2, "failed": 0}], "gate of 1 user: "),
    ],
)
def test_a_gate_says_before_the_run_what_its_proof_takes(
    given: dict[str, str], rounds: list[dict[str, float]], said: str | None
) -> None:
    warm_up = {"rounds": rounds} if rounds else None
    preparation: Any = SimpleNamespace(profile={"name": "any"}, warm_up=warm_up, workload=None)
    line = proof_line(PreparedRun(read_options(given), preparation, Path()))
    assert (line or "").startswith(said or "")
    assert (line is None) == (said is None)
    if rounds:
        proof = least_proof(1, 2.0)
        assert proof is not None
        assert line is not None
        assert line.endswith(f"at least {proof.replies} replies from each user, all served: about 2 min 10 s")


def test_a_proof_counts_the_pauses_of_users() -> None:
    preparation: Any = SimpleNamespace(
        profile={"name": "any"}, warm_up={"rounds": [{"slowest_reply": 2.0, "failed": 0}]}, workload=None
    )
    given = {"fail_under_users": "20", "max_tokens": "16"}

    def line(**more: str) -> str:
        return proof_line(PreparedRun(read_options({**given, **more}), preparation, Path())) or ""

    at_once, paused = least_proof(20, 2.0), least_proof(20, 12.0)
    assert at_once is not None
    assert paused is not None
    assert paused.seconds == 6 * at_once.seconds
    assert line().endswith(f"about {time_text(round(at_once.seconds))}")
    assert line(think_time="10s").endswith(f"about {time_text(round(paused.seconds))}")


def test_the_rarest_kind_of_user_takes_longest_to_prove() -> None:
    def line(*shares: float) -> str:
        kinds = [{"name": f"kind {n}", "share": share} for n, share in enumerate(shares)]
        workload = parse_workload({"name": "any", "kinds": kinds}, "any.yaml", Path())
        prepared = PreparedWorkload(workload, None, read_options({"max_tokens": "160"}), longest_reply=160)
        rounds = [{"slowest_reply": 0.2, "failed": 0}]
        preparation: Any = SimpleNamespace(profile={"name": "any"}, warm_up={"rounds": rounds}, workload=prepared)
        return proof_line(PreparedRun(read_options({"fail_under_users": "20"}), preparation, Path())) or ""

    def replies(text: str) -> int:
        return int(text.split("at least ")[1].split(maxsplit=1)[0])

    assert replies(line(1.0)) < replies(line(0.5, 0.5)) < replies(line(0.95, 0.05))

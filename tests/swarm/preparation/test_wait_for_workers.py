"""A master waiting for workers and a worker waiting for its master print a few lines."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from locust.rpc import Message
from swarm_fakes import World

from probe_ext.swarm.preparation import wait_for_workers as waiting
from probe_ext.swarm.preparation.wait_for_workers import outlive_workers, wait_for_master, wait_for_workers


def wait(world: World, arrivals: dict[float, Counter[str]], most: float = 0.0) -> tuple[bool, list[str | None]]:
    """Wait for two workers; those connected change at the given seconds."""
    began = world.now
    told: list[str | None] = []

    def here() -> Counter[str]:
        return [there for at, there in sorted(arrivals.items()) if world.now - began >= at][-1]

    done = wait_for_workers(here, 2, most, "start one with it", told.append, world.sleep)
    return done, [one for k, one in enumerate(told) if k == 0 or one != told[k - 1]]


NONE, ONE = Counter[str](), Counter({"box-a": 1})


def test_prints_nothing_if_workers_connect_at_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert wait(world, {0.0: NONE, 1.0: Counter({"box-a": 2})}) == (True, [])
    assert capsys.readouterr().err == ""


def test_shows_each_change_and_one_hint(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    both = Counter({"box-a": 1, "box-b": 1})
    done, told = wait(world, {0.0: NONE, 50.0: ONE, 90.0: NONE, 120.0: both})
    assert done
    none, one = "waiting: 0 of 2 workers connected", "waiting: 1 of 2 workers connected (on box-a)"
    assert told == [none, one, none, None]
    assert capsys.readouterr().err.splitlines() == [
        "probe: 0 of 2 workers connected; start one with it",
        "probe: 2 of 2 workers connected (1 on box-a and 1 on box-b)",
    ]


def test_giving_up_counts_the_connected_workers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    done, told = wait(world, {0.0: NONE, 5.0: ONE}, most=20.0)
    assert not done
    assert told[-1] is None
    assert capsys.readouterr().err.splitlines()[-1] == ("probe: no run: 1 of 2 workers connected (on box-a) after 20 s")


@pytest.fixture
def master_comes(monkeypatch: pytest.MonkeyPatch, world: World) -> dict[str, float]:
    """A listener exists from this second on."""
    when, began = {"at": float("inf")}, world.now
    monkeypatch.setattr(waiting, "_listens", lambda *_: world.now - began >= when["at"])
    return when


def test_worker_repeats_that_it_waits(
    world: World, master_comes: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    master_comes["at"] = 200.0
    assert wait_for_master("m", 5557, world.sleep)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "probe: no master at m:5557 yet; waiting up to 5 minutes"
    assert len(lines) == 4
    assert lines[-1].startswith("probe: still no master at m:5557 after 183")


def test_worker_gives_up_after_a_timeout(
    world: World, master_comes: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert not wait_for_master("m", 5557, world.sleep)
    assert capsys.readouterr().err.splitlines()[-1] == ("probe: no master at m:5557 after 300 s; giving up")


def test_prints_nothing_if_the_master_listens(
    world: World, master_comes: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    master_comes["at"] = 0.0
    assert wait_for_master("m", 5557, world.sleep)
    assert capsys.readouterr().err == ""


def test_worker_quitting_before_the_run_does_not_end_it() -> None:
    taken: list[str] = []
    runner: Any = SimpleNamespace(
        clients={"w0": 1, "w1": 2}, handle_message=lambda _, message: taken.append(message.type)
    )
    begun = False
    outlive_workers(runner, lambda: begun)
    runner.handle_message("w0", Message("heartbeat", None, "w0"))
    runner.handle_message("w0", Message("quit", None, "w0"))
    assert runner.clients == {"w1": 2}
    begun = True
    runner.handle_message("w1", Message("quit", None, "w1"))  # handled by Locust
    assert taken == ["heartbeat", "quit"]

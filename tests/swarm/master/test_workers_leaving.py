"""A worker that leaves gracefully is not lost, with all others on Ctrl-C or alone in mid-run."""

from pathlib import Path
from typing import Any

import pytest
from fake_swarm import Swarm
from swarm_fakes import Talk, Wire, World, a_reply

from probe_ext.swarm.master.coordinator import WORKERS_LEFT, WORKERS_LOST
from probe_ext.swarm.users.recorder import RequestInfo


def running(world: World, tmp_path: Path) -> Swarm:
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=3)
    return swarm


def in_flight(swarm: Swarm, worker: int, seconds: float) -> None:
    """Start a reply that ends after this many seconds."""
    recorder = swarm.nodes[worker].recorder
    talk: Any = Talk()
    number = recorder.start(talk)
    end = lambda: recorder.end(talk, a_reply(), RequestInfo("u", "capacity", "chat"), number)  # noqa: E731
    swarm.world.at(swarm.world.now + seconds, end)


def leave(swarm: Swarm, worker: int, limit: float = 10.0) -> None:
    """Have a worker drain and leave, and Locust forget it."""
    with swarm.world.on(swarm.nodes[worker].worker):
        swarm.ends[worker].leave(limit)
    swarm.world.sleep(0.3)
    swarm.master.clients.pop(swarm.nodes[worker].worker, None)


def test_worker_that_drains_first_after_ctrl_c_is_not_lost(world: World, tmp_path: Path) -> None:
    swarm = running(world, tmp_path)
    in_flight(swarm, 1, seconds=1.8)
    swarm.coordinator.signal_reason = "interrupted"
    world.at(world.now + 0.02, lambda: leave(swarm, 0))  # it got the signal too, and had nothing in flight
    world.at(world.now + 0.45, lambda: swarm.master.clients.pop("w0", None))
    swarm.end()
    workers = swarm.coordinator.workers.known
    assert swarm.run.end_reason == "interrupted"
    assert swarm.run.collector.rows == 7
    assert [(worker.absences.spans, worker.left_at) for worker in workers.values()] == [([], None), ([], None)]


@pytest.mark.parametrize(("earlier", "left"), [(0.0, False), (5.0, True)])
def test_worker_signalled_before_the_master_did_not_leave(
    world: World, tmp_path: Path, earlier: float, *, left: bool
) -> None:
    swarm = running(world, tmp_path)
    leave(swarm, 0)
    world.sleep(earlier)
    swarm.coordinator.signal_reason = "interrupted"
    swarm.end()
    worker = swarm.coordinator.workers.known["w0"]
    assert worker.absences.spans == []
    assert (worker.left_at is not None) == left


def test_last_worker_leaving_gracefully_ends_the_run(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swarm = running(world, tmp_path)
    leave(swarm, 0)
    assert "worker w0 on " in caplog.text
    assert "left gracefully" in caplog.text
    world.sleep(5.0)
    leave(swarm, 1)
    swarm.end()
    assert swarm.run.end_reason == WORKERS_LEFT
    assert not any(worker.absences.spans for worker in swarm.coordinator.workers.known.values())


def test_losing_the_last_worker_ends_the_run(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    swarm = running(world, tmp_path)
    leave(swarm, 0)
    world.sleep(5.0)
    swarm.coordinator._on_heartbeat("w1")
    swarm.master.clients["w1"].state = "missing"
    del swarm.master.others["w1"]
    world.sleep(5.0)
    assert caplog.text.count("lost contact with worker w1") == 1
    swarm.master.clients["w1"].state = "running"
    swarm.coordinator._on_heartbeat("w1")
    assert caplog.text.count("reconnected") == 1
    swarm.master.clients["w1"].state = "missing"
    swarm.end()
    assert swarm.run.end_reason == WORKERS_LOST

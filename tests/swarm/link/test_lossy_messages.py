"""Totals are exact even if messages between master and workers are lost, doubled and reordered."""

from pathlib import Path
from typing import Any

import pytest
from fake_swarm import Swarm
from swarm_fakes import FakeRun, FakeWorker, Wire, World, environment

from probe_ext import __version__
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.worker.session import WorkerSession

TYPES = (
    messages.HELLO,
    messages.PING,
    messages.PONG,
    messages.BEGIN,
    messages.BATCH,
    messages.ACK,
    messages.DRAIN,
    messages.DRAINED,
)


@pytest.mark.untraced
def test_lost_and_doubled_messages_change_no_total(world: World, tmp_path: Path) -> None:
    losses = 0
    for seed in range(25):
        carrier = Wire(world, lost=0.1, doubled=0.1, seed=seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        swarm = Swarm(world, carrier, directory)
        world.sleep(0.5)
        swarm.begin()
        swarm.replies(each=12)
        swarm.end()
        told = swarm.run.collector.reported
        assert {worker: (one["started"], one["rows"]) for worker, one in told.items()} == {
            f"w{k}": (12, 12) for k in range(3)
        }, f"seed {seed}: {carrier.counts}"
        assert len({row.reply_id for row in swarm.run.rows}) == len(swarm.run.rows) == 36
        assert {(row.deadlines, row.deadlines_missed) for row in swarm.run.rows} == {(5, 0)}, (
            "the rule went to everyone"
        )
        assert all(worker.last_batch is not None for worker in swarm.coordinator.workers.known.values())
        assert carrier.counts["lost"]
        assert carrier.counts["doubled"]
        losses += carrier.counts["lost"]
    assert losses > 200  # without losses the test would prove nothing


def test_no_row_is_lost_with_half_of_all_messages(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world, lost=0.5, seed=4), tmp_path)
    swarm.begin()
    swarm.replies(each=10)
    swarm.end()
    assert sum(one["rows"] for one in swarm.run.collector.reported.values()) == 30


@pytest.mark.parametrize("kind", TYPES)
def test_first_message_of_each_kind_may_be_lost(world: World, tmp_path: Path, kind: str) -> None:
    class First(Wire):
        def carry(self, handler: Any, message: Any, to: str = "") -> None:
            if message.type == kind and message.node_id not in gone:
                gone.add(message.node_id)
                return
            super().carry(handler, message, to)

    gone: set[str] = set()
    carrier = First(world)
    swarm = Swarm(world, carrier, tmp_path)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=8)
    swarm.end()
    assert len(gone) == 3
    assert sum(one["rows"] for one in swarm.run.collector.reported.values()) == 24
    assert all(
        worker.last_batch is not None and worker.same_clock for worker in swarm.coordinator.workers.known.values()
    )


def test_worker_joining_in_mid_run_takes_part(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=3)
    runner = FakeWorker(swarm.carrier, "late", swarm.master)
    node = ProcessState(environment(runner), "late")
    swarm.nodes.append(node)
    swarm.ends.append(WorkerSession(node, runner))
    world.every(1.0, lambda: swarm._flush(1))
    swarm.replies(each=3)
    swarm.end()
    assert {worker: one["rows"] for worker, one in swarm.run.collector.reported.items()} == {"w0": 6, "late": 3}


def test_does_not_wait_for_a_lost_worker(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=2)
    swarm.master.clients["w1"].state = "missing"
    del swarm.master.others["w1"]
    world.sleep(2.0)
    before = world.now
    swarm.end()
    workers = swarm.coordinator.workers.known
    assert workers["w1"].absences.away
    assert workers["w1"].last_batch is None
    assert workers["w0"].last_batch is not None
    assert world.now - before < swarm.run.options.drain  # its last batch cannot arrive


def test_second_run_counts_nothing_of_the_first(world: World, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    swarm = Swarm(world, Wire(world, lost=0.1, doubled=0.1, seed=3), tmp_path / "1", workers=2)
    swarm.begin()
    swarm.replies(each=5)
    swarm.end()
    for node, end in zip(swarm.nodes, swarm.ends, strict=True):
        end.leave(0.0)
        assert node.recorder.ending
    first = swarm.run
    swarm.run = FakeRun(world, tmp_path / "2", run="r2")
    swarm.begin()
    for end in swarm.ends:
        end.test_start()
    swarm.replies(each=4)
    swarm.end()
    assert {worker: one["rows"] for worker, one in first.collector.reported.items()} == {"w0": 5, "w1": 5}
    assert {worker: one["rows"] for worker, one in swarm.run.collector.reported.items()} == {"w0": 4, "w1": 4}


def test_refuses_a_worker_of_another_version(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = messages.pong
    monkeypatch.setattr(messages, "pong", lambda t, *_: {**real(t), "version": f"{__version__}-other"})
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    sent: list[str] = []
    swarm.master.others["w0"].heard["quit"] = lambda **_: sent.append("quit")
    world.sleep(1.0)
    swarm.begin()
    swarm.replies(each=1)
    assert "quit" in sent
    assert "-other" in caplog.text
    assert swarm.run.collector.reported == {}
    assert "w0" not in swarm.coordinator.workers.known


def test_refuses_a_worker_without_an_api_key(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holder = {"who": ""}  # the master, or a worker
    monkeypatch.setattr(messages, "has_api_key", lambda: world.who == holder["who"])
    monkeypatch.setattr("probe_ext.swarm.master.admission.has_api_key", lambda: holder["who"] == "")
    monkeypatch.setattr("probe_ext.swarm.worker.session.has_api_key", lambda: world.who == holder["who"])
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    swarm.ends[0]._runner.quit = lambda: None  # type: ignore[method-assign]
    world.sleep(1.0)
    assert "w0" not in swarm.master.clients  # so it does not count as expected
    assert "refused: it has no API key" in caplog.text
    assert "this worker has none; set PROBE_API_KEY" in capsys.readouterr().err
    assert swarm.nodes[0].environment.process_exit_code == 2


def test_warns_of_a_key_that_only_the_worker_has(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(messages, "has_api_key", lambda: world.who == "w0")
    monkeypatch.setattr("probe_ext.swarm.master.admission.has_api_key", lambda: False)
    monkeypatch.setattr("probe_ext.swarm.worker.session.has_api_key", lambda: True)
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(1.0)
    swarm.begin()
    swarm.replies(each=1)
    swarm.end()
    assert caplog.text.count("it has an API key, this master has none") == 1
    assert capsys.readouterr().err.count("this worker has an API key, the master has none") == 1
    assert swarm.run.collector.reported["w0"]["rows"] == 1


def test_the_key_itself_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_API_KEY", "sk-never-to-be-seen")
    assert (messages.ping()["key"], messages.pong(1.0)["key"]) == (True, True)
    assert "never-to-be-seen" not in f"{messages.ping()} {messages.pong(1.0)}"
    monkeypatch.setenv("PROBE_API_KEY", " ")
    assert (messages.ping()["key"], messages.pong(1.0)["key"]) == (False, False)


def test_resends_unacknowledged_batches_after_a_while(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(0.5)
    swarm.begin()
    del swarm.master.heard[messages.BATCH]  # nothing listens there
    world.sleep(0.5)
    tried: list[int] = []
    runner = swarm.master.others["w0"]
    carried = runner.send_message
    runner.send_message = lambda kind, data=None, client_id=None: (  # type: ignore[method-assign]
        tried.append(data["number"]) if kind == messages.BATCH else carried(kind, data)
    )
    swarm.replies(each=1)
    world.sleep(3.0)
    assert sorted(tried) == sorted(set(tried))
    world.sleep(8.0)
    assert len(tried) >= 2 * len(set(tried))

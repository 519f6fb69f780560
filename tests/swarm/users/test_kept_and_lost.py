"""Nothing is lost, and nothing acknowledged that is not kept."""

import os
from pathlib import Path
from typing import Any

import pytest
from fake_swarm import Swarm
from locust.event import EventHook
from swarm_fakes import FakeRun, Wire, World, ask, environment

from probe_ext.measure.outcome import Outcome
from probe_ext.settings.options import read_options
from probe_ext.swarm.link import messages
from probe_ext.swarm.users.llm import Llm
from probe_ext.swarm.users.recorder import Recorder


def cut_off(swarm: Swarm) -> None:
    """Lose contact with w1, which does not notice."""
    swarm.master.clients["w1"].state = "missing"
    swarm.master.others.pop("w1")
    swarm.held = swarm.nodes[1].environment.runner  # type: ignore[attr-defined]
    swarm.held.send_message = lambda *_: None  # type: ignore[attr-defined]


def test_a_worker_back_after_the_drain_is_told_that_its_rows_came_too_late(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=2)
    kept = swarm.run.collector.reported["w1"]["rows"]
    back, send = swarm.nodes[1].environment.runner, swarm.nodes[1].environment.runner.send_message
    cut_off(swarm)
    for _ in range(5):
        ask(swarm.nodes[1].recorder, user="w1:1")
        world.sleep(1.0)
    swarm.end()
    assert swarm.run.collector.closed
    back.send_message = send
    swarm.master.others["w1"] = back
    swarm.master.clients["w1"].state = "running"
    world.sleep(12.0)
    late = swarm.nodes[1].recorder.started - kept
    assert late >= 5
    assert swarm.run.collector.reported["w1"]["rows"] == kept
    assert not swarm.nodes[1].recorder.unacknowledged  # it does not send them for ever
    said = capsys.readouterr().err
    assert said.count("reached the master after its run had ended; backup: ") == 1
    assert str(tmp_path / "requests-w1.csv") in said
    assert "5 replies" in said or "6 replies" in said or "7 replies" in said


def test_a_repetition_of_a_kept_batch_is_kept(tmp_path: Path) -> None:
    recorder, run = Recorder("w"), FakeRun(World(), tmp_path)
    recorder.begin("r1", 100.0, None)
    ask(recorder)
    recorder.flush()
    batch = recorder.unacknowledged[1]
    assert run.collector.accept(batch)
    run.collector.close()
    assert run.collector.accept(batch)
    assert not run.collector.accept({**batch, "number": 2})
    assert not run.collector.accept({**batch, "run": "another"})


def test_a_batch_that_cannot_be_packed_does_not_hold_up_the_others(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(0.5)
    swarm.begin()
    runner = swarm.nodes[0].environment.runner
    send, poisoned = runner.send_message, []

    def pack(kind: str, data: Any = None, client_id: str | None = None) -> None:
        if kind == messages.BATCH and not poisoned:
            poisoned.append(data["number"])
        if kind == messages.BATCH and data["number"] in poisoned:
            raise OverflowError("int too big to convert")
        send(kind, data)

    runner.send_message = pack
    swarm.replies(each=6)
    world.sleep(1.0)
    assert poisoned
    assert swarm.run.collector.reported["w0"]["rows"] >= 4


@pytest.fixture
def llm(world: World) -> Llm:
    made: Any = environment(None, host="http://127.0.0.1:1")
    made.host, made.stats, made.events.request = "http://127.0.0.1:1", None, EventHook()
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    llm = Llm(made, recorder, read_options({}), "m", "capacity")
    llm.recorder = recorder  # type: ignore[attr-defined]
    return llm


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, b"bytes"])
def test_a_request_that_is_no_json_leaves_a_row(llm: Any, value: object, world: World) -> None:
    before = world.now
    reply = llm.chat("hello", logit_bias=value)
    assert reply.outcome is Outcome.CLIENT_ERROR
    assert reply.message.startswith("the request cannot be sent: ")
    llm.recorder.flush()
    (row,) = (values for batch in llm.recorder.unacknowledged.values() for values in batch["rows"])
    assert "client_error" in row
    assert llm.recorder.started == llm.recorder.finished == 1
    assert not llm.recorder.in_flight
    assert world.now - before >= 1.0  # nobody tries it a thousand times a second


def test_an_overdue_user_pauses_after_a_fast_failure(llm: Any, world: World) -> None:
    """An own schedule that fell behind must not ask a dead server in a hot loop."""
    before = world.now
    llm.chat("hello", due=world.now - 1000, logit_bias=object())
    assert world.now - before >= 1.0


def test_a_worker_that_leaves_says_the_same_of_its_backup_twice(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unconfirmed as it leaves, refused as too late after that: both lines name one file."""
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=1)
    back, send = swarm.nodes[1].environment.runner, swarm.nodes[1].environment.runner.send_message
    cut_off(swarm)
    ask(swarm.nodes[1].recorder, user="w1:1")
    swarm.nodes[1].recorder.flush()
    swarm.end()
    for _ in range(2):  # Locust stops the test, and then the process
        swarm.ends[1].leave(0.0)
    back.send_message = send
    swarm.master.others["w1"] = back
    world.sleep(12.0)
    lines = [line for line in capsys.readouterr().err.splitlines() if "backup: " in line]
    assert len(lines) == 2
    assert len({line.partition("backup: ")[2] for line in lines}) == 1
    assert lines[0].endswith("requests-w1.csv")


def test_a_backup_on_a_full_disk_is_called_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder("w")
    assert recorder.backup == "none"
    recorder.begin("r1", 100.0, tmp_path)
    whole = str(tmp_path / "requests-w.csv")
    assert recorder.backup == whole
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        ask(recorder)
        recorder.flush()
        assert recorder.backup == f"{whole} (incomplete)"
    ask(recorder)
    recorder.flush()
    assert recorder.backup == whole  # written later
    recorder.close()
    assert recorder.backup == whole

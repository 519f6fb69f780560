"""Every worker needs the master's prompt files: one that has others is named with its machine, before any load."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_swarm import Swarm
from swarm_fakes import Wire, World

from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.link import message_shapes, messages

FILES = [{"path": "p.txt", "field": None, "sha256": "5e", "left_out": [3]}]


def waits(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as the master does before a run."""
    monkeypatch.setattr("probe_ext.swarm.master.coordinator.gevent.sleep", swarm.world.sleep)
    swarm.coordinator.await_files()


@pytest.fixture
def swarm(world: World, tmp_path: Path) -> Swarm:
    made = Swarm(world, Wire(world, lost=0.1, doubled=0.1, seed=5), tmp_path, workers=3)
    for end in made.ends:
        end._files._difference = lambda *_: None
    world.sleep(2.0)
    return made


def test_a_run_begins_once_all_workers_have_the_files(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for end in swarm.ends:
        end._files._difference = lambda *what: asked.append(what)
    waits(swarm, monkeypatch)
    assert asked == []  # nothing is needed
    swarm.coordinator.prompt_files = FILES
    waits(swarm, monkeypatch)
    assert asked == [("p.txt", None, "5e")] * 3
    assert {worker.compared_files for worker in swarm.coordinator.workers.known.values()} == {("5e",)}


def test_a_worker_with_another_copy_is_named_until_it_is_mended(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    swarm.coordinator.workers.known["w1"].host = "box-b"
    swarm.ends[1]._files._difference = lambda *_: "p.txt: is not the master's"
    swarm.coordinator.prompt_files = FILES
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"^worker w1 on .+: p\.txt: is not the master's$"):
            waits(swarm, monkeypatch)
    swarm.ends[1]._files._difference = lambda *_: None
    swarm.world.sleep(5.0)
    waits(swarm, monkeypatch)


def test_a_worker_that_never_answers_is_named(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    swarm.ends[2]._files.result = lambda files: None  # type: ignore[method-assign]
    swarm.coordinator.prompt_files = FILES
    with pytest.raises(SettingsError, match=r"worker w2 on .+ has not read its prompt files within 120 s"):
        waits(swarm, monkeypatch)


def test_a_worker_that_joins_with_another_copy_is_refused(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    swarm.coordinator.prompt_files = FILES
    swarm.ends[0]._files._difference = lambda *_: None
    swarm.ends[1]._files._difference = lambda *_: "p.txt: no such file in /home/me"
    swarm.ends[1]._runner.quit = lambda: None  # type: ignore[method-assign]
    world.sleep(10.0)
    assert set(swarm.coordinator.workers.known) == {"w0"}
    assert "refused: p.txt: no such file in /home/me; each worker needs its own copy" in caplog.text
    assert "refused: p.txt: no such file in /home/me; each worker needs its own copy" in capsys.readouterr().err
    assert swarm.nodes[1].environment.process_exit_code == 2


def test_only_path_and_digest_travel() -> None:
    ping = messages.ping(files=FILES)
    assert ping["files"] == [{"path": "p.txt", "field": None, "sha256": "5e"}]
    pong = messages.pong(1.0, compared={"digests": ["5e"], "problems": ["p.txt: no such file"]})
    assert message_shapes.FROM_MASTER[messages.PING](json.loads(json.dumps(ping)))
    assert message_shapes.FROM_WORKERS[messages.PONG](json.loads(json.dumps(pong)))
    assert message_shapes.FROM_WORKERS[messages.PONG](messages.pong(1.0))
    assert not message_shapes.FROM_WORKERS[messages.PONG]({**pong, "compared": {"digests": "5e", "problems": []}})


def test_a_copy_is_compared_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("one\ntwo\n")
    files = PromptFiles()
    digest = files.open("p.txt").digest
    assert files.difference("p.txt", None, digest) is None
    Path("p.txt").write_text("one\nthree\n")
    said = files.difference("p.txt", None, digest)
    assert said is not None
    assert said.startswith("p.txt: is not the master's (SHA-256 ")
    assert files.difference("none.txt", None, digest) == f"none.txt: no such file in {tmp_path}"
    assert files.difference(f"{tmp_path}/none.txt", None, digest) == f"{tmp_path}/none.txt: no such file"


def test_users_of_a_process_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join(f"prompt {n}" for n in range(10)))
    digest = PromptFiles().open(str(path)).digest
    entry = {"kind": "chat", "path": str(path), "field": None, "sha256": digest, "left_out": [0, 1]}
    queues = [PromptFiles().queue([entry], "chat", 7, slot, 2) for slot in range(2)]
    sent = [queue[0].take().text for queue in queues if queue is not None for _ in range(4)]
    assert sorted(map(str, sent)) == [f"prompt {n}" for n in range(2, 10)]

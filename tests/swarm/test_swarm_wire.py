"""Master and workers over a wire that loses, doubles and shuffles: the totals are exact all the same."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarm_fakes import FakeMaster, FakeRun, FakeWorker, Wire, World, ask, environment

from probe_ext import __version__
from probe_ext.swarm import axis, wire
from probe_ext.swarm.head import Head
from probe_ext.swarm.node import Node
from probe_ext.swarm.recorder import Recorder
from probe_ext.swarm.worker import WorkerEnd

TYPES = (wire.HELLO, wire.PING, wire.PONG, wire.BEGIN, wire.BATCH, wire.ACK, wire.DRAIN, wire.DRAINED)


class Swarm:
    """A master with workers, their loops driven by the world's clock."""

    def __init__(self, world: World, carrier: Wire, tmp_path: Path, workers: int = 3) -> None:
        self.world, self.carrier = world, carrier
        self.master = FakeMaster(carrier)
        self.head = Head(Node(environment(self.master), "master"))
        self.nodes: list[Node] = []
        self.ends: list[WorkerEnd] = []
        for k in range(workers):
            runner = FakeWorker(carrier, f"w{k}", self.master)
            node = Node(environment(runner), runner.client_id)
            self.nodes.append(node)
            self.ends.append(WorkerEnd(node, runner))
            world.every(1.0, lambda k=k: self._flush(k))  # type: ignore[misc]
        world.every(1.0, self.head.look_after_workers)
        self.run: Any = FakeRun(world, tmp_path)

    def _flush(self, k: int) -> None:
        """One turn of the worker's sending loop."""
        self.nodes[k].recorder.flush()
        self.ends[k]._send_due()

    def begin(self) -> None:
        self.head.begin(self.run)

    def replies(self, each: int) -> None:
        """Every worker ends so many replies, spread over as many seconds."""
        for _ in range(each):
            for node in self.nodes:
                ask(node.recorder, user=f"{node.worker}:1")
            self.world.sleep(1.0)

    def end(self) -> None:
        self.head.drain()
        self.head.finish()


def test_a_wire_that_loses_and_doubles_changes_no_total(world: World, tmp_path: Path) -> None:
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
        told = swarm.run.collector.told
        assert {worker: (one["started"], one["rows"]) for worker, one in told.items()} == {
            f"w{k}": (12, 12) for k in range(3)
        }, f"seed {seed}: {carrier.counts}"
        assert len({row.reply_id for row in swarm.run.rows}) == len(swarm.run.rows) == 36
        assert all(peer.drained is not None for peer in swarm.head.peers.known.values())
        assert carrier.counts["lost"]
        assert carrier.counts["doubled"]
        losses += carrier.counts["lost"]
    assert losses > 200  # a wire that loses nothing would prove nothing


def test_even_a_wire_that_loses_half_of_all_messages_keeps_every_row(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world, lost=0.5, seed=4), tmp_path)
    swarm.begin()
    swarm.replies(each=10)
    swarm.end()
    assert sum(one["rows"] for one in swarm.run.collector.told.values()) == 30


@pytest.mark.parametrize("kind", TYPES)
def test_the_first_message_of_each_kind_may_be_lost(world: World, tmp_path: Path, kind: str) -> None:
    class First(Wire):
        def carry(self, handler: Any, message: Any) -> None:
            if message.type == kind and message.node_id not in gone:
                gone.add(message.node_id)
                return
            super().carry(handler, message)

    gone: set[str] = set()
    carrier = First(world)
    swarm = Swarm(world, carrier, tmp_path)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=8)
    swarm.end()
    assert len(gone) == 3
    assert sum(one["rows"] for one in swarm.run.collector.told.values()) == 24
    assert all(peer.drained is not None and peer.offset == axis.SAME_CLOCK for peer in swarm.head.peers.known.values())


def test_a_worker_that_joins_in_the_middle_of_a_run_takes_part(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=3)
    runner = FakeWorker(swarm.carrier, "late", swarm.master)
    node = Node(environment(runner), "late")
    swarm.nodes.append(node)
    swarm.ends.append(WorkerEnd(node, runner))
    world.every(1.0, lambda: swarm._flush(1))
    swarm.replies(each=3)
    swarm.end()
    assert {worker: one["rows"] for worker, one in swarm.run.collector.told.items()} == {"w0": 6, "late": 3}


def test_a_worker_that_was_lost_is_not_waited_for(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(0.5)
    swarm.begin()
    swarm.replies(each=2)
    swarm.master.clients["w1"].state = "missing"
    del swarm.master.others["w1"]
    world.sleep(2.0)
    before = world.now
    swarm.end()
    peers = swarm.head.peers.known
    assert peers["w1"].lost_at is not None
    assert peers["w1"].drained is None
    assert peers["w0"].drained is not None
    assert world.now - before < swarm.run.options.drain  # its last word can never come


def test_a_second_run_counts_nothing_of_the_first(world: World, tmp_path: Path) -> None:
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
    assert {worker: one["rows"] for worker, one in first.collector.told.items()} == {"w0": 5, "w1": 5}
    assert {worker: one["rows"] for worker, one in swarm.run.collector.told.items()} == {"w0": 4, "w1": 4}


def test_a_worker_of_another_version_is_sent_away(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = wire.pong
    monkeypatch.setattr(wire, "pong", lambda t: {**real(t), "version": f"{__version__}-other"})
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    sent: list[str] = []
    swarm.master.others["w0"].heard["quit"] = lambda **_: sent.append("quit")
    world.sleep(1.0)
    swarm.begin()
    swarm.replies(each=1)
    assert "quit" in sent
    assert "-other" in caplog.text
    assert swarm.run.collector.told == {}


def test_what_is_unacknowledged_is_sent_again_after_a_while_and_not_before(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(0.5)
    swarm.begin()
    del swarm.master.heard[wire.BATCH]  # nobody listens
    world.sleep(0.5)
    tried: list[int] = []
    runner = swarm.master.others["w0"]
    carried = runner.send_message
    runner.send_message = lambda kind, data=None, client_id=None: (  # type: ignore[method-assign]
        tried.append(data["number"]) if kind == wire.BATCH else carried(kind, data)
    )
    swarm.replies(each=1)
    world.sleep(3.0)
    assert sorted(tried) == sorted(set(tried))
    world.sleep(8.0)
    assert len(tried) >= 2 * len(set(tried))


@given(true=st.floats(-1e6, 1e6), t0=st.floats(0, 1e5), there=st.floats(0, 10), back=st.floats(0, 10))
def test_the_true_offset_is_within_the_error_that_is_stated(true: float, t0: float, there: float, back: float) -> None:
    found = axis.offset(t0, t0 + there + back, t0 + there + true)
    assert abs(found.seconds - true) <= found.error + 1e-9 * (abs(true) + t0 + 1)
    assert found.error == pytest.approx((there + back) / 2, abs=1e-9 * (t0 + 1))


def test_the_ping_with_the_shortest_way_is_kept() -> None:
    slow, fast = axis.offset(0.0, 1.0, 5.0), axis.offset(2.0, 2.1, 7.04)
    assert axis.better(axis.better(None, slow), fast) is fast
    assert axis.better(fast, slow) is fast


def test_rows_of_a_worker_with_another_clock_land_on_the_masters_axis(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(1.0)
    ahead = 5000.0
    peer = swarm.head.peers.known["w0"]
    peer.offset = axis.Offset(ahead, 0.001)
    told: list[Any] = []
    swarm.master.others["w0"].heard[wire.BEGIN] = lambda msg, **_: told.append(msg.data)
    swarm.begin()
    world.sleep(0.5)
    assert told[0]["origin"] == pytest.approx(swarm.run.origin + ahead)
    recorder = Recorder("w0")
    recorder.begin("r1", told[0]["origin"], None)
    ask(recorder, None)
    # Another machine: below its own working folder, by the name of this run, so that two runs never meet in a file.
    assert told[0]["directory"] == str(Path("reports/runs") / swarm.run.directory.name)

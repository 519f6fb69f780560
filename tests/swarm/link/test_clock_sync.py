"""Rows of workers with other clocks are placed on the master's time axis within the stated error."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_swarm import Swarm
from hypothesis import given
from hypothesis import strategies as st
from locust.runners import MASTER_HEARTBEAT_TIMEOUT
from swarm_fakes import FakeMaster, FakeWorker, Wire, World, a_reply, ask, environment

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.swarm.link import clock_sync, messages
from probe_ext.swarm.users.process_state import ProcessState
from probe_ext.swarm.worker.master_watch import MasterWatch
from probe_ext.swarm.worker.session import WorkerSession


@given(true=st.floats(-1e6, 1e6), t0=st.floats(0, 1e5), there=st.floats(0, 10), back=st.floats(0, 10))
def test_true_offset_is_within_the_stated_error(true: float, t0: float, there: float, back: float) -> None:
    found = clock_sync.offset(t0, t0 + there + back, t0 + there + true)
    assert abs(found.seconds - true) <= found.error + 1e-9 * (abs(true) + t0 + 1)
    assert found.error == pytest.approx((there + back) / 2, abs=1e-9 * (t0 + 1))


def measured(true: Any, times: list[float], rng: random.Random, slow: float = 0.002) -> clock_sync.ClockSync:
    """A clock sync from pings at these times, with random delays."""
    made = clock_sync.ClockSync()
    for t in times:
        there, back = slow * rng.random(), slow * rng.random()
        made.add(t + (there + back) / 2, clock_sync.offset(t, t + there + back, t + there + true(t + there)))
    return made


@given(seed=st.integers(0, 10_000), rates=st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_follows_a_wandering_drift_within_the_stated_error(seed: int, rates: list[float]) -> None:
    """A clock whose rate changes every 25 s, within the stated bound."""

    def true(t: float) -> float:
        whole, rest = divmod(max(0.0, t), 25.0)
        slopes = [rates[k % len(rates)] for k in range(int(whole) + 1)]
        return 700.0 + clock_sync.DRIFT * (25.0 * sum(slopes[:-1]) + rest * slopes[-1])

    rng = random.Random(seed)
    found = measured(true, [10.0 * k for k in range(60)], rng)
    for t in [rng.uniform(-5, 640) for _ in range(100)]:
        assert abs(found.at(t).seconds - true(t)) <= found.at(t).error + 1e-9


def test_steady_drift_of_four_hours_needs_few_points() -> None:
    def true(t: float) -> float:
        return -3000.0 + 40e-6 * t

    found = measured(true, [10.0 * k for k in range(1440)], random.Random(1))
    assert len(found.segments(0.0)) < 20
    assert found.rate() == pytest.approx(40e-6, rel=0.05)
    worst = max(abs(found.at(t).seconds - true(t)) for t in range(0, 14390, 7))
    assert worst < 0.004
    assert max(found.at(t).error for t in range(0, 14390, 7)) < 0.006


def test_clock_step_is_an_error_of_its_segment_only() -> None:
    found = measured(lambda t: 5.0 if t < 95 else 7.5, [10.0 * k for k in range(20)], random.Random(2))
    assert found.at(95.0).error >= 2.5
    assert found.at(50.0).error < 0.01
    assert found.at(150.0).error < 0.01
    assert found.at(150.0).seconds == pytest.approx(7.5, abs=0.01)


def test_slow_ping_is_ignored_while_a_better_one_is_known() -> None:
    found = measured(lambda _: 5.0, [0.0, 10.0, 20.0], random.Random(3))
    before = found.at(21.0)
    found.add(30.0, clock_sync.Offset(5.9, 1.0))
    assert found.at(21.0) == before
    found.add(10.0 + 20_000, clock_sync.Offset(5.9, 1.0))  # by then even this one is more precise
    assert found.at(20_010.0).seconds == pytest.approx(5.9, abs=1.0)


def test_best_ping_of_each_measurement_counts_throughout() -> None:
    found = clock_sync.ClockSync()
    for k in range(40):
        for error, seconds in ((0.008, 5.007), (0.0001, 5.0), (0.005, 4.996)):
            found.add(10.0 * k + error, clock_sync.Offset(seconds, error))
    assert found.at(195.0).seconds == pytest.approx(5.0, abs=2e-4)
    assert found.at(195.0).error < 0.0002 * 3 + clock_sync.DRIFT * 5
    assert len(found.segments(0.0)) == 2


def test_fastest_of_several_pings_counts() -> None:
    found = clock_sync.ClockSync()
    for error, seconds in ((0.5, 5.4), (0.01, 5.0), (0.3, 4.8)):
        found.add(1.0, clock_sync.Offset(seconds, error))
    assert found.at(1.0) == clock_sync.Offset(5.0, 0.01)
    with pytest.raises(ValueError, match="never measured"):
        clock_sync.ClockSync().at(0.0)


@pytest.mark.parametrize("boot", ["another machine", "the same kernel, another time namespace"])
def test_rows_are_placed_on_the_masters_time_axis(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    """One clock is ahead and drifts, one is behind and is stepped; wall clocks step all the time."""
    clocks = {"w0": lambda t: 5000.0 + (1 + 80e-6) * t, "w1": lambda t: (1 - 30e-6) * t - 90.0}
    world.clocks = dict(clocks)
    monkeypatch.setattr(messages, "clock_name", lambda: f"{boot} {world.who}")
    rng = random.Random(4)
    monkeypatch.setattr(clock, "wall", lambda: rng.uniform(0, 4e9))
    swarm = Swarm(world, Wire(world, lost=0.05, doubled=0.05, seed=5, slow=0.004), tmp_path, workers=2)
    world.sleep(2.0)
    swarm.begin()
    for node in swarm.nodes:  # the worker's backup is not needed here
        monkeypatch.setattr(node.recorder, "_back_up", lambda: None)
    true: dict[str, float] = {}
    world.sleep(0.5)
    for _ in range(200):
        for node in swarm.nodes:
            sent = clocks[node.worker](world.now)
            with world.on(node.worker):
                row = ask(node.recorder, a_reply(sent=sent), user=f"{node.worker}:1")
            true[row.reply_id] = world.now - swarm.run.origin
        world.sleep(3.0)
    swarm.end()
    assert len(swarm.run.rows) == len(true) == 400
    for row in swarm.run.rows:
        worker = swarm.coordinator.workers.known[row.worker]
        assert row.sent is not None
        assert abs(row.sent - true[row.reply_id]) <= worker.clock_error + 1e-4  # what the clock gains within a reply
        assert row.first - row.sent == pytest.approx(0.5)
    assert all(0 < worker.clock_error < 0.01 for worker in swarm.coordinator.workers.known.values())
    drifts = {name: worker.clock.rate() for name, worker in swarm.coordinator.workers.known.items()}
    assert drifts["w0"] == pytest.approx(80e-6, abs=1e-5)
    assert not any(worker.same_clock for worker in swarm.coordinator.workers.known.values())
    # Without following the drift, the last rows would be off by 600 s × 80 ppm.
    lasts = [row for row in swarm.run.rows if row.worker == "w0"][-1]
    begun_at = swarm.coordinator.workers.known["w0"].begun_at.seconds
    frozen = clocks["w0"](true[lasts.reply_id] + swarm.run.origin) - begun_at
    assert abs(frozen - swarm.run.origin - true[lasts.reply_id]) > 0.04


def test_same_clock_needs_agreeing_pings(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world.clocks = {"w1": lambda t: t + 7.0}
    monkeypatch.setattr(messages, "clock_name", lambda: "one boot")
    swarm = Swarm(world, Wire(world), tmp_path, workers=2)
    world.sleep(2.0)
    assert swarm.coordinator.workers.known["w0"].same_clock
    assert not swarm.coordinator.workers.known["w1"].same_clock
    assert swarm.coordinator.workers.known["w1"].clock_offset(world.now).seconds == pytest.approx(7.0, abs=0.3)


def test_clock_name_is_boot_id_and_time_namespace() -> None:
    boot, namespace = messages.clock_name().split(" ")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert namespace == str(Path("/proc/self/ns/time").readlink())


def test_repeated_announcements_have_the_same_origin(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    world.clocks = {"w0": lambda t: t * 1.00005 + 5000.0}
    monkeypatch.setattr(messages, "clock_name", lambda: world.who)
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    told: list[Any] = []
    swarm.master.others["w0"].heard[messages.BEGIN] = lambda msg, **_: told.append(msg.data)
    world.sleep(2.0)
    swarm.begin()
    world.sleep(60.0)
    assert len(told) > 30  # without an answer, it is repeated
    assert len({one["origin"] for one in told}) == 1
    # Another machine: below its own working directory, by the run's name, so that runs never share a file.
    assert told[0]["directory"] == str(Path("reports/runs") / swarm.run.directory.name)


def test_worker_of_another_version_reports_it_and_quits(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(messages, "ping", lambda *_: {"t": clock.monotonic(), "version": f"{__version__}-other"})
    left: list[int] = []
    monkeypatch.setattr(FakeWorker, "quit", lambda _self: left.append(1), raising=False)
    spawned: list[Any] = []
    monkeypatch.setattr("gevent.spawn", lambda what, *args: spawned.append(what) or world.spawn(what, *args))
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(3.0)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"probe-ext {__version__}, the master {__version__}-other; use the same version" in said
    runner = swarm.master.others["w0"]
    assert runner.quit in spawned
    assert runner.environment.process_exit_code == 2


class Silence:
    """A worker whose master may stop sending heartbeats."""

    def __init__(self) -> None:
        master = FakeMaster(Wire(World()))
        self.runner: Any = FakeWorker(master.wire, "w0", master)
        self.runner.environment = environment(self.runner)
        self.left: list[int] = []
        self.watch = MasterWatch(self.runner, lambda: self.left.append(1))

    def beat(self) -> None:
        self.runner.last_heartbeat_timestamp = 1.0  # Locust sets it by the wall clock
        self.runner.last_received_spawn_timestamp = 4e9
        self.runner.environment.events.heartbeat_received.fire()


def test_worker_ignores_steps_of_the_wall_clock() -> None:
    it = Silence()
    for _ in range(5 * MASTER_HEARTBEAT_TIMEOUT):
        it.beat()
        assert not it.watch.turn()
    assert it.runner.last_heartbeat_timestamp is None  # so that Locust has nothing to compare with the wall clock
    assert it.runner.last_received_spawn_timestamp == 0
    assert not it.left


def test_worker_quits_after_a_minute_without_heartbeats() -> None:
    it = Silence()
    for _ in range(5 * MASTER_HEARTBEAT_TIMEOUT):
        assert not it.watch.turn()  # no heartbeat yet: Locust itself is still connecting
    it.beat()
    turns = sum(1 for _ in iter(it.watch.turn, True))
    assert turns == MASTER_HEARTBEAT_TIMEOUT
    assert it.left == [1]


def test_worker_session_reads_no_wall_clock(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> float:
        raise AssertionError("the wall clock was read")

    monkeypatch.setattr(clock, "wall", forbidden)
    master = FakeMaster(Wire(world))
    runner = FakeWorker(master.wire, "w0", master)
    node = ProcessState(environment(runner), "w0")
    end = WorkerSession(node, runner)
    end._on_begin(SimpleNamespace(data={"run": "r", "origin": 1.0, "directory": None}))
    ask(node.recorder)
    node.recorder.flush()
    end._send_due()
    assert node.recorder.unacknowledged

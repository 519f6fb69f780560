"""SocketReactor: one thread reads all sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import gevent
import gevent.event
import pytest
from gevent.monkey import get_original

from probe_ext.client.wire import socket_reactor
from probe_ext.client.wire.kernel_receive import ReadRound
from probe_ext.client.wire.portability import NOT_ON_WINDOWS, EpollPoller, SelectorPoller
from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE
from probe_ext.client.wire.socket_reactor import COALESCE_FROM_SOCKETS, Lateness, SocketReactor, reactor
from probe_ext.measure import clock

failed: list[Exception] = []
"""errors passed to `fail`"""
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["", "1"], ids=["epoll", "portable"], autouse=True)
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """Both ways to wait for sockets; every test gets a new reactor."""
    monkeypatch.setenv(PORTABLE_VARIABLE, request.param)
    monkeypatch.setattr(socket_reactor, "_reactors", {})
    return SelectorPoller if request.param else EpollPoller


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """More socket pairs than COALESCE_FROM_SOCKETS."""
    created = [socket.socketpair() for _ in range(COALESCE_FROM_SOCKETS + 2)]
    for near, _ in created:
        near.setblocking(False)
    yield created
    for near, far in created:
        near.close()
        far.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The intended waits, in seconds."""
    naps: list[float] = []
    monkeypatch.setattr(socket_reactor, "_sleep", naps.append)
    return naps


def register_all(
    current: SocketReactor,
    pairs: list[Pair],
    got: dict[int, bytes],
    *,
    stamped: bool = True,
    fail: list[Exception] = failed,
) -> list[socket_reactor.Registration]:
    def reader(number: int, near: socket.socket) -> None:
        got[number] = got.get(number, b"") + near.recv(100)

    return [
        current.add(near.fileno(), lambda _, n=number, s=near: reader(n, s), fail.append, stamped=stamped)  # type: ignore[misc]
        for number, (near, _) in enumerate(pairs)
    ]


def wait_for(got: dict[int, bytes], count: int) -> None:
    with gevent.Timeout(120):
        while len(got) < count:
            gevent.sleep(0.001)


def test_the_switch_selects_how_sockets_are_waited_for(poller: type) -> None:
    assert type(reactor()._poller) is poller


def test_reads_know_the_intended_wait(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next message arrives during the intended wait."""
    began: list[float] = []
    got: dict[int, bytes] = {}
    reported: list[tuple[float, float]] = []
    near, far = pairs[0]

    def send_more(_: float) -> None:
        began.append(clock.monotonic())
        with suppress(OSError):  # the test may be over
            far.send(b"more")

    def read(now: ReadRound) -> None:
        near.recv(100)
        reported.append(now[1:3])

    monkeypatch.setattr(socket_reactor, "_sleep", send_more)
    monkeypatch.setattr(reactor().delay, "seconds", 0.25)
    watches = [
        *register_all(reactor(), pairs[1:], got),
        reactor().add(near.fileno(), read, failed.append, stamped=True),
    ]
    far.send(b"first")
    with gevent.Timeout(120):
        while len(reported) < 10:
            gevent.sleep(0.001)
    for watch in watches:
        watch.stop()
    assert reported[0] == (0.0, 0.0)
    for (since, due), asleep in zip(reported[1:], began, strict=False):
        assert since <= asleep
        assert due - since == pytest.approx(0.25, abs=1e-6)


def wait_without_hub(got: dict[int, bytes], count: int) -> None:
    """Wait while no greenlet can run."""
    sleep, until = get_original("time", "sleep"), 10_000
    while len(got) < count and until:
        sleep(0.001)
        until -= 1


def test_coalesces_wakeups_of_many_sockets(pairs: list[Pair], slept: list[float]) -> None:
    got: dict[int, bytes] = {}
    watches = register_all(reactor(), pairs, got)
    for number, (_, far) in enumerate(pairs):
        far.send(b"%d" % number)
    wait_for(got, len(pairs))
    assert got == {number: b"%d" % number for number in range(len(pairs))}
    assert set(slept) == {socket_reactor.MIN_DELAY_S}
    for watch in watches:
        watch.stop()


@pytest.mark.parametrize(("count", "stamped"), [(COALESCE_FROM_SOCKETS - 1, True), (COALESCE_FROM_SOCKETS + 2, False)])
def test_does_not_wait_for_few_or_unstamped_sockets(
    pairs: list[Pair], slept: list[float], count: int, stamped: bool
) -> None:
    got: dict[int, bytes] = {}
    watches = register_all(reactor(), pairs[:count], got, stamped=stamped)
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    assert slept == []
    for watch in watches:
        watch.stop()


def test_reads_while_the_hub_is_blocked(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    watches = register_all(reactor(), pairs, got)
    pairs[3][1].send(b"x")
    wait_without_hub(got, 1)
    assert got == {3: b"x"}
    for watch in watches:
        watch.stop()


@pytest.mark.parametrize("poller", [""], ids=["windows"], indirect=True)
def test_on_windows_the_import_fails_with_what_helps() -> None:
    lie = "import sys; sys.platform = 'win32'; import probe_ext.client.wire.socket_reactor"
    done = subprocess.run([sys.executable, "-c", lie], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"ImportError: {NOT_ON_WINDOWS}")


def test_set_soon_sets_the_event_on_the_hub(pairs: list[Pair]) -> None:
    current, woken = reactor(), gevent.event.Event()

    def read(_: int) -> None:
        pairs[0][0].recv(100)
        current.set_soon(woken)

    watch = current.add(pairs[0][0].fileno(), read, failed.append, stamped=True)
    pairs[0][1].send(b"x")
    assert woken.wait(120)
    watch.stop()


def test_a_registration_stopped_during_a_round_is_not_read(pairs: list[Pair]) -> None:
    current, read = reactor(), []
    watches: list[socket_reactor.Registration] = []

    def stop_the_other(other: int) -> None:
        read.append(other)
        watches[other].stop()

    with current.lock:
        for n in (0, 1):
            stop = partial(stop_the_other, 1 - n)
            watches.append(current.add(pairs[n][0].fileno(), lambda _, stop=stop: stop(), failed.append, stamped=True))  # type: ignore[misc]
        current._read_ready([(near.fileno(), 1) for near, _ in pairs[:2]], 0.0, 0.0)
    assert read == [1]
    for watch in watches:
        watch.stop()


def test_stop_waits_for_a_read_in_progress(pairs: list[Pair]) -> None:
    began, states = get_original("threading", "Event")(), []

    def read(_: int) -> None:
        pairs[0][0].recv(100)
        began.set()
        get_original("time", "sleep")(0.05)
        states.append("over")

    watch = reactor().add(pairs[0][0].fileno(), read, failed.append, stamped=True)
    pairs[0][1].send(b"x")
    began.wait(120)
    watch.stop()
    assert states == ["over"]


def test_a_failing_thread_fails_all_registrations_and_is_replaced(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    broken = reactor()

    def read(_: int) -> None:
        raise MemoryError

    reported: list[Exception] = []
    waiting = broken.add(pairs[1][0].fileno(), lambda _: None, reported.append, stamped=True)
    broken.add(pairs[0][0].fileno(), read, reported.append, stamped=True)
    pairs[0][1].send(b"x")
    with gevent.Timeout(120):
        while len(reported) < 2:
            gevent.sleep(0.001)
    assert all(isinstance(defect, MemoryError) for defect in reported)
    waiting.stop()
    assert reactor() is not broken
    watches = register_all(reactor(), pairs[2:3], got)
    pairs[2][1].send(b"y")
    wait_for(got, 1)
    watches[0].stop()


def test_a_failed_registration_leaves_no_trace(pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def register(self, *_: object) -> None:
            raise OSError(28, "no room")

    current = reactor()
    monkeypatch.setattr(current, "_poller", Full())
    with pytest.raises(OSError, match="no room"):
        current.add(pairs[0][0].fileno(), lambda _: None, failed.append, stamped=False)
    assert current._unstamped == 0
    assert pairs[0][0].fileno() not in current._registrations


def exit_code(child: int) -> int | None:
    """Return that of a forked process, None if it does not end; without the hub, and without Linux's `pidfd_open`."""
    for _ in range(2000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        get_original("time", "sleep")(0.01)
    return None


def test_a_forked_process_has_its_own_reactor(pairs: list[Pair]) -> None:
    """Even if the thread, which the child does not have, held the lock at the fork."""
    got: dict[int, bytes] = {}
    current = reactor()
    watches = register_all(current, pairs[:1], got)
    held, over = get_original("threading", "Event")(), get_original("threading", "Event")()

    def hold(_: int) -> None:
        pairs[1][0].recv(1)
        held.set()
        over.wait(10)

    holding = current.add(pairs[1][0].fileno(), hold, failed.append, stamped=True)
    pairs[1][1].send(b"x")
    held.wait(10)
    child = os.fork()
    if not child:  # no assertion: pytest must not continue in the child
        watches[0].stop()
        mine: dict[int, bytes] = {}
        register_all(reactor(), pairs[2:3], mine)
        pairs[2][1].send(b"z")
        until = 5000
        while not mine and until:
            get_original("time", "sleep")(0.001)
            until -= 1
        os._exit(0 if mine == {0: b"z"} and reactor() is not current else 1)
    over.set()
    assert exit_code(child) == 0, "or None: the child waits for a lock that no thread will release"
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    for watch in (*watches, holding):
        watch.stop()


def test_stopping_twice_does_not_stop_a_reused_descriptor(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    old = register_all(reactor(), pairs[:1], got)[0]
    old.stop()
    new = register_all(reactor(), pairs[:1], got)[0]
    old.stop()
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    assert got == {0: b"x"}
    new.stop()


def test_stops_after_the_socket_was_closed(pairs: list[Pair]) -> None:
    watch = register_all(reactor(), pairs[:1], {})[0]
    pairs[0][0].close()
    watch.stop()
    watch.stop()


def test_the_delay_grows_without_unresolved_reads_and_shrinks_with_them() -> None:
    delay = socket_reactor.CoalesceDelay()
    for _ in range(100):
        delay.update(1000, 1)
    assert delay.seconds == socket_reactor.MAX_DELAY_S
    delay.update(1000, 0)
    delay.update(1000, 15)
    assert delay.seconds == socket_reactor.MAX_DELAY_S / 2
    for _ in range(100):
        delay.update(1000, 500)
    assert delay.seconds == socket_reactor.MIN_DELAY_S


# --- without kernel stamps: how late is the thread? ---


def test_lateness_is_measured_by_moments_that_the_thread_sets_itself() -> None:
    late = Lateness()
    assert late.timeout(10.0) == pytest.approx(0.025)
    late.note(10.010, found=True)  # bytes before the moment say nothing
    assert late.latest is None
    assert late.timeout(10.0101) == pytest.approx(0.015), "whole milliseconds, as a poll rounds up"
    late.note(10.0251 + 0.003, found=False)
    assert late.latest == pytest.approx(0.003), "not counting what the poll rounds"


def test_a_moment_that_passes_while_sockets_are_read_counts_in_full() -> None:
    late = Lateness()
    late.timeout(10.0)
    late.note(10.001, found=True)
    late.timeout(10.065)  # the next poll begins
    assert late.latest == pytest.approx(0.040)
    late.note(10.066, found=True)
    late.timeout(10.067)
    assert late.latest == pytest.approx(0.040), "the next moment has not come"


def test_a_held_up_thread_says_so_for_unstamped_sockets_alone(pairs: list[Pair]) -> None:
    current, rounds = reactor(), list[ReadRound]()
    near, far = pairs[0]

    def read(now: ReadRound) -> None:
        near.recv(100)
        rounds.append(now)

    def one_round() -> ReadRound:
        before = len(rounds)
        far.send(b"x")
        with gevent.Timeout(120):
            while len(rounds) == before:
                gevent.sleep(0.001)
        return rounds[-1]

    def hold_up() -> None:
        with current.lock:  # the thread cannot read meanwhile
            far.send(b"y")
            get_original("time", "sleep")(0.1)

    stamped = current.add(near.fileno(), read, failed.append, stamped=True)
    hold_up()
    assert one_round()[3] is None
    stamped.stop()
    unstamped = current.add(near.fileno(), read, failed.append, stamped=False)
    with gevent.Timeout(120):
        while (one_round()[3] or 0) < 0.02:
            hold_up()
    unstamped.stop()


@pytest.mark.parametrize("poller", ["1"], ids=["portable"], indirect=True)
def test_a_selector_may_be_changed_while_it_waits_and_survives_closed_sockets() -> None:
    """`poll` takes no change while it waits, and a descriptor may be closed and used again at once."""
    current = reactor()
    died: list[Exception] = []  # another test's thread may die as late as now
    for number in range(100):
        got: dict[int, bytes] = {}
        near, far = socket.socketpair()
        near.setblocking(False)
        with near, far:
            (watch,) = register_all(current, [(near, far)], got, stamped=False, fail=died)
            if number % 2:
                far.send(b"x")
                wait_for(got, 1)
            watch.stop()
    assert current is reactor(), "the thread has died"
    assert died == []

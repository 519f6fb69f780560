"""One thread for all sockets: everybody is read, nobody twice, and none for another."""

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

from probe_ext.client import socket_reactor
from probe_ext.client.kernel_receive import Round
from probe_ext.client.socket_reactor import MANY, Sockets, sockets
from probe_ext.measure import clock

failed: list[Exception] = []
"""what sockets were told of whom nobody reads any more"""
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """More than are waited for."""
    made = [socket.socketpair() for _ in range(MANY + 2)]
    for near, _ in made:
        near.setblocking(False)
    yield made
    for near, far in made:
        near.close()
        far.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited for others, each time."""
    naps: list[float] = []
    monkeypatch.setattr(socket_reactor, "_sleep", naps.append)
    return naps


def watch_all(
    found: Sockets, pairs: list[Pair], got: dict[int, bytes], *, stamped: bool = True
) -> list[socket_reactor.Watch]:
    def reader(number: int, near: socket.socket) -> None:
        got[number] = got.get(number, b"") + near.recv(100)

    return [
        found.add(near.fileno(), lambda _, n=number, s=near: reader(n, s), failed.append, stamped=stamped)  # type: ignore[misc]
        for number, (near, _) in enumerate(pairs)
    ]


def wait_for(got: dict[int, bytes], count: int) -> None:
    with gevent.Timeout(10):
        while len(got) < count:
            gevent.sleep(0.001)


def test_what_is_read_is_told_how_long_others_were_waited_for(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read sends for the next, which comes while others are waited for."""
    began: list[float] = []
    got: dict[int, bytes] = {}
    told: list[tuple[float, float]] = []
    near, far = pairs[0]

    def send_more(_: float) -> None:
        began.append(clock.monotonic())
        with suppress(OSError):  # the test may be over
            far.send(b"more")

    def read(now: Round) -> None:
        near.recv(100)
        told.append(now[1:])

    monkeypatch.setattr(socket_reactor, "_sleep", send_more)
    monkeypatch.setattr(sockets().patience, "seconds", 0.25)
    watches = [*watch_all(sockets(), pairs[1:], got), sockets().add(near.fileno(), read, failed.append, stamped=True)]
    far.send(b"first")
    with gevent.Timeout(10):
        while len(told) < 10:
            gevent.sleep(0.001)
    for watch in watches:
        watch.stop()
    assert told[0] == (0.0, 0.0)
    for (since, due), asleep in zip(told[1:], began, strict=False):
        assert since <= asleep
        assert due - since == pytest.approx(0.25, abs=1e-6)


def wait_without_the_hub(got: dict[int, bytes], count: int) -> None:
    """The same, while no greenlet can run."""
    sleep, until = get_original("time", "sleep"), 10_000
    while len(got) < count and until:
        sleep(0.001)
        until -= 1


def test_of_many_sockets_all_are_read_with_a_moment_between_looks(pairs: list[Pair], slept: list[float]) -> None:
    got: dict[int, bytes] = {}
    watches = watch_all(sockets(), pairs, got)
    for number, (_, far) in enumerate(pairs):
        far.send(b"%d" % number)
    wait_for(got, len(pairs))
    assert got == {number: b"%d" % number for number in range(len(pairs))}
    assert set(slept) == {socket_reactor.LEAST}
    for watch in watches:
        watch.stop()


@pytest.mark.parametrize(("count", "stamped"), [(MANY - 1, True), (MANY + 2, False)])
def test_few_sockets_and_those_without_the_kernels_times_are_not_waited_for(
    pairs: list[Pair], slept: list[float], count: int, stamped: bool
) -> None:
    got: dict[int, bytes] = {}
    watches = watch_all(sockets(), pairs[:count], got, stamped=stamped)
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    assert slept == []
    for watch in watches:
        watch.stop()


def test_sockets_are_read_while_the_hub_gets_no_turn(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    watches = watch_all(sockets(), pairs, got)
    pairs[3][1].send(b"x")
    wait_without_the_hub(got, 1)
    assert got == {3: b"x"}
    for watch in watches:
        watch.stop()


def test_where_there_is_no_linux_the_reason_is_said() -> None:
    lie = "import sys; sys.platform = 'darwin'; import probe_ext.client.socket_reactor"
    done = subprocess.run([sys.executable, "-c", lie], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: load is made on Linux alone")


def test_who_is_woken_wakes_on_the_hub(pairs: list[Pair]) -> None:
    found, woken = sockets(), gevent.event.Event()

    def read(_: int) -> None:
        pairs[0][0].recv(100)
        found.wake(woken)

    watch = found.add(pairs[0][0].fileno(), read, failed.append, stamped=True)
    pairs[0][1].send(b"x")
    assert woken.wait(10)
    watch.stop()


def test_one_that_is_stopped_while_others_are_read_is_not_read(pairs: list[Pair]) -> None:
    found, read = sockets(), []
    watches: list[socket_reactor.Watch] = []

    def stop_the_other(other: int) -> None:
        read.append(other)
        watches[other].stop()

    with found.lock:
        for n in (0, 1):
            stop = partial(stop_the_other, 1 - n)
            watches.append(found.add(pairs[n][0].fileno(), lambda _, stop=stop: stop(), failed.append, stamped=True))  # type: ignore[misc]
        found._read([(near.fileno(), 1) for near, _ in pairs[:2]], 0.0, 0.0)
    assert read == [1]
    for watch in watches:
        watch.stop()


def test_once_a_watch_is_stopped_no_read_is_going_on(pairs: list[Pair]) -> None:
    began, states = get_original("threading", "Event")(), []

    def read(_: int) -> None:
        pairs[0][0].recv(100)
        began.set()
        get_original("time", "sleep")(0.05)
        states.append("over")

    watch = sockets().add(pairs[0][0].fileno(), read, failed.append, stamped=True)
    pairs[0][1].send(b"x")
    began.wait(10)
    watch.stop()
    assert states == ["over"]


def test_a_thread_that_breaks_leaves_nobody_waiting_and_the_next_socket_gets_another(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    broken = sockets()

    def read(_: int) -> None:
        raise MemoryError

    told: list[Exception] = []
    waiting = broken.add(pairs[1][0].fileno(), lambda _: None, told.append, stamped=True)
    broken.add(pairs[0][0].fileno(), read, told.append, stamped=True)
    pairs[0][1].send(b"x")
    with gevent.Timeout(10):
        while len(told) < 2:
            gevent.sleep(0.001)
    assert all(isinstance(defect, MemoryError) for defect in told)
    waiting.stop()
    assert sockets() is not broken
    watches = watch_all(sockets(), pairs[2:3], got)
    pairs[2][1].send(b"y")
    wait_for(got, 1)
    watches[0].stop()


def test_a_socket_that_the_kernel_does_not_watch_is_none_of_ours(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def register(self, *_: object) -> None:
            raise OSError(28, "no room")

    found = sockets()
    monkeypatch.setattr(found, "_ready", Full())
    with pytest.raises(OSError, match="no room"):
        found.add(pairs[0][0].fileno(), lambda _: None, failed.append, stamped=False)
    assert found._unstamped == 0
    assert pairs[0][0].fileno() not in found._watched


def test_a_forked_process_leaves_the_others_sockets_alone_and_reads_its_own(pairs: list[Pair]) -> None:
    """Also where the thread, which is not in the child, held the lock when it was forked."""
    got: dict[int, bytes] = {}
    found = sockets()
    watches = watch_all(found, pairs[:1], got)
    held, over = get_original("threading", "Event")(), get_original("threading", "Event")()

    def hold(_: int) -> None:
        pairs[1][0].recv(1)
        held.set()
        over.wait(10)

    holding = found.add(pairs[1][0].fileno(), hold, failed.append, stamped=True)
    pairs[1][1].send(b"x")
    held.wait(10)
    child = os.fork()
    if not child:  # no assertion here: pytest must not go on twice
        watches[0].stop()
        mine: dict[int, bytes] = {}
        watch_all(sockets(), pairs[2:3], mine)
        pairs[2][1].send(b"z")
        until = 5000
        while not mine and until:
            get_original("time", "sleep")(0.001)
            until -= 1
        os._exit(0 if mine == {0: b"z"} and sockets() is not found else 1)
    over.set()
    readable, _, _ = get_original("select", "select")([os.pidfd_open(child)], [], [], 20)
    assert readable, "the child waits for a lock that nobody holds"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    for watch in (*watches, holding):
        watch.stop()


def test_a_watch_that_was_stopped_before_does_not_stop_the_next_of_its_number(pairs: list[Pair]) -> None:
    got: dict[int, bytes] = {}
    old = watch_all(sockets(), pairs[:1], got)[0]
    old.stop()
    new = watch_all(sockets(), pairs[:1], got)[0]
    old.stop()
    pairs[0][1].send(b"x")
    wait_for(got, 1)
    assert got == {0: b"x"}
    new.stop()


def test_a_closed_socket_can_still_be_forgotten(pairs: list[Pair]) -> None:
    watch = watch_all(sockets(), pairs[:1], {})[0]
    pairs[0][0].close()
    watch.stop()
    watch.stop()


def test_the_wait_grows_while_nothing_is_lost_and_shrinks_at_once_when_something_is() -> None:
    patience = socket_reactor.Patience()
    for _ in range(100):
        patience.learn(1000, 1)
    assert patience.seconds == socket_reactor.MOST
    patience.learn(1000, 0)
    patience.learn(1000, 15)
    assert patience.seconds == socket_reactor.MOST / 2
    for _ in range(100):
        patience.learn(1000, 500)
    assert patience.seconds == socket_reactor.LEAST

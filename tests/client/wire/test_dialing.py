"""Addresses are raced as in a browser; resolving and connecting can be given up at any moment."""

import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from exchange_helpers import new_exchange, run_exchange, target_of
from scripted_server import Peer, ScriptedServer

from probe_ext.client.exchange import Limits
from probe_ext.client.wire import dialing
from probe_ext.client.wire.address import Target
from probe_ext.client.wire.connection import ConnectError, Connection
from probe_ext.client.wire.dialing import Dialing, interleaved
from probe_ext.measure.outcome import Outcome

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(port: int, host: str = "127.0.0.1", family: Any = V4) -> tuple[Any, ...]:
    return (family, socket.SOCK_STREAM, 6, "", (host, port) if family == V4 else (host, port, 0, 0))


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have every name resolve to these addresses."""

    def to(*addresses: tuple[Any, ...]) -> None:
        monkeypatch.setattr(dialing, "_resolve", lambda _: list(addresses))

    return to


def answer(peer: Peer) -> None:
    peer.request()
    peer.head()
    peer.token()
    peer.finish()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def took(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()  # noqa: TID251
    result = call()
    return time.monotonic() - began, result  # noqa: TID251


@pytest.mark.parametrize("dead_ones", [1, 3])
def test_dead_addresses_cost_a_quarter_of_a_second_each(
    dead_port: int, resolved: Callable[..., None], dead_ones: int
) -> None:
    with ScriptedServer(answer) as server:
        resolved(*[info(dead_port)] * dead_ones, info(server.port))
        target = target_of(server)
        seconds, reply = took(lambda: run_exchange(new_exchange(Connection(target, None), target, Limits(connect=10))))
        assert reply.outcome is Outcome.COMPLETE
        assert 0.25 * dead_ones <= reply.marks.connect < 0.25 * dead_ones + 1
        assert seconds < 0.25 * dead_ones + 2


def test_a_refused_address_costs_nothing(resolved: Callable[..., None]) -> None:
    with ScriptedServer(answer) as server:
        resolved(*[info(free_port()) for _ in range(8)], info(server.port))
        seconds, setup = took(lambda: Connection(target_of(server), None).open(5.0))
        assert setup.connect < 0.25
        assert seconds < 1


def test_the_first_connection_wins_and_the_others_are_closed(dead_port: int, resolved: Callable[..., None]) -> None:
    with ScriptedServer(lambda peer: peer.hold()) as server:
        resolved(info(dead_port), info(server.port), info(server.port))
        connection = Connection(target_of(server), None)
        connection.open(5.0)
        gevent.sleep(0.6)
        assert len(server.peers) == 1
        connection.close()


def test_the_error_of_the_last_attempt_counts(resolved: Callable[..., None]) -> None:
    resolved(info(free_port()), info(free_port()))
    with pytest.raises(ConnectError, match="refused"):
        Connection(Target(False, "x", 80, ""), None).open(5.0)
    resolved()
    with pytest.raises(ConnectError, match="no address"):
        Connection(Target(False, "x", 80, ""), None).open(5.0)


def test_all_dead_is_a_timeout(dead_port: int, resolved: Callable[..., None]) -> None:
    resolved(info(dead_port), info(dead_port))
    with pytest.raises(ConnectError) as error:
        Connection(Target(False, "x", 80, ""), None).open(0.6)
    assert error.value.timed_out


def test_families_alternate() -> None:
    six = [info(n, "::1", V6) for n in range(3)]
    four = [info(n) for n in range(2)]
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert interleaved([]) == []


def test_interrupting_dials_no_further_address(dead_port: int, resolved: Callable[..., None]) -> None:
    with ScriptedServer(answer) as server:
        resolved(info(dead_port), info(server.port))
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target, Limits(connect=60.0))
        running = gevent.spawn(pending.run)
        gevent.sleep(0.05)
        seconds, _ = took(lambda: (pending.cancel(), running.join(5)))
        assert running.dead
        assert seconds < 0.2
        assert pending.finish().outcome is Outcome.ENDED_BY_US
        gevent.sleep(0.5)
        assert server.peers == []


def test_name_resolution_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "_resolve", lambda _: gevent.sleep(60))
    target = Target(False, "slow.invalid", 80, "")
    pending = new_exchange(Connection(target, None), target, Limits(connect=60.0))
    running = gevent.spawn(pending.run)
    gevent.sleep(0.05)
    pending.cancel()
    running.join(120)
    assert running.dead
    assert pending.finish().outcome is Outcome.ENDED_BY_US
    with pytest.raises(ConnectError) as error:
        Connection(target, None).open(0.2)
    assert error.value.timed_out


def test_nothing_is_left_of_what_was_given_up(dead_port: int, resolved: Callable[..., None]) -> None:
    resolved(info(dead_port), info(dead_port))
    made = Dialing(Target(False, "x", 80, ""))
    gevent.sleep(0.3)
    made.interrupt()
    with pytest.raises(ConnectionAbortedError):
        made.wait()
    made.stop()
    gevent.sleep(0.05)
    assert all(greenlet.dead for greenlet in made._greenlets)


def test_dual_stack_as_the_system_resolves_it() -> None:
    """`localhost` is ::1 first on many machines, where nothing listens here."""
    with ScriptedServer(answer) as server:
        target = Target(False, "localhost", server.port, "")
        seconds, _ = took(lambda: Connection(target, None).open(5.0))
        assert seconds < 1

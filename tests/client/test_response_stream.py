"""One response while it arrives: who is woken when, and what a late look changes."""

import gevent
import pytest
from asking import SHORT, conversation, hold, target_of
from scripted_server import Peer, ScriptedServer

from probe_ext.client import connection as stream
from probe_ext.client import kernel_receive
from probe_ext.client.connection import Connection, Reception
from probe_ext.client.reply import Reply
from probe_ext.client.socket_reactor import sockets
from probe_ext.measure.outcome import Outcome

EVENT = b"6\r\ndata: {}\n\n\r\n"


def reception(monkeypatch: pytest.MonkeyPatch, *reads: bytes) -> Reception:
    """One that finds these in its socket, and whose stream flows."""
    waiting = list(reads)

    def read(_: object, now: kernel_receive.Round) -> kernel_receive.Read:
        if not waiting:
            raise BlockingIOError
        return waiting.pop(0), b"", 1.0, now

    class Watch:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

        def resume(self) -> None:
            self.stopped = False

    class Socket:
        def fileno(self) -> int:
            return -1

    monkeypatch.setattr(sockets(), "add", lambda *_, **__: Watch())
    made = Reception(Socket(), read, None, 0.0)  # type: ignore[arg-type]
    made.flows = True
    return made


def wakes(found: Reception) -> bool:
    """Whether somebody who waits would be woken."""
    sockets()._wake_up()
    return found._wake.is_set()


def test_what_comes_while_the_rest_is_looked_at_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread reads on while a greenlet takes what there is: an end is told only with the bytes before it."""
    found = reception(monkeypatch, EVENT, b"last", b"")
    found._on_readable(0)
    real = kernel_receive.arrivals

    def meanwhile(reads: kernel_receive.Reads, floor: float) -> kernel_receive.Arrivals:
        while found._on_readable(0):
            pass
        return real(reads, floor)

    monkeypatch.setattr(kernel_receive, "arrivals", meanwhile)
    assert (found.arrivals().data, found.ended) == ([EVENT], False)
    assert (found.arrivals().data, found.ended) == ([b"last"], True)


def test_a_defect_while_reading_ends_the_reply_and_not_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch)

    def broken(*_: object) -> kernel_receive.Read:
        raise MemoryError("no room")

    found._read = broken
    found._on_readable(0)
    assert wakes(found)
    assert (found.arrivals().data, found.ended) == ([], True)
    assert isinstance(found.failure, MemoryError)


@pytest.mark.parametrize("last", [b"0\r\n\r\n", b"00\r\n\r\n", EVENT + b"0\r\n\r\n", EVENT + b"000\r\n\r\n"])
def test_the_last_chunk_wakes_though_no_done_came_before_it(monkeypatch: pytest.MonkeyPatch, last: bytes) -> None:
    found = reception(monkeypatch, EVENT, last)
    found._on_readable(0)
    assert not wakes(found)
    found._on_readable(0)
    assert wakes(found)


def test_what_flows_wakes_nobody_until_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch, *[EVENT] * 1000)
    while not wakes(found):
        found._on_readable(0)
    assert len(found._reads) == (stream._AT_ONCE + 1) * kernel_receive.READ_ITEMS


def test_what_nobody_looks_at_is_left_to_the_kernel_until_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch, *[EVENT] * 10_000)
    while not found._watch.stopped:  # type: ignore[attr-defined]
        found._on_readable(0)
    assert len(found.arrivals().data) == stream._MOST_WAITING
    assert not found._watch.stopped  # type: ignore[attr-defined]


def test_what_was_stopped_is_not_read_on_by_looking_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch, *[EVENT] * 10_000)
    while not found._watch.stopped:  # type: ignore[attr-defined]
        found._on_readable(0)
    found.stop()
    assert found.arrivals().data
    assert found._watch.stopped  # type: ignore[attr-defined]


def test_a_connection_that_is_closed_is_read_no_more() -> None:
    """Its descriptor may be another's by then."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.over.wait(10)

    with ScriptedServer(script) as server:
        connection = Connection(target_of(server), None)
        connection.open(5.0)
        connection.receive(0.0)
        assert len(sockets()._watched) == 1
        connection.close()
        assert not sockets()._watched


def test_a_socket_that_cannot_be_watched_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.over.wait(10)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sockets(), "add", full)
    with ScriptedServer(script) as server:
        target = target_of(server)
        reply = hold(conversation(Connection(target, None), target, SHORT))
    assert (reply.outcome, reply.message) == (
        Outcome.CLIENT_ERROR, "its socket cannot be read: No space left on device",
    )  # fmt: skip


def test_what_the_thread_has_read_when_a_deadline_passes_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch, EVENT)
    found._on_readable(0)  # as the thread would, just before
    assert found.catch_up()
    found.arrivals()
    assert not found.catch_up()


def test_a_server_that_writes_faster_than_we_read_does_not_keep_us(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reception(monkeypatch, *[b"x" * 100] * 10_000)
    assert found.catch_up()
    assert 0 < len(found.arrivals().data) <= stream._AT_ONCE + 1
    assert found.catch_up()


def test_a_reply_whose_connection_ends_with_it_ended_with_its_last_bytes_however_late_we_look() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.token("a")
        peer.finish()

    with ScriptedServer(script) as server:
        target = target_of(server)
        running = gevent.spawn(hold, conversation(Connection(target, None), target, SHORT))
        while not server.peers:
            gevent.sleep(0.001)
        with sockets().lock:
            server.peers[0].over.wait(0.4)  # nobody reads while everything comes, the connection's end too
        reply: Reply = running.get(timeout=20)
        sent = server.peers[0].sent[-1]
    assert reply.outcome is Outcome.COMPLETE
    if not reply.lags:
        pytest.skip("this machine's kernel stamps nothing: a reply ends when it is read")
    assert reply.marks.end is not None
    assert reply.marks.end - sent.before < max(reply.lags) / 2

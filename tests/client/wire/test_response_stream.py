"""ResponseStream: when it wakes its greenlet, and what late reads change."""

import gevent
import pytest
from exchange_helpers import SHORT, new_exchange, run_exchange, target_of
from scripted_server import Peer, ScriptedServer

from probe_ext.client.reply import Reply
from probe_ext.client.wire import kernel_receive, response_stream
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.native.native_extension import NATIVE_VARIABLE
from probe_ext.client.wire.response_stream import ResponseStream
from probe_ext.client.wire.socket_reactor import reactor
from probe_ext.measure.outcome import Outcome


@pytest.fixture(autouse=True)
def _python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, "0")


ROUND = kernel_receive.begin_round()
EVENT = b"6\r\ndata: {}\n\n\r\n"


def stream_of(monkeypatch: pytest.MonkeyPatch, *reads: bytes) -> ResponseStream:
    """Return a stream with deferred wakeups whose socket holds these reads."""
    waiting = list(reads)

    def read(_: object, now: kernel_receive.ReadRound) -> kernel_receive.Read:
        if not waiting:
            raise BlockingIOError
        return waiting.pop(0), b"", 1.0, now

    class Registration:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

        def resume(self) -> None:
            self.stopped = False

    class Socket:
        def fileno(self) -> int:
            return -1

    monkeypatch.setattr(reactor(), "add", lambda *_, **__: Registration())
    stream = ResponseStream(Socket(), read, None, 0.0)  # type: ignore[arg-type]
    stream.defer_wakeups = True
    return stream


def wakes(stream: ResponseStream) -> bool:
    """Return whether a waiting greenlet would be woken."""
    reactor()._set_events()
    return stream._wakeup.is_set()


def test_reads_during_take_arrivals_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread keeps reading meanwhile: the end is reported only with the bytes before it."""
    stream = stream_of(monkeypatch, EVENT, b"last", b"")
    stream._on_readable(ROUND)
    real = kernel_receive.arrivals

    def meanwhile(reads: kernel_receive.FlatReads, floor: float) -> kernel_receive.Arrivals:
        while stream._on_readable(ROUND):
            pass
        return real(reads, floor)

    monkeypatch.setattr(kernel_receive, "arrivals", meanwhile)
    assert (stream.take_arrivals().data, stream.ended) == ([EVENT], False)
    assert (stream.take_arrivals().data, stream.ended) == ([b"last"], True)


def test_an_error_while_reading_ends_the_reply_not_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch)

    def broken(*_: object) -> kernel_receive.Read:
        raise MemoryError("no room")

    stream._read = broken
    stream._on_readable(ROUND)
    assert wakes(stream)
    assert (stream.take_arrivals().data, stream.ended) == ([], True)
    assert isinstance(stream.failure, MemoryError)


@pytest.mark.parametrize("last", [b"0\r\n\r\n", b"00\r\n\r\n", EVENT + b"0\r\n\r\n", EVENT + b"000\r\n\r\n"])
def test_the_last_chunk_wakes_without_a_done_event(monkeypatch: pytest.MonkeyPatch, last: bytes) -> None:
    stream = stream_of(monkeypatch, EVENT, last)
    stream._on_readable(ROUND)
    assert not wakes(stream)
    stream._on_readable(ROUND)
    assert wakes(stream)


def test_events_do_not_wake_until_many_are_unparsed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch, *[EVENT] * 1000)
    while not wakes(stream):
        stream._on_readable(ROUND)
    assert len(stream._reads) == (response_stream.WAKE_ABOVE_READS + 1) * kernel_receive.ITEMS_PER_READ


def test_pauses_reading_until_reads_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch, *[EVENT] * 10_000)
    while not stream._registration.stopped:  # type: ignore[attr-defined]
        stream._on_readable(ROUND)
    assert len(stream.take_arrivals().data) == response_stream.MAX_UNPARSED_READS
    assert not stream._registration.stopped  # type: ignore[attr-defined]


def test_taking_arrivals_does_not_resume_a_stopped_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch, *[EVENT] * 10_000)
    while not stream._registration.stopped:  # type: ignore[attr-defined]
        stream._on_readable(ROUND)
    stream.stop()
    assert stream.take_arrivals().data
    assert stream._registration.stopped  # type: ignore[attr-defined]


def test_closing_a_connection_stops_reading() -> None:
    """The descriptor may be reused."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.over.wait(10)

    with ScriptedServer(script) as server:
        connection = Connection(target_of(server), None)
        connection.open(5.0)
        connection.receive(0.0)
        assert len(reactor()._registrations) == 1
        connection.close()
        assert not reactor()._registrations


def test_a_socket_that_cannot_be_registered_is_a_client_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.over.wait(10)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reactor(), "add", full)
    with ScriptedServer(script) as server:
        target = target_of(server)
        reply = run_exchange(new_exchange(Connection(target, None), target, SHORT))
    assert (reply.outcome, reply.message) == (
        Outcome.CLIENT_ERROR, "cannot read the socket: No space left on device",
    )  # fmt: skip


def test_drain_socket_reports_reads_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch, EVENT)
    stream._on_readable(ROUND)  # as the thread would
    assert stream.drain_socket()
    stream.take_arrivals()
    assert not stream.drain_socket()


def test_drain_socket_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(monkeypatch, *[b"x" * 100] * 10_000)
    assert stream.drain_socket()
    assert 0 < len(stream.take_arrivals().data) <= response_stream.WAKE_ABOVE_READS + 1
    assert stream.drain_socket()


def test_a_reply_ends_with_its_last_bytes_however_late_it_is_read() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.token("a")
        peer.finish()

    with ScriptedServer(script) as server:
        target = target_of(server)
        running = gevent.spawn(run_exchange, new_exchange(Connection(target, None), target, SHORT))
        while not server.peers:
            gevent.sleep(0.001)
        with reactor().lock:
            server.peers[0].over.wait(0.4)  # nothing is read until everything has arrived
        reply: Reply = running.get(timeout=120)
        sent = server.peers[0].sent[-1]
    assert reply.outcome is Outcome.COMPLETE
    if not reply.lags:
        pytest.skip("this kernel does not stamp: a reply ends when it is read")
    assert reply.marks.end is not None
    assert reply.marks.end - sent.before < max(reply.lags) / 2

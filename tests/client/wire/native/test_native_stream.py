"""The native reader with real sockets: times, wakeups, back-pressure, forks, signals and exit."""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import gevent
import pytest
from exchange_helpers import SHORT, ask, new_exchange, run_exchange, target_of
from gevent.monkey import get_original
from recorded_replies import sse
from scripted_server import Peer, ScriptedServer
from test_event_pattern import ROLE, chat
from test_matched_runs import CHUNKED, END, chunk

from probe_ext.client.native_patterns import encoded
from probe_ext.client.wire import kernel_receive
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.kernel_receive import Arrivals
from probe_ext.client.wire.native import native_extension, native_stream
from probe_ext.client.wire.native.native_arrivals import EventRun, arrivals_of
from probe_ext.client.wire.native.native_stream import NativeStream, native_reactor
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome

native = native_extension.reader_module()
pytestmark = pytest.mark.skipif(native is None, reason=f"NOT CHECKED: {native_extension.reading_path()})")
Pair = tuple[socket.socket, socket.socket]
EVENT = chunk(sse(json.dumps(chat("word", 1))))
PATIENCE_S = 20.0
_sleep = get_original("time", "sleep")


@pytest.fixture(autouse=True)
def _own_reactor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test gets a new reader."""
    own: dict[object, native_stream.NativeReactor] = {}
    monkeypatch.setattr(native_stream, "_reactors", own)
    yield
    for current in own.values():
        current._watcher.stop()
        current.close()


def make_pairs(count: int) -> list[Pair]:
    """Return connected sockets: the client's, which the kernel stamps, and the server's."""
    pairs = []
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        for _ in range(count):
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
            near.setblocking(False)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert kernel_receive.enable_timestamps(near)
            pairs.append((near, far))
    return pairs


@pytest.fixture
def pair() -> Iterator[Pair]:
    (made,) = make_pairs(1)
    yield made
    for one in made:
        one.close()


def taken(arrived: NativeStream) -> list[bytes]:
    """Return the bytes that arrived since the last call."""
    return [data for part in arrived.take_arrivals().parts if isinstance(part, Arrivals) for data in part.data]


def collect(arrived: NativeStream, size: int) -> bytes:
    """Return the next bytes, of which so many are expected."""
    got = b""
    with gevent.Timeout(PATIENCE_S):
        while len(got) < size:
            got += b"".join(taken(arrived))
            gevent.sleep(0.001)
    return got


def wait_until_quiet(current: native_stream.NativeReactor, registered: int) -> None:
    with gevent.Timeout(PATIENCE_S):
        while current.reader.registered != registered:
            gevent.sleep(0.001)


def test_reads_bytes_with_the_kernels_times(pair: Pair) -> None:
    near, far = pair
    sent = clock.monotonic()
    arrived = NativeStream(near, sent, may_defer=False)
    far.send(b"one")
    arrived.wait(PATIENCE_S)
    after = clock.monotonic()
    assert taken(arrived) == [b"one"]
    assert sent <= (arrived.bytes_at or 0) <= after
    assert len(arrived.lags) == len(arrived.overdue) == 1
    far.close()
    arrived.wait(PATIENCE_S)
    assert (taken(arrived), arrived.ended, arrived.failure) == ([], True, None)
    assert native_reactor().reader.registered == 0


def test_late_reads_keep_arrival_times_and_say_how_late_they_are(pair: Pair) -> None:
    """As long as nobody reads, the kernel keeps the bytes with their times."""
    near, far = pair
    waiting = native.Reader().open(near.fileno(), 0.0, False)
    before = clock.monotonic()
    far.send(b"one")
    after = clock.monotonic()
    _sleep(0.05)
    assert waiting.drain()
    *columns, both, _, _, _, _, _ = waiting.take()
    lags, overdue = ([one[i] for one in struct.iter_unpack("@dd", both)] for i in (0, 1))
    ((data, at, _, _, numbers),) = arrivals_of(*columns).parts
    assert (data, numbers) == ([b"one"], [1])
    assert before - 1e-4 <= at[0] <= after + 1e-4 + lags[0] / 2
    assert lags[0] >= 0.04
    assert overdue == lags, "no wait was intended"
    assert not waiting.drain()


def test_a_reset_connection_ends_the_stream_with_its_error(pair: Pair) -> None:
    near, far = pair
    arrived = NativeStream(near, 0.0, may_defer=True)
    Peer(far, None).reset()  # type: ignore[arg-type]
    arrived.wait(PATIENCE_S)
    assert taken(arrived) == []
    assert arrived.ended
    assert isinstance(arrived.failure, ConnectionResetError)


def test_a_whole_stream_wakes_once_however_many_reads_it_takes(pair: Pair) -> None:
    near, far = pair
    arrived = NativeStream(near, 0.0, may_defer=True)
    for data in (CHUNKED, chunk(ROLE), *[EVENT] * 30):
        far.send(data)
        gevent.sleep(0.001)
    gevent.sleep(0.02)
    assert not arrived._wakeup.is_set()
    far.send(chunk(sse("[DONE]")) + END)
    arrived.wait(PATIENCE_S)
    parts = arrived.take_arrivals().parts
    last = parts[-1]
    assert isinstance(last, Arrivals)
    assert last.data[-1] == chunk(sse("[DONE]")) + END


@pytest.mark.parametrize("data", [b"HTTP/1.1 500 Oh\r\n", b"<html>", b"HTTP/1.1 200 OK\nX: y\n\n", b"x"])
def test_what_is_no_stream_wakes_at_once(pair: Pair, data: bytes) -> None:
    near, far = pair
    arrived = NativeStream(near, 0.0, may_defer=True)
    far.send(data)
    with gevent.Timeout(PATIENCE_S):
        arrived._wakeup.wait()
    assert taken(arrived) == [data]


def test_a_flood_pauses_reading_until_it_is_taken(pair: Pair) -> None:
    near, far = pair
    arrived = NativeStream(near, 0.0, may_defer=False)
    far.setblocking(False)
    sent = 0
    current = native_reactor()
    with gevent.Timeout(PATIENCE_S), suppress(BlockingIOError):
        while current.reader.registered:
            with suppress(BlockingIOError):
                sent += far.send(b"x" * 65536)
            gevent.sleep(0)
    first = b"".join(taken(arrived))
    assert len(first) <= (8 << 20) + 32768
    assert len(first) + len(collect(arrived, sent - len(first))) == sent


def test_many_small_reads_pause_too(pair: Pair) -> None:
    arrived = NativeStream(pair[0], 0.0, may_defer=False)
    reads = 0
    with gevent.Timeout(PATIENCE_S):
        while native_reactor().reader.registered:
            pair[1].send(b"x")
            reads += 1
            _sleep(0.0001)
    assert reads >= 1024
    assert sum(map(len, taken(arrived))) >= 1024
    assert native_reactor().reader.registered == 1, "reading goes on"


def test_many_matched_events_pause_reading_too(pair: Pair) -> None:
    """Their values are kept until Python asks, however few bytes they are."""
    assert native.add_pattern(encoded((b"data: ", b"\n\n"), "n")) >= 0
    event = b"data: 7\n\n"
    together = chunk(event * 100) * 64
    arrived = NativeStream(pair[0], 0.0, may_defer=True)
    pair[1].send(CHUNKED)
    pair[1].setblocking(False)
    rest = b""
    with gevent.Timeout(PATIENCE_S):
        while native_reactor().reader.registered:
            rest = rest or together
            with suppress(BlockingIOError):
                rest = rest[pair[1].send(rest) :]
            gevent.sleep(0)
    runs = [part for part in arrived.take_arrivals().parts if isinstance(part, EventRun)]
    assert 16384 <= sum(len(run.at) for run in runs) <= 16384 + 32768 // len(event) + 100
    assert native_reactor().reader.registered == 1, "reading goes on"
    arrived.stop()
    native.forget_patterns()


def in_use() -> int:
    """Return how many bytes `malloc` has handed out and not taken back."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("NOT CHECKED: this C library has no mallinfo2")

    class Info(ctypes.Structure):
        _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]

    libc.mallinfo2.restype = Info
    return int(libc.mallinfo2().field_7)  # uordblks


def test_finished_streams_leave_no_memory_behind() -> None:
    """What is kept, pending, taken or not is freed, and of a stream that is dropped in its middle, too."""
    reader = native.Reader()
    whole = CHUNKED + EVENT * 10 + b"a" * 1000

    def replies(count: int) -> None:
        for number in range(count):
            one = reader.open(-1, 0.0, True)
            one.feed(whole[: len(whole) - number % 2000], 1.0)
            if number % 2:
                one.take()

    replies(2000)
    before = in_use()
    replies(4000)
    assert in_use() - before < 4000 * 50


NO_MEMORY = """
import resource
from pathlib import Path
from probe_ext.client.wire.native import native_extension
from probe_ext.client.wire.native.native_arrivals import arrivals_of
stream = native_extension.reader_module().Reader().open(-1, 0.0, False)
blocks = [bytes([number]) * 1000001 for number in range(8)]
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), before[1]))
for number in range(200):
    stream.feed(blocks[number % 8], number + 1.0)
stream.feed(b"for which there is room", 300.0)
resource.setrlimit(resource.RLIMIT_AS, before)
*columns, lags, ended, _, error, _, _ = stream.take()
(part,) = arrivals_of(*columns).parts
assert (ended, error) == (1, 12), (ended, error)
assert 0 < len(part.data) < 200, len(part.data)
assert part.data == [blocks[number % 8] for number in range(len(part.data))]
"""


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="NOT CHECKED: ASan needs the address space")
def test_if_memory_runs_out_the_reply_ends_with_all_that_came_before() -> None:
    ran = subprocess.run([sys.executable, "-c", NO_MEMORY], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_no_wakeup_is_lost_where_the_pipe_is_full() -> None:
    (busy, quiet), current = make_pairs(2), native_reactor()
    current._capacity = fcntl.fcntl(current._woken, fcntl.F_SETPIPE_SZ, 4096)
    if current._capacity != 4096:
        pytest.skip("NOT CHECKED: this kernel's pages are larger")
    _, arrived = [NativeStream(near, 0.0, may_defer=False) for near, _ in (busy, quiet)]
    until = clock.monotonic() + PATIENCE_S
    while struct.unpack("i", fcntl.ioctl(current._woken, termios.FIONREAD, b"1234"))[0] < 4096:
        busy[1].send(b"x")
        _sleep(0.0001)  # the hub gets no turn
        assert clock.monotonic() < until
    quiet[1].send(b"y")
    _sleep(0.01)
    with gevent.Timeout(PATIENCE_S):
        arrived._wakeup.wait()
    for one in (*busy, *quiet):
        one.close()


def test_without_room_for_a_thread_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise RuntimeError("can't start new thread")

    gevent.get_hub()
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(native_stream, "start_thread_without_signals", full)
    with pytest.raises(OSError, match="can't start new thread"):
        native_reactor()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_draining_is_bounded(pair: Pair) -> None:
    waiting = native.Reader().open(pair[0].fileno(), 0.0, False)
    for _ in range(300):
        pair[1].send(b"x")
        waiting.drain()
    (part,) = arrivals_of(*waiting.take()[:6]).parts
    assert len(part.numbers) == 257


def test_stopping_twice_and_after_closing_does_no_harm(pair: Pair) -> None:
    near, _ = pair
    arrived = NativeStream(near, 0.0, may_defer=True)
    arrived.stop()
    near.close()
    arrived.stop()
    assert native_reactor().reader.registered == 0
    assert native_reactor().waiting == {}
    assert not arrived.drain_socket() or arrived.take_arrivals().parts == []


def test_a_stopped_stream_reads_nothing_of_the_connection_that_has_its_number_now(pair: Pair) -> None:
    first, _ = get_original("socket", "socketpair")()
    arrived = NativeStream(first, 0.0, may_defer=False)
    number = first.detach()
    arrived.stop()
    later, sender = pair
    os.dup2(later.fileno(), number)  # instead of closing it and hoping that the next socket gets its number
    try:
        sender.send(b"of another connection")
        assert not arrived.drain_socket()
        assert os.read(number, 100) == b"of another connection"
    finally:
        os.close(number)


def test_a_dropped_stream_frees_its_place(pair: Pair) -> None:
    reader = native.Reader()
    for _ in range(1000):
        one = reader.open(pair[0].fileno(), 0.0, True)
        assert reader.registered == 1
        del one
        assert reader.registered == 0


def test_a_socket_that_cannot_be_watched_is_a_client_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("probe_ext.client.wire.connection.NativeStream", full)
    with ScriptedServer(Peer.hold) as server:
        target = target_of(server)
        reply = run_exchange(new_exchange(Connection(target, None), target, SHORT))
    assert (reply.outcome, reply.message) == (
        Outcome.CLIENT_ERROR,
        "cannot read the socket: No space left on device",
    )
    with pytest.raises(OSError, match="Bad file descriptor"):
        native.Reader().open(99_999, 0.0, True)


def test_many_sockets_are_read_together_and_the_wait_is_no_delay() -> None:
    pairs = make_pairs(36)
    streams = [NativeStream(near, 0.0, may_defer=False) for near, _ in pairs]
    native_reactor().reader.delay_ns = 20_000_000
    waited = False
    with gevent.Timeout(PATIENCE_S):
        while not waited:
            for _, far in pairs:
                far.send(b"x")
                _sleep(0.0005)
            for one in streams:
                collect(one, 1)
                waited = waited or any(late > less for late, less in zip(one.lags, one.overdue, strict=True))
    assert all(late >= less >= 0 for one in streams for late, less in zip(one.lags, one.overdue, strict=True))
    for one, (near, far) in zip(streams, pairs, strict=True):
        one.stop()
        near.close()
        far.close()


def test_reads_with_several_tokens_shorten_the_wait() -> None:
    current = native_reactor()
    before = current.delay.seconds
    current.report(10_000, 0)
    assert current.delay.seconds > before
    current.report(10_000, 5_000)
    current.report(10_000, 5_000)
    assert current.delay.seconds == before


def test_the_thread_leaves_signals_to_the_main_thread(pair: Pair) -> None:
    arrived = NativeStream(pair[0], 0.0, may_defer=True)
    threads: list[Path] = []
    with gevent.Timeout(PATIENCE_S):
        while not threads:  # it names itself
            gevent.sleep(0.001)
            tasks = Path("/proc/self/task").iterdir()
            threads = [path for path in tasks if (path / "comm").read_text() == "probe-reader\n"]
    for thread in threads:
        status = dict(line.split(":\t") for line in (thread / "status").read_text().splitlines() if ":\t" in line)
        blocked = int(status["SigBlk"], 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM):
            assert blocked >> (number - 1) & 1
        assert not blocked >> (signal.SIGSEGV - 1) & 1
    arrived.stop()


def test_a_forked_process_has_its_own_reader_and_leaves_the_parents_alone(pair: Pair) -> None:
    arrived = NativeStream(pair[0], 0.0, may_defer=False)
    pair[1].send(b"before")
    assert collect(arrived, 6) == b"before"
    parent = native_reactor()
    child = os.fork()
    if not child:  # no assertion: pytest must not continue in the child
        arrived.stop()
        arrived.take_arrivals()
        (mine,) = make_pairs(1)
        one = NativeStream(mine[0], 0.0, may_defer=False)
        mine[1].send(b"child")
        got, until = b"", 5000
        while len(got) < 5 and until:
            _sleep(0.001)
            got += b"".join(taken(one))
            until -= 1
        os._exit(0 if got == b"child" and native_reactor() is not parent else 1)
    readable, _, _ = get_original("select", "select")([os.pidfd_open(child)], [], [], PATIENCE_S)
    assert readable, "the child hangs"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pair[1].send(b"after")
    assert collect(arrived, 5) == b"after"
    arrived.stop()


def pollers() -> set[int]:
    """Return the descriptors of this process that belong to epoll."""
    links = {int(path.name): path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    return {number for number, path in links.items() if "eventpoll" in str(path.readlink())}


def test_streams_fail_if_the_kernel_reports_no_more_readiness_and_the_next_one_has_a_new_thread(pair: Pair) -> None:
    before = pollers()
    arrived = NativeStream(pair[0], 0.0, may_defer=False)
    current = native_reactor()
    (poller,) = pollers() - before
    with Path("/dev/null").open() as other:
        os.dup2(other.fileno(), poller)
    pair[1].send(b"x")  # ends the wait that is in progress
    arrived.wait(PATIENCE_S)
    arrived.take_arrivals()
    assert arrived.ended
    assert isinstance(arrived.failure, OSError)
    assert current.reader.failed
    assert native_reactor() is not current
    (other_pair,) = make_pairs(1)
    again = NativeStream(other_pair[0], 0.0, may_defer=False)
    other_pair[1].send(b"y")
    assert collect(again, 1) == b"y"
    for one in other_pair:
        one.close()


def test_sends_what_the_kernel_takes_and_says_when() -> None:
    (near, far), *_ = make_pairs(1)
    before = clock.monotonic()
    at, size = native_stream.send(near, b"x" * (64 << 20))
    assert before <= at <= clock.monotonic()
    assert 0 < size < 64 << 20
    while native_stream.send(near, b"y" * (1 << 20))[1]:
        pass
    Peer(far, None).reset()  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        native_stream.send(near, b"z")
    near.close()


EXIT = """
import socket, sys
from probe_ext.client.wire.native.native_arrivals import arrivals_of
from probe_ext.client.wire.native.native_stream import NativeStream
listener = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(listener.getsockname())
near.setblocking(False)
streams = [NativeStream(near, 0.0, may_defer=True)]
listener.accept()[0].send(b"x")
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del streams", "import os; os._exit(0)"])
def test_a_process_ends_while_sockets_are_read(end: str) -> None:
    program = EXIT.format(end=end)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=PATIENCE_S)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_reply_is_read_natively_and_its_connection_is_kept() -> None:
    def script(peer: Peer) -> None:
        for _ in range(3):
            peer.request()
            peer.counted = 0
            peer.head()
            for word in "abcde":
                peer.token(word)
            peer.finish()

    with ScriptedServer(script) as server:
        connection = Connection(target_of(server), None)
        replies = [ask(server, connection=connection) for _ in range(3)]
        assert connection.reading_path == "native"
        connection.close()
    assert len(server.peers) == 1
    assert [(reply.outcome, reply.text, reply.tokens_out) for reply in replies] == [(Outcome.COMPLETE, "abcde", 5)] * 3
    assert native_reactor().reader.registered == 0

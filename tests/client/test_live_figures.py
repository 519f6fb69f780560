"""Over real sockets: counts are exact, and token times match the server's record."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import gevent
import pytest
from exchange_helpers import (
    SHORT,
    LateError,
    ask,
    check_times,
    new_exchange,
    not_always_late,
    run_exchange,
    target_of,
)
from scripted_server import Peer, Script, ScriptedServer

from probe_ext.client.exchange import Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire import dialing, kernel_receive
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.native.native_extension import NATIVE_VARIABLE
from probe_ext.client.wire.native.native_stream import NativeStream
from probe_ext.client.wire.response_stream import ResponseStream
from probe_ext.client.wire.socket_reactor import reactor
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import gaps

PROFILES = {
    # name: seconds to the first token, seconds between events, events, tokens per event
    "quick": (0.03, 0.005, 40, 1),
    "slow": (0.12, 0.040, 8, 1),
    "several tokens per event": (0.06, 0.020, 12, 5),
}


def paced(first: float, gap: float, events: int, each: int) -> Script:
    def script(peer: Peer) -> None:
        while True:
            peer.counted = 0
            peer.request()
            peer.head()
            peer.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            peer.send(b"8\r\n: ping\n\n\r\n")
            peer.sleep(first)
            for k in range(events):
                if k:
                    peer.sleep(gap)
                peer.token("t" * each, each)
            peer.finish("length")

    return script


def run_profile(name: str) -> tuple[Reply, Peer]:
    with ScriptedServer(paced(*PROFILES[name])) as server:
        reply = ask(server)
        return reply, server.peers[0]


@pytest.mark.parametrize("name", PROFILES)
@not_always_late
def test_counts_and_times_match_the_servers_record(name: str) -> None:
    first, gap, events, each = PROFILES[name]
    reply, peer = run_profile(name)
    assert (reply.outcome, reply.message, reply.finish_reason) == (Outcome.COMPLETE, None, "length")
    assert (reply.tokens_out, reply.tokens_from, reply.tokens_in) == (events * each, "usage", 7)
    assert reply.text == "t" * events * each
    (column,) = reply.events
    check_times(column.at, column.tokens, peer, slack=gap / 2)
    truth = peer.token_parts
    assert reply.pace is not None
    assert reply.ttft is not None
    assert reply.marks.sent is not None
    assert reply.marks.sent <= peer.requested_at[0]
    assert reply.ttft >= truth[0].before - peer.requested_at[0] >= first
    span = reply.pace.last - reply.pace.first
    in_first_read = column.at.count(column.at[0])  # on a busy machine, events may share a read
    assert reply.pace.tpot == pytest.approx(span / (events * each - in_first_read * each))
    assert span >= gap * (events - 1) / 2
    assert reply.pace.longest_gap == max(gaps(column.at))


@not_always_late
def test_scaled_or_shifted_times_do_not_pass() -> None:
    """check_times can fail: no relevant factor or shift passes with both profiles."""
    measured = {name: run_profile(name) for name in ("quick", "slow")}

    def passes(name: str, factor: float, shift: float) -> bool:
        reply, peer = measured[name]
        (column,) = reply.events
        sent = reply.marks.sent or 0.0
        wrong = [sent + factor * (t - sent) + shift for t in column.at]
        try:
            check_times(wrong, column.tokens, peer, slack=PROFILES[name][1] / 2)
        except AssertionError:
            return False
        return True

    if not all(passes(name, 1.0, 0.0) for name in measured):
        raise LateError
    for factor, shift in [(0.9, 0.0), (1.1, 0.0), (1.0, -0.002), (1.0, 0.025), (0.98, 0.0), (1.1, -0.006)]:
        assert not all(passes(name, factor, shift) for name in measured), (factor, shift)


def test_wrong_counts_do_not_pass() -> None:
    reply, peer = run_profile("several tokens per event")
    (column,) = reply.events
    with pytest.raises(AssertionError):
        check_times(column.at, [1] * len(column.tokens), peer, slack=1.0)


def test_ttft_does_not_stop_at_a_role_event_or_ping() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for _ in range(4):
            peer.sleep(0.03)
            peer.send(b"8\r\n: ping\n\n\r\n")
        peer.token("a")
        peer.sleep(0.02)
        peer.finish()

    with ScriptedServer(script) as server:
        reply = ask(server)
        peer = server.peers[0]
    assert reply.pace is not None
    assert reply.pace.first >= peer.token_parts[0].before - 1e-4
    assert reply.pace.events == 1
    assert reply.pace.tpot is None
    assert reply.marks.headers is not None
    assert reply.pace.first - reply.marks.headers >= 0.1


def test_times_are_in_order() -> None:
    reply, peer = run_profile("slow")
    assert reply.pace is not None
    marks = reply.marks
    assert marks.sent is not None
    assert marks.headers is not None
    assert marks.end is not None
    assert marks.due <= marks.sent <= marks.headers < reply.pace.first < reply.pace.last <= marks.end
    assert marks.end >= peer.sent[-1].before - 1e-4
    # The kernel enables stamps with a short delay if no other socket uses them: one read may lack its stamp.
    assert reply.reads - 1 <= len(reply.lags) <= reply.reads
    assert all(lag >= 0 for lag in reply.lags)


def test_reuses_the_connection_and_records_setup_once() -> None:
    with ScriptedServer(paced(0.0, 0.001, 3, 1)) as server:
        connection = Connection(target_of(server), None)
        replies = [ask(server, connection=connection) for _ in range(3)]
        connection.close()
        assert len(server.peers) == 1
        assert len(server.peers[0].requests) == 3
    assert [reply.outcome for reply in replies] == [Outcome.COMPLETE] * 3
    assert [reply.tokens_out for reply in replies] == [3, 3, 3]
    assert replies[0].marks.connect is not None
    assert [(reply.marks.connect, reply.marks.tls) for reply in replies[1:]] == [(None, None)] * 2
    first, second = replies[0].marks.sent, replies[1].marks.sent
    assert first is not None
    assert second is not None
    assert first < second


def test_ttft_excludes_connection_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, connect = dialing._resolve, dialing._connect

    def slow(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda of: (gevent.sleep(0.1), step(of))[1]

    monkeypatch.setattr(dialing, "_resolve", slow(resolve))
    monkeypatch.setattr(dialing, "_connect", slow(connect))
    with ScriptedServer(paced(0.0, 0.001, 3, 1)) as server:
        reply = ask(server)
    assert reply.marks.connect is not None
    assert reply.marks.sent is not None
    assert reply.ttft is not None
    assert reply.marks.resolve is not None
    assert reply.marks.connect >= 0.2
    assert 0.1 <= reply.marks.resolve <= reply.marks.connect - 0.1
    assert reply.marks.sent - reply.marks.due >= 0.2
    assert reply.ttft < reply.marks.sent - reply.marks.due


BLOCKED_S = 0.3


def reply_with_blocked_hub(
    monkeypatch: pytest.MonkeyPatch, *, stamped: bool, block_reads: bool = False
) -> tuple[Reply, Peer]:
    """Return a reply of four tokens, each arriving while the event loop (and the reading thread) is blocked."""
    if block_reads:
        monkeypatch.setenv(NATIVE_VARIABLE, "0")  # the lock is that of the Python path's thread
    if not stamped:
        monkeypatch.setattr(kernel_receive, "enable_timestamps", lambda sock: False)

    blocked = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.request()
        peer.head()
        for _ in range(4):
            assert blocked.acquire(timeout=120)
            peer.token("t")
        peer.sleep(1.5 * BLOCKED_S)  # the last token and the end are separate reads
        peer.finish()

    with ScriptedServer(script) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target, SHORT)
        running = gevent.spawn(run_exchange, pending)
        while not (server.peers and server.peers[0].sent):
            gevent.sleep(0.005)
        peer = server.peers[0]
        for number in range(1, 5):
            gevent.sleep(BLOCKED_S / 2)  # what arrived is read
            # Block from before the next token until well after it, without a gevent call.
            with reactor().lock if block_reads else nullcontext():
                blocked.release()
                while len(peer.token_parts) < number:
                    peer.over.wait(0.002)
                peer.over.wait(BLOCKED_S)
        reply: Reply = running.get(timeout=120)
        return reply, peer


def delays(reply: Reply, peer: Peer) -> list[float]:
    (column,) = reply.events
    return [t - part.before for t, part in zip(column.at, peer.token_parts, strict=True)]


def third_delay(reply: Reply, peer: Peer) -> float:
    """Return the third shortest delay since the end of a write: the peer, too, may have to wait in the midst of one."""
    (column,) = reply.events
    return sorted(t - part.after for t, part in zip(column.at, peer.token_parts, strict=True))[2]


@pytest.mark.parametrize("stamped", [True, False], ids=["kernel stamps", "no stamps"])
def test_a_blocked_event_loop_does_not_delay_token_times(monkeypatch: pytest.MonkeyPatch, stamped: bool) -> None:
    reply, peer = reply_with_blocked_hub(monkeypatch, stamped=stamped)
    late = delays(reply, peer)
    assert reply.outcome is Outcome.COMPLETE
    assert len(late) == 4
    assert min(late) >= -1e-4
    assert third_delay(reply, peer) < BLOCKED_S / 2


def test_late_reads_keep_token_times_and_report_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    reply, peer = reply_with_blocked_hub(monkeypatch, stamped=True, block_reads=True)
    late = delays(reply, peer)
    assert reply.outcome is Outcome.COMPLETE
    assert len(late) == 4
    if not reply.lags:
        pytest.skip("this kernel does not stamp: token times are read times")
    assert min(late) >= -1e-4
    assert max(reply.lags) >= 0.9 * BLOCKED_S
    assert third_delay(reply, peer) < max(reply.lags) / 2


def test_without_kernel_stamps_late_reads_delay_token_times_and_are_known_to_be_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reply, peer = reply_with_blocked_hub(monkeypatch, stamped=False, block_reads=True)
    assert max(reply.lags) >= BLOCKED_S / 2
    assert len(delays(reply, peer)) == 4
    assert min(delays(reply, peer)) >= 0.9 * BLOCKED_S


def test_a_blocked_event_loop_is_not_a_stalled_server() -> None:
    """Bytes in the kernel when a deadline passes arrived in time."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.token("a")
        peer.sleep(0.25)
        peer.token("b")
        peer.finish()

    with ScriptedServer(script) as server:
        target = target_of(server)
        limits = Limits(connect=5.0, first=5.0, gap=1.0, total=20.0)
        running = gevent.spawn(run_exchange, new_exchange(Connection(target, None), target, limits))
        while not (server.peers and server.peers[0].token_parts):
            gevent.sleep(0.005)
        gevent.sleep(0.05)
        server.peers[0].over.wait(1.4)  # blocks the loop while token, end and deadline pass
        reply: Reply = running.get(timeout=120)
    assert (reply.outcome, reply.text) == (Outcome.COMPLETE, "ab")


def test_drains_the_socket_before_giving_up_at_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop does not run at all between arrival and deadline."""

    def block(stream: ResponseStream, seconds: float) -> None:
        threading.Event().wait(seconds)

    for kind in (ResponseStream, NativeStream):
        monkeypatch.setattr(kind, "wait", block)
    with ScriptedServer(paced(0.05, 0.001, 3, 1)) as server:
        reply = ask(server, Limits(connect=5.0, first=2.0, gap=5.0, total=20.0))
    assert (reply.outcome, reply.tokens_out) == (Outcome.COMPLETE, 3)


def test_a_wall_clock_step_puts_no_token_before_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NATIVE_VARIABLE, "0")
    real = kernel_receive.clock.read_clock_pair
    calls = []

    def stepped() -> tuple[float, int]:
        monotonic, wall = real()
        calls.append(monotonic)
        return monotonic, wall + (5_000_000_000 if len(calls) > 2 else 0)

    monkeypatch.setattr(kernel_receive.clock, "read_clock_pair", stepped)
    reply, _ = run_profile("slow")
    assert len(calls) > 4
    (column,) = reply.events
    assert reply.marks.sent is not None
    assert column.at == sorted(column.at)
    assert min(column.at) >= reply.marks.sent


def test_keeps_concurrent_streams_apart() -> None:
    with ScriptedServer(paced(0.01, 0.005, 10, 2)) as server:
        target = target_of(server)
        running = [gevent.spawn(run_exchange, new_exchange(Connection(target, None), target, SHORT)) for _ in range(20)]
        gevent.joinall(running, timeout=120)
        replies: list[Reply] = [one.value for one in running]
    assert [reply.tokens_out for reply in replies] == [20] * 20
    assert {reply.outcome for reply in replies} == {Outcome.COMPLETE}
    by_time = sorted(reply.pace.first for reply in replies if reply.pace)
    sent = sorted(peer.token_parts[0].before for peer in server.peers)
    assert all(ours >= theirs - 1e-4 for ours, theirs in zip(by_time, sent, strict=True))


def test_a_late_reply_must_be_followed_by_two_on_time() -> None:
    def outcomes(*late: bool) -> bool:
        left = list(late)

        @not_always_late
        def test() -> None:
            if left.pop(0):
                raise LateError

        try:
            test()
        except LateError:
            return False
        return not left

    assert outcomes(False)
    assert outcomes(True, False, False)
    assert not outcomes(True, False, True)
    assert not outcomes(True, True)

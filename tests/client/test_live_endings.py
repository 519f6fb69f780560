"""Every way a reply can end, over real sockets: outcome, message, and the tokens before the end."""

import gzip
import json
import os
import resource
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import pytest
from exchange_helpers import SHORT, ask, new_exchange, run_exchange, target_of
from recorded_replies import JSON_HEAD, KEY, events_of, recorded, recorded_http_errors, sized
from scripted_server import Peer, Script, ScriptedServer

from probe_ext.client import exchange
from probe_ext.client.exchange import Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.address import Target, parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.safe_text import MAX_MESSAGE_LENGTH

QUICK = Limits(connect=1.0, first=1.0)
SHORT_GAP = Limits(gap=1.0)
ENDLESS_S = 3600.0
"""longer than any test may take"""
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}


def script(*steps: Callable[[Peer], object]) -> Script:
    """Read the request, then run these steps."""

    def run(peer: Peer) -> None:
        peer.request()
        for step in steps:
            step(peer)

    return run


def raw(data: bytes) -> Script:
    """Reply with these bytes, then close."""
    return script(lambda p: p.send(data))


def two_tokens(*more: Callable[[Peer], object]) -> Script:
    """Send two tokens at once, then run these steps."""
    return script(lambda p: p.together(Peer.head, Peer.token, Peer.token), *more)


def delta(content: dict[str, object], finish: str | None = None) -> Callable[[Peer], None]:
    return lambda p: p.event(
        {"choices": [{"index": 0, "delta": content, "finish_reason": finish}]}, 1 if content else 0
    )


def error(content: object) -> Callable[[Peer], None]:
    return lambda p: p.event(content)


def done(peer: Peer) -> None:
    peer.event(b"[DONE]")
    peer.send(b"0\r\n\r\n")


def http_error(status: str, body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 " + status.encode() + b"\r\nContent-Type: " + kind + b"\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


@dataclass(frozen=True)
class Case:
    """A script and the expected ending."""

    name: str
    script: Script
    outcome: Outcome
    message: str | None = None
    """part of the message, None: no message"""
    tokens: int | None = None
    status: int | None = 200
    limits: Limits = field(default=SHORT)


LEAK = f"key {KEY} is wrong\r\n\x1b[31m" + "x" * 1000
OVERLOADED = {"error": {"message": "Server overloaded", "code": 503}}
CASES = (
    Case("finished", two_tokens(Peer.finish), Outcome.COMPLETE, tokens=2),
    Case("finish reason length", two_tokens(lambda p: p.finish("length")), Outcome.COMPLETE, tokens=2),
    Case(
        "a tool call alone",
        script(Peer.head, delta({"tool_calls": [{"function": {"arguments": "{}"}}]}), lambda p: p.finish("tool_calls")),
        Outcome.COMPLETE,
        tokens=1,
    ),
    Case(
        "no last chunk after DONE",
        two_tokens(delta({}, "stop"), error(b"[DONE]"), Peer.hold),
        Outcome.COMPLETE,
        tokens=2,
    ),
    Case("cut after its finish", two_tokens(delta({}, "stop")), Outcome.COMPLETE, "after its finish reason", tokens=2),
    Case(
        "silent after its finish",
        two_tokens(delta({}, "stop"), Peer.hold),
        Outcome.COMPLETE,
        "after its finish reason",
        tokens=2,
        limits=SHORT_GAP,
    ),
    Case("reasoning only", script(Peer.head, delta({"reasoning": "hm"}), Peer.finish), Outcome.NO_ANSWER, tokens=1),
    Case("no token", script(Peer.head, error(ROLE), Peer.finish), Outcome.EMPTY, tokens=0),
    Case("no finish reason", two_tokens(done), Outcome.TRUNCATED, "without a finish reason", tokens=2),
    Case("neither DONE nor finish", two_tokens(lambda p: p.send(b"0\r\n\r\n")), Outcome.TRUNCATED, "without", tokens=2),
    Case("filtered", two_tokens(lambda p: p.finish("content_filter")), Outcome.FILTERED, tokens=2),
    Case("refused", script(Peer.head, delta({"refusal": "I cannot"}), Peer.finish), Outcome.FILTERED, tokens=1),
    Case("too many requests", raw(http_error("429 Slow down", b"{}")), Outcome.REJECTED, "HTTP 429", status=429),
    Case(
        "loading",
        raw(http_error("503 Busy", b'{"error":{"message":"Loading model","code":503}}')),
        Outcome.REJECTED,
        "HTTP 503: Loading model",
        status=503,
    ),
    Case("busy in mid-stream", two_tokens(error(OVERLOADED), done), Outcome.REJECTED, "503: Server over", tokens=2),
    Case(
        "unauthorized",
        raw(http_error("401 Unauthorized", json.dumps({"error": LEAK}).encode())),
        Outcome.HTTP_ERROR,
        "HTTP 401: key *** is wrong",
        status=401,
    ),
    Case("an empty error", raw(http_error("500 Oops", b"")), Outcome.HTTP_ERROR, "HTTP 500", status=500),
    Case(
        "an HTML error",
        raw(http_error("502 Bad Gateway", b"<html><script>alert(1)</script></html>", b"text/html")),
        Outcome.HTTP_ERROR,
        "HTTP 502: HTML page",
        status=502,
    ),
    Case(
        "a truncated error",
        raw(http_error("500 Oops", b'{"error":"bo')[:-4]),
        Outcome.HTTP_ERROR,
        "HTTP 500",
        status=500,
    ),
    Case(
        "a redirect",
        raw(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
        Outcome.HTTP_ERROR,
        "HTTP 307",
        status=307,
    ),
    Case(
        "an error in mid-stream", two_tokens(error({"error": {"message": LEAK}}), done), Outcome.STREAM_ERROR, "***", 2
    ),
    Case("aborted", two_tokens(lambda p: p.finish("abort")), Outcome.STREAM_ERROR, "finish reason abort", tokens=2),
    Case(
        "an error field",
        two_tokens(
            lambda p: p.send(b'21\r\nerror: {"code":500,"message":"m"}\r\n\r\n'), lambda p: p.send(b"0\r\n\r\n")
        ),
        Outcome.STREAM_ERROR,
        "500: m",
        tokens=2,
    ),
    Case("a JSON error with 200", raw(sized(b'{"error":"nope"}')), Outcome.STREAM_ERROR, "nope"),
    Case("no HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Outcome.BAD_DATA, "not HTTP", status=None),
    Case(
        "not JSON",
        two_tokens(error(LEAK.encode()[:40]), Peer.finish),
        Outcome.COMPLETE,
        "unreadable event: not JSON: key *** is",
        tokens=2,
    ),
    Case("a bad chunk", two_tokens(lambda p: p.send(b"zz\r\n")), Outcome.BAD_DATA, "chunk size", tokens=2),
    Case(
        "HTML with 200",
        raw(sized(b"<html>Welcome</html>", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")),
        Outcome.BAD_DATA,
        "HTML page “Welcome” instead of a reply",
    ),
    Case(
        "compressed",
        raw(sized(gzip.compress(b"data: {}\n\n"), JSON_HEAD + b"Content-Encoding: gzip\r\n")),
        Outcome.BAD_DATA,
        "content-encoding gzip",
    ),
    Case("invalid JSON", raw(sized(b"{oops")), Outcome.BAD_DATA, "not JSON"),
    Case("JSON without choices", raw(sized(b"{}")), Outcome.BAD_DATA, "no completion event"),
    Case(
        "another protocol",
        raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        Outcome.BAD_DATA,
        "another protocol",
        status=None,
    ),
    Case("closed in mid-reply", two_tokens(), Outcome.CUT, "in mid-reply", tokens=2),
    Case(
        "closed inside an event",
        two_tokens(lambda p: p.send(b'50\r\ndata: {"choi')),
        Outcome.CUT,
        "mid-reply",
        tokens=2,
    ),
    Case("closed without a response", script(), Outcome.CUT, "in mid-reply", status=None),
    Case("reset in mid-reply", two_tokens(lambda p: p.sleep(0.1), Peer.reset), Outcome.CUT, "reset", tokens=2),
    Case("a truncated JSON body", raw(sized(b'{"choices":[]}')[:-3]), Outcome.CUT, "in mid-reply"),
    Case("stalled", two_tokens(Peer.hold), Outcome.STALLED, "no further token for 1 s", tokens=2, limits=SHORT_GAP),
    Case(
        "pings only",
        script(Peer.head, *[lambda p: (p.sleep(0.1), p.send(b"8\r\n: ping\n\n\r\n"))] * 6, Peer.hold),
        Outcome.TIMEOUT_FIRST,
        "no token within 1 s",
        limits=QUICK,
    ),
    Case("silent", script(Peer.hold), Outcome.TIMEOUT_FIRST, "no token within", status=None, limits=QUICK),
    Case(
        "endless",
        script(Peer.head, *[lambda p: (p.sleep(0.05), p.token())] * 40),
        Outcome.TIMEOUT_TOTAL,
        "not finished within 1.5 s",
        limits=Limits(total=1.5),
    ),
    Case(
        "hung up before the first token",
        script(Peer.hold),
        Outcome.HUNG_UP,
        "hung up after 0.2 s",
        status=None,
        limits=Limits(patience=0.2),
    ),
    Case(
        "hung up after a token",
        two_tokens(Peer.hold),
        Outcome.HUNG_UP,
        "hung up after 1 s",
        tokens=2,
        limits=Limits(patience=1.0),
    ),
)


def check_message_is_safe(reply: Reply) -> None:
    """Messages in rows are short, printable and never contain the key."""
    for text in (reply.message, reply.finish_reason):
        if text is not None:
            assert 0 < len(text) <= MAX_MESSAGE_LENGTH
            assert text.isprintable()
            assert KEY not in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scripted_endings_have_the_right_outcome(case: Case) -> None:
    with ScriptedServer(case.script) as server:
        reply = ask(server, case.limits)
        requests = sum(len(peer.requests) for peer in server.peers)
        truth = [part for peer in server.peers for part in peer.token_parts]
    assert (reply.outcome, reply.status) == (case.outcome, case.status), reply.message
    check_message_is_safe(reply)
    assert (reply.message is None) is (case.message is None)
    assert case.message is None or case.message in (reply.message or "")
    assert requests == 1
    assert reply.marks.sent is not None
    assert reply.marks.end is not None
    assert reply.marks.end >= reply.marks.sent >= reply.marks.due
    events = [t for column in reply.events for t in column.at]
    if case.tokens is not None:
        assert len(events) == case.tokens == len(truth)
    assert all(t >= part.before - 1e-4 for t, part in zip(events, truth, strict=False))


@pytest.mark.parametrize("title", recorded_http_errors())
def test_recorded_http_errors_keep_their_message(title: str) -> None:
    response = recorded_http_errors()[title]
    body = json.loads(response.split(b"\r\n\r\n", 1)[1])
    expected = body["error"]["message"] if "error" in body else body["detail"]
    with ScriptedServer(raw(response)) as server:
        reply = ask(server)
    assert reply.outcome is Outcome.HTTP_ERROR
    assert reply.message is not None
    assert reply.message.startswith(f"HTTP {reply.status}: {' '.join(expected.split())[:60]}")
    check_message_is_safe(reply)


@pytest.mark.parametrize("name", ["sse_vllm_0.32.0_chat_cont.txt", "sse_vllm_0.32.0_sigterm_midstream.txt"])
def test_replayed_recordings_end_as_recorded(name: str) -> None:
    head, body = recorded(name)

    def replay(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        for event in events_of(body):
            peer.send(b"%x\r\n%s\r\n" % (len(event), event))
        peer.send(b"0\r\n\r\n")

    with ScriptedServer(replay) as server:
        reply = ask(server)
    if "sigterm" in name:
        assert (reply.outcome, reply.message) == (
            Outcome.STREAM_ERROR,
            "500: EngineCore encountered an issue. See stack trace (above) for the root cause.",
        )
        assert len(reply.events[0].at) == 38
    else:
        assert (reply.outcome, reply.tokens_out, reply.tokens_in) == (Outcome.COMPLETE, 12, 14)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ask_at(target: Target, limits: Limits = SHORT) -> Reply:
    return run_exchange(new_exchange(Connection(target, None), target, limits))


def test_a_closed_port_fails_to_connect() -> None:
    reply = ask_at(parse_target(f"http://127.0.0.1:{free_port()}"))
    assert (reply.outcome, reply.status) == (Outcome.CONNECT_FAILED, None)
    assert "refused" in (reply.message or "")
    assert reply.marks.sent is None
    assert reply.marks.connect is None
    check_message_is_safe(reply)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70 + ".invalid", "1.2.3.4.5.6"])
def test_an_unresolvable_name_fails_to_connect(host: str) -> None:
    reply = ask_at(Target(False, host, 80, ""), Limits(connect=20.0))
    assert reply.outcome is Outcome.CONNECT_FAILED
    check_message_is_safe(reply)
    assert reply.message


def test_a_connection_that_is_never_accepted_times_out(dead_port: int) -> None:
    reply = ask_at(parse_target(f"http://127.0.0.1:{dead_port}"), QUICK)
    assert (reply.outcome, reply.message) == (Outcome.CONNECT_TIMEOUT, "no connection within 1 s")
    assert reply.marks.sent is None
    assert reply.marks.end is not None
    assert reply.marks.end - reply.marks.due >= 0.3


def free_descriptor() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_running_out_of_files_is_a_client_error(host: str) -> None:
    with ScriptedServer(two_tokens(Peer.finish)) as server:
        target = parse_target(f"http://{host}:{server.port}")
        assert ask_at(target).outcome is Outcome.COMPLETE
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (free_descriptor() + 1, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                held.extend(os.dup(0) for _ in range(10_000))
            reply = ask_at(target)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in held:
                os.close(descriptor)
        assert (reply.outcome, reply.message) == (Outcome.CLIENT_ERROR, "Too many open files")
        assert ask_at(target).outcome is Outcome.COMPLETE


def test_an_internal_error_is_a_client_error_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: exchange.Exchange, stream: object, **_: object) -> None:
        if not self._marks.headers:
            self._marks.headers = 1.0
            raise ZeroDivisionError(f"with {KEY}")

    monkeypatch.setattr(exchange.Exchange, "_parse_arrivals", broken)
    with ScriptedServer(two_tokens(Peer.finish)) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target)
        with pytest.raises(ZeroDivisionError):
            pending.run()
        reply = pending.finish()
    assert (reply.outcome, reply.message) == (Outcome.CLIENT_ERROR, "ZeroDivisionError: with ***")


def wait_for(what: Callable[[], object]) -> None:
    with gevent.Timeout(120):
        while not what():
            gevent.sleep(0.005)


def interrupted(
    server: ScriptedServer, stop: Callable[[exchange.Exchange, gevent.Greenlet], None], tokens: int
) -> tuple[Reply, Connection]:
    """Call `stop` after this many tokens were sent; return the reply and its connection."""
    target = target_of(server)
    connection = Connection(target, None)
    pending = new_exchange(connection, target)
    running = gevent.spawn(pending.run)
    wait_for(lambda: server.peers and len(server.peers[0].token_parts) == tokens)
    stop(pending, running)
    running.join(120)
    assert running.dead
    return pending.finish(), connection


@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_a_cancelled_reply_keeps_its_times_and_tokens(how: str) -> None:
    with ScriptedServer(two_tokens(Peer.hold), two_tokens(Peer.finish)) as server:
        stop = (
            (lambda _, running: running.kill(block=False)) if how == "killed" else lambda pending, _: pending.cancel()
        )
        reply, connection = interrupted(server, stop, tokens=2)
        assert (reply.outcome, reply.message, reply.status) == (Outcome.ENDED_BY_US, None, 200)
        assert [len(column.at) for column in reply.events] == [2]
        assert reply.tokens_out == 2
        assert None not in (reply.marks.sent, reply.marks.headers, reply.marks.end, reply.ttft)
        again = ask(server, connection=connection)
        assert again.outcome is Outcome.COMPLETE
        assert len(server.peers) == 2  # the old connection holds half a reply


def test_a_cancelled_reply_includes_bytes_in_the_kernel() -> None:
    go = threading.Event()

    def two_waves(peer: Peer) -> None:
        two_tokens()(peer)
        go.wait(120)
        peer.token()
        peer.hold()

    with ScriptedServer(two_waves) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target)
        running = gevent.spawn(pending.run)
        wait_for(lambda: server.peers and len(server.peers[0].token_parts) == 2)
        go.set()
        while len(server.peers[0].token_parts) < 3:  # blocks the event loop
            server.peers[0].over.wait(0.01)
        running.kill(block=False)
        running.join(120)
        reply = pending.finish()
    assert (reply.outcome, reply.text) == (Outcome.ENDED_BY_US, "ttt")


def test_a_reply_cancelled_before_its_first_byte() -> None:
    with ScriptedServer(script(Peer.hold)) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target)
        running = gevent.spawn(pending.run)
        wait_for(lambda: server.peers and server.peers[0].requests)
        pending.cancel()
        running.join(120)
        reply = pending.finish()
    assert (reply.outcome, reply.status, reply.ttft) == (Outcome.ENDED_BY_US, None, None)
    assert reply.marks.sent is not None


def test_cancels_while_connecting(dead_port: int) -> None:
    target = parse_target(f"http://127.0.0.1:{dead_port}")
    pending = new_exchange(Connection(target, None), target, Limits(connect=60.0))
    running = gevent.spawn(pending.run)
    gevent.sleep(0.1)
    pending.cancel()
    running.join(120)
    assert running.dead
    reply = pending.finish()
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)


def test_a_reply_cancelled_before_sending_is_never_sent() -> None:
    with ScriptedServer(two_tokens(Peer.finish)) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target)
        pending.cancel()
        reply = run_exchange(pending)
        assert sum(len(peer.requests) for peer in server.peers) == 0
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)
    assert reply.marks.connect is not None


def test_a_callers_timeout_propagates_and_ends_the_reply(dead_port: int) -> None:
    target = parse_target(f"http://127.0.0.1:{dead_port}")
    pending = new_exchange(Connection(target, None), target, Limits(connect=60.0))
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        pending.run()
    reply = pending.finish()
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)


def never_reading(peer: Peer) -> None:
    peer.over.wait()


@pytest.mark.parametrize(
    ("limits", "outcome"),
    [(Limits(first=0.3), Outcome.TIMEOUT_FIRST), (Limits(patience=0.2), Outcome.HUNG_UP)],
)
def test_a_server_that_does_not_read_the_request_hits_the_same_limits(limits: Limits, outcome: Outcome) -> None:
    with ScriptedServer(never_reading) as server:
        target = target_of(server)
        reply = run_exchange(new_exchange(Connection(target, None), target, limits, prompt="x" * 30_000_000))
        assert reply.outcome is outcome
        assert reply.marks.sent is not None
        wait_for(lambda: server.peers)  # on a busy machine, the server accepts a connection after we gave it up
        assert len(server.peers) == 1


def test_cancels_while_sending() -> None:
    with ScriptedServer(never_reading) as server:
        target = target_of(server)
        pending = new_exchange(Connection(target, None), target, prompt="x" * 30_000_000)
        running = gevent.spawn(pending.run)
        wait_for(lambda: server.peers)
        gevent.sleep(0.1)
        pending.cancel()
        running.join(120)
        assert running.dead
        assert pending.finish().outcome is Outcome.ENDED_BY_US


def test_an_http_error_sent_before_hanging_up_is_read() -> None:
    def reject(peer: Peer) -> None:
        peer.send(http_error("413 Too large", b'{"error":"prompt of more than 1 MB"}'))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.sleep(0.2)
        peer.reset()

    with ScriptedServer(reject) as server:
        target = target_of(server)
        reply = run_exchange(new_exchange(Connection(target, None), target, prompt="x" * 30_000_000))
    assert (reply.outcome, reply.message) == (Outcome.HTTP_ERROR, "HTTP 413: prompt of more than 1 MB")


def once(peer: Peer) -> None:
    """Send one complete keep-alive reply, then close."""
    two_tokens(Peer.finish)(peer)


def test_reconnects_after_an_idle_close() -> None:
    with ScriptedServer(once, two_tokens(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        first = ask(server, connection=connection)
        wait_for(lambda: not connection.usable())
        second = ask(server, connection=connection)
        assert [first.outcome, second.outcome] == [Outcome.COMPLETE] * 2
        assert second.marks.connect is not None
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["closed", "reset"])
def test_retries_once_if_a_reused_connection_closes_at_the_request(end: Callable[[Peer], None]) -> None:
    def stale(peer: Peer) -> None:
        two_tokens(Peer.finish)(peer)
        peer.request()
        end(peer)

    with ScriptedServer(stale, two_tokens(Peer.finish, lambda p: p.hold())) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        again = ask(server, connection=connection)
        assert (again.outcome, again.message, again.tokens_out) == (Outcome.COMPLETE, None, 2)
        assert again.marks.connect is not None
        assert [len(peer.requests) for peer in server.peers] == [2, 1]


def test_retries_only_once() -> None:
    def stale(peer: Peer) -> None:
        two_tokens(Peer.finish)(peer)
        peer.request()

    with ScriptedServer(stale, script(), two_tokens(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert ask(server, connection=connection).outcome is Outcome.CUT
        assert len(server.peers) == 2


def test_does_not_retry_if_a_reused_connection_breaks_later() -> None:
    def breaks_later(peer: Peer) -> None:
        two_tokens(Peer.finish)(peer)
        peer.request()
        peer.sleep(1.1)

    with ScriptedServer(breaks_later, two_tokens(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert ask(server, connection=connection).outcome is Outcome.CUT
        assert len(server.peers) == 1


def test_does_not_retry_on_a_new_connection() -> None:
    with ScriptedServer(script(), two_tokens(Peer.finish)) as server:
        assert ask(server).outcome is Outcome.CUT
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http_error("404 Not Found", b"{}")[:-2] + b"{}GARBAGE", id="bytes after the body"),
        pytest.param(
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", id="connection: close"
        ),
        pytest.param(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
    ],
)
def test_closes_connections_that_cannot_be_reused(answer: bytes) -> None:
    with ScriptedServer(script(lambda p: p.send(answer), Peer.hold), two_tokens(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).message == "HTTP 404: {}"
        assert not connection.usable()
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert len(server.peers) == 2


def test_keeps_the_connection_after_an_http_error() -> None:
    answer = http_error("404 Not Found", b"{}")
    both = script(lambda p: p.send(answer), Peer.request, lambda p: p.send(answer), Peer.hold)
    with ScriptedServer(both) as server:
        connection = Connection(target_of(server), None)
        assert [ask(server, connection=connection).status for _ in range(2)] == [404, 404]
        assert len(server.peers) == 1


def test_done_split_over_two_reads_ends_the_reply() -> None:
    def split(peer: Peer) -> None:
        two_tokens(delta({}, "stop"))(peer)
        peer.send(b"a\r\ndata: [DON\r\n")
        peer.sleep(0.1)
        peer.send(b"4\r\nE]\n\n\r\n")
        peer.hold()

    with ScriptedServer(split) as server:
        reply = ask(server, Limits(first=ENDLESS_S, gap=ENDLESS_S, total=ENDLESS_S))  # no limit can have ended it
        last = server.peers[0].sent[-1]
    assert (reply.outcome, reply.message) == (Outcome.COMPLETE, None)
    assert reply.marks.end is not None
    assert last.before - 1e-4 <= reply.marks.end


def test_a_finished_reply_ends_with_its_last_bytes() -> None:
    at_once = script(lambda p: p.together(Peer.head, Peer.token, Peer.token, delta({}, "stop")), Peer.hold)
    with ScriptedServer(at_once) as server:
        reply = ask(server, Limits(gap=0.5))
        returned = clock.monotonic()
    assert reply.outcome is Outcome.COMPLETE
    assert reply.marks.end is not None
    assert reply.pace is not None
    assert reply.marks.end == reply.pace.last  # same read
    assert returned - reply.marks.end >= 0.5  # waited for more


def test_a_late_usage_event_does_not_move_token_times() -> None:
    def late(peer: Peer) -> None:
        two_tokens(delta({}, "stop"))(peer)
        peer.sleep(0.3)
        peer.event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        done(peer)

    with ScriptedServer(late) as server:
        reply = ask(server)
        first, last = server.peers[0].token_parts[0], server.peers[0].token_parts[1]
    assert (reply.outcome, reply.tokens_out) == (Outcome.COMPLETE, 3)
    assert reply.pace is not None
    assert reply.marks.end is not None
    assert reply.pace.first >= first.before - 1e-4
    assert reply.marks.end - reply.pace.last >= 0.3 - (last.after - last.before) - 1e-4
    assert reply.pace.longest_gap == 0  # same read


def test_an_event_truncated_by_a_stall_has_the_time_of_its_bytes() -> None:
    def half(peer: Peer) -> None:
        data = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}'
        peer.send(b"%x\r\n%s\r\n" % (len(data), data), 1)

    at_once = script(lambda p: p.together(Peer.head, Peer.token, Peer.token, half), Peer.hold)
    with ScriptedServer(at_once) as server:
        reply = ask(server, Limits(gap=0.5))
        returned = clock.monotonic()
    assert (reply.outcome, reply.text) == (Outcome.STALLED, "ttx")
    (column,) = reply.events
    assert column.at == [column.at[0]] * 3  # not when the stall was noticed
    assert returned - column.at[0] >= 0.5


@pytest.mark.parametrize("streamed", [True, False])
def test_a_json_reply_has_text_and_counts_but_no_token_times(streamed: bool) -> None:
    head, body = recorded("nonstream_chat_vllm_0.32.0.txt")
    with ScriptedServer(raw(head + body)) as server:
        reply = ask(server, streamed=streamed)
    assert (reply.outcome, reply.streamed, reply.tokens_out, reply.tokens_in) == (Outcome.COMPLETE, False, 8, 14)
    assert reply.text.startswith("MODE")
    assert (reply.pace, reply.ttft, reply.finish_reason) == (None, None, "length")
    assert [column.at for column in reply.events] == [[]]


def test_connects_over_ipv6() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    try:
        server = ScriptedServer(two_tokens(Peer.finish), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        reply = ask_at(parse_target(f"http://[::1]:{server.port}"))
        assert b"Host: [::1]:" in server.peers[0].requests[0]
    assert reply.outcome is Outcome.COMPLETE


def test_every_outcome_is_tested_in_this_file() -> None:
    """CASES name theirs; the others have separate tests, those of arrivals that were not sent with open streams."""
    own = {Outcome.NOT_SENT, Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT, Outcome.CLIENT_ERROR, Outcome.ENDED_BY_US}
    assert {case.outcome for case in CASES} | own == set(Outcome)
    assert not {case.outcome for case in CASES} & own


def test_a_reply_that_is_not_streamed_has_only_the_total_timeout() -> None:
    """Nothing of it comes before the whole: the first token's timeout would end every long answer."""
    body = json.dumps({"choices": [{"index": 0, "message": {"content": "done"}, "finish_reason": "stop"}]}).encode()

    def later(peer: Peer) -> None:
        peer.request()
        peer.sleep(0.5)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        peer.send(head + body)

    with ScriptedServer(later) as server:
        assert ask(server, Limits(first=0.1, gap=0.1), streamed=False).outcome is Outcome.COMPLETE
        assert ask(server, Limits(first=0.1, gap=0.1)).outcome is Outcome.TIMEOUT_FIRST
        assert ask(server, Limits(total=0.1), streamed=False).outcome is Outcome.TIMEOUT_TOTAL

"""Every way in which a reply can end, over real sockets; what came before the end is kept, what is said stays safe."""

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
from asking import SHORT, ask, conversation, hold, target_of
from exchanges import JSON_HEAD, KEY, events_of, recorded, recorded_refusals, sized
from scripted_server import Peer, Script, ScriptedServer

from probe_ext.client import converse
from probe_ext.client.address import Target, parse_target
from probe_ext.client.connection import Connection
from probe_ext.client.converse import Limits
from probe_ext.client.reply import Reply
from probe_ext.client.safe_text import MESSAGE_LENGTH
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome

QUICK = Limits(connect=0.3, first=0.3)
IMPATIENT = Limits(gap=0.3)
FOR_EVER = 3600.0
"""seconds, far beyond those after which a test that hangs is ended"""
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}


def script(*steps: Callable[[Peer], object]) -> Script:
    """Read the request, then these."""

    def run(peer: Peer) -> None:
        peer.request()
        for step in steps:
            step(peer)

    return run


def raw(data: bytes) -> Script:
    """Answer with these bytes, then close."""
    return script(lambda p: p.send(data))


def begun(*more: Callable[[Peer], object]) -> Script:
    """A stream that brings two tokens at once, then these."""
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
    """A script, and how it ends."""

    name: str
    script: Script
    outcome: Outcome
    message: str | None = None
    """what the message holds; None: there is none"""
    tokens: int | None = None
    status: int | None = 200
    limits: Limits = field(default=SHORT)


LEAK = f"key {KEY} is wrong\r\n\x1b[31m" + "x" * 1000
OVERLOADED = {"error": {"message": "Server overloaded", "code": 503}}
CASES = (
    Case("finished", begun(Peer.finish), Outcome.COMPLETE, tokens=2),
    Case("by its length", begun(lambda p: p.finish("length")), Outcome.COMPLETE, tokens=2),
    Case(
        "a tool call alone",
        script(Peer.head, delta({"tool_calls": [{"function": {"arguments": "{}"}}]}), lambda p: p.finish("tool_calls")),
        Outcome.COMPLETE,
        tokens=1,
    ),
    Case("no last chunk after DONE", begun(delta({}, "stop"), error(b"[DONE]"), Peer.hold), Outcome.COMPLETE, tokens=2),
    Case("cut after its finish", begun(delta({}, "stop")), Outcome.COMPLETE, "after its finish reason", tokens=2),
    Case(
        "silent after its finish",
        begun(delta({}, "stop"), Peer.hold),
        Outcome.COMPLETE,
        "after its finish reason",
        tokens=2,
        limits=IMPATIENT,
    ),
    Case("thought only", script(Peer.head, delta({"reasoning": "hm"}), Peer.finish), Outcome.NO_ANSWER, tokens=1),
    Case("not a token", script(Peer.head, error(ROLE), Peer.finish), Outcome.EMPTY, tokens=0),
    Case("no finish reason", begun(done), Outcome.TRUNCATED, "without a finish reason", tokens=2),
    Case("neither DONE nor finish", begun(lambda p: p.send(b"0\r\n\r\n")), Outcome.TRUNCATED, "without", tokens=2),
    Case("filtered", begun(lambda p: p.finish("content_filter")), Outcome.FILTERED, tokens=2),
    Case("refused", script(Peer.head, delta({"refusal": "I cannot"}), Peer.finish), Outcome.FILTERED, tokens=1),
    Case("too many requests", raw(http_error("429 Slow down", b"{}")), Outcome.REJECTED, "HTTP 429", status=429),
    Case(
        "loading",
        raw(http_error("503 Busy", b'{"error":{"message":"Loading model","code":503}}')),
        Outcome.REJECTED,
        "HTTP 503: Loading model",
        status=503,
    ),
    Case("too busy in mid-stream", begun(error(OVERLOADED), done), Outcome.REJECTED, "503: Server over", tokens=2),
    Case(
        "unauthorized",
        raw(http_error("401 Unauthorized", json.dumps({"error": LEAK}).encode())),
        Outcome.HTTP_ERROR,
        "HTTP 401: key *** is wrong",
        status=401,
    ),
    Case("no words", raw(http_error("500 Oops", b"")), Outcome.HTTP_ERROR, "HTTP 500", status=500),
    Case(
        "a page instead of an error",
        raw(http_error("502 Bad Gateway", b"<html><script>alert(1)</script></html>", b"text/html")),
        Outcome.HTTP_ERROR,
        "HTTP 502: <html><script>alert(1)</script></html>",
        status=502,
    ),
    Case(
        "an error cut in its body",
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
    Case("an error in mid-stream", begun(error({"error": {"message": LEAK}}), done), Outcome.STREAM_ERROR, "***", 2),
    Case("aborted", begun(lambda p: p.finish("abort")), Outcome.STREAM_ERROR, "finish reason abort", tokens=2),
    Case(
        "an error field",
        begun(lambda p: p.send(b'21\r\nerror: {"code":500,"message":"m"}\r\n\r\n'), lambda p: p.send(b"0\r\n\r\n")),
        Outcome.STREAM_ERROR,
        "500: m",
        tokens=2,
    ),
    Case("a JSON error with 200", raw(sized(b'{"error":"nope"}')), Outcome.STREAM_ERROR, "nope"),
    Case("no HTTP", raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Outcome.BAD_DATA, "not HTTP", status=None),
    Case("no JSON", begun(error(LEAK.encode()[:40]), Peer.finish), Outcome.BAD_DATA, "no JSON: key *** is", tokens=2),
    Case("a bad chunk", begun(lambda p: p.send(b"zz\r\n")), Outcome.BAD_DATA, "chunk size", tokens=2),
    Case(
        "a page with 200",
        raw(sized(b"<html>Welcome</html>", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")),
        Outcome.BAD_DATA,
        "no event of this API",
    ),
    Case(
        "compressed",
        raw(sized(gzip.compress(b"data: {}\n\n"), JSON_HEAD + b"Content-Encoding: gzip\r\n")),
        Outcome.BAD_DATA,
        "content-encoding gzip",
    ),
    Case("JSON that is none", raw(sized(b"{oops")), Outcome.BAD_DATA, "no JSON"),
    Case("JSON without choices", raw(sized(b"{}")), Outcome.BAD_DATA, "no event of this API"),
    Case(
        "another protocol",
        raw(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        Outcome.BAD_DATA,
        "another protocol",
        status=None,
    ),
    Case("closed in mid-reply", begun(), Outcome.CUT, "in mid-reply", tokens=2),
    Case("closed inside an event", begun(lambda p: p.send(b'50\r\ndata: {"choi')), Outcome.CUT, "mid-reply", tokens=2),
    Case("closed without an answer", script(), Outcome.CUT, "in mid-reply", status=None),
    Case("reset in mid-reply", begun(lambda p: p.sleep(0.1), Peer.reset), Outcome.CUT, "reset", tokens=2),
    Case("a JSON body cut off", raw(sized(b'{"choices":[]}')[:-3]), Outcome.CUT, "in mid-reply"),
    Case("stalled", begun(Peer.hold), Outcome.STALLED, "no further token within 0.3 s", tokens=2, limits=IMPATIENT),
    Case(
        "pings only",
        script(Peer.head, *[lambda p: (p.sleep(0.1), p.send(b"8\r\n: ping\n\n\r\n"))] * 6, Peer.hold),
        Outcome.TIMEOUT_FIRST,
        "no token within 0.3 s",
        limits=QUICK,
    ),
    Case("silent", script(Peer.hold), Outcome.TIMEOUT_FIRST, "no token within", status=None, limits=QUICK),
    Case(
        "without an end",
        script(Peer.head, *[lambda p: (p.sleep(0.05), p.token())] * 40),
        Outcome.TIMEOUT_TOTAL,
        "not over within 0.5 s",
        limits=Limits(total=0.5),
    ),
    Case(
        "too slow for a person",
        script(Peer.hold),
        Outcome.HUNG_UP,
        "gave up after 0.2 s",
        status=None,
        limits=Limits(patience=0.2),
    ),
    Case(
        "too silent for a person",
        begun(Peer.hold),
        Outcome.HUNG_UP,
        "gave up after 1 s",
        tokens=2,
        limits=Limits(patience=1.0),
    ),
)


def check_safe(reply: Reply) -> None:
    """What may reach a row is short, printable, and never the key."""
    for text in (reply.message, reply.finish_reason):
        if text is not None:
            assert 0 < len(text) <= MESSAGE_LENGTH
            assert text.isprintable()
            assert KEY not in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_scripted_end_is_told_for_what_it_is(case: Case) -> None:
    with ScriptedServer(case.script) as server:
        reply = ask(server, case.limits)
        asked = sum(len(peer.requests) for peer in server.peers)
        truth = [part for peer in server.peers for part in peer.token_parts]
    assert (reply.outcome, reply.status) == (case.outcome, case.status), reply.message
    check_safe(reply)
    assert (reply.message is None) is (case.message is None)
    assert case.message is None or case.message in (reply.message or "")
    assert asked == 1
    assert reply.marks.sent is not None
    assert reply.marks.end is not None
    assert reply.marks.end >= reply.marks.sent >= reply.marks.due
    events = [t for column in reply.events for t in column.at]
    if case.tokens is not None:
        assert len(events) == case.tokens == len(truth)
    assert all(t >= part.before - 1e-4 for t, part in zip(events, truth, strict=False))


@pytest.mark.parametrize("title", recorded_refusals())
def test_recorded_refusals_are_http_errors_that_say_why(title: str) -> None:
    response = recorded_refusals()[title]
    said = json.loads(response.split(b"\r\n\r\n", 1)[1])
    wanted = said["error"]["message"] if "error" in said else said["detail"]
    with ScriptedServer(raw(response)) as server:
        reply = ask(server)
    assert reply.outcome is Outcome.HTTP_ERROR
    assert reply.message is not None
    assert reply.message.startswith(f"HTTP {reply.status}: {' '.join(wanted.split())[:60]}")
    check_safe(reply)


@pytest.mark.parametrize("name", ["sse_vllm_0.32.0_chat_cont.txt", "sse_vllm_0.32.0_sigterm_midstream.txt"])
def test_a_recorded_stream_ends_as_it_did(name: str) -> None:
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
    return hold(conversation(Connection(target, None), target, limits))


def test_a_port_that_nobody_listens_on_is_a_failed_connection() -> None:
    reply = ask_at(parse_target(f"http://127.0.0.1:{free_port()}"))
    assert (reply.outcome, reply.status) == (Outcome.CONNECT_FAILED, None)
    assert "refused" in (reply.message or "")
    assert reply.marks.sent is None
    assert reply.marks.connect is None
    check_safe(reply)


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "x" * 70 + ".invalid", "1.2.3.4.5.6"])
def test_a_name_that_cannot_be_resolved_is_a_failed_connection(host: str) -> None:
    reply = ask_at(Target(False, host, 80, ""), Limits(connect=20.0))
    assert reply.outcome is Outcome.CONNECT_FAILED
    check_safe(reply)
    assert reply.message


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket whose queue is full: further connections wait for ever."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    gevent.sleep(0.05)
    return listener, waiting


def test_a_connection_that_is_never_accepted_times_out() -> None:
    listener, waiting = full_listener()
    try:
        reply = ask_at(parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}"), QUICK)
    finally:
        for one in [listener, *waiting]:
            one.close()
    assert (reply.outcome, reply.message) == (Outcome.CONNECT_TIMEOUT, "no connection within 0.3 s")
    assert reply.marks.sent is None
    assert reply.marks.end is not None
    assert reply.marks.end - reply.marks.due >= 0.3


def free_descriptor() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_limit_of_open_files_is_our_error_and_not_the_servers(host: str) -> None:
    with ScriptedServer(begun(Peer.finish)) as server:
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


def test_a_defect_of_ours_is_our_error_and_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: converse.Conversation, reception: object) -> None:
        if not self._marks.headers:
            self._marks.headers = 1.0
            raise ZeroDivisionError(f"with {KEY}")

    monkeypatch.setattr(converse.Conversation, "_read_on", broken)
    with ScriptedServer(begun(Peer.finish)) as server:
        target = target_of(server)
        asked = conversation(Connection(target, None), target)
        with pytest.raises(ZeroDivisionError):
            asked.run()
        reply = asked.finish()
    assert (reply.outcome, reply.message) == (Outcome.CLIENT_ERROR, "ZeroDivisionError: with ***")


def wait_for(what: Callable[[], object]) -> None:
    with gevent.Timeout(20):
        while not what():
            gevent.sleep(0.005)


def interrupted(
    server: ScriptedServer, stop: Callable[[converse.Conversation, gevent.Greenlet], None], tokens: int
) -> tuple[Reply, Connection]:
    """A reply in whose middle, after so many tokens were sent, this happened."""
    target = target_of(server)
    connection = Connection(target, None)
    asked = conversation(connection, target)
    running = gevent.spawn(asked.run)
    wait_for(lambda: server.peers and len(server.peers[0].token_parts) == tokens)
    stop(asked, running)
    running.join(20)
    assert running.dead
    return asked.finish(), connection


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_a_reply_that_we_end_keeps_its_marks_and_tokens_so_far(how: str) -> None:
    with ScriptedServer(begun(Peer.hold), begun(Peer.finish)) as server:
        stop = (lambda asked, running: running.kill(block=False)) if how == "killed" else lambda asked, _: asked.cut()
        reply, connection = interrupted(server, stop, tokens=2)
        assert (reply.outcome, reply.message, reply.status) == (Outcome.ENDED_BY_US, None, 200)
        assert [len(column.at) for column in reply.events] == [2]
        assert reply.tokens_out == 2
        assert None not in (reply.marks.sent, reply.marks.headers, reply.marks.end, reply.ttft)
        again = ask(server, connection=connection)
        assert again.outcome is Outcome.COMPLETE
        assert len(server.peers) == 2  # half a reply lies on the old connection: it is not used again


def test_what_lies_in_the_kernel_when_we_end_a_reply_is_part_of_it() -> None:
    go = threading.Event()

    def two_waves(peer: Peer) -> None:
        begun()(peer)
        go.wait(20)
        peer.token()
        peer.hold()

    with ScriptedServer(two_waves) as server:
        target = target_of(server)
        asked = conversation(Connection(target, None), target)
        running = gevent.spawn(asked.run)
        wait_for(lambda: server.peers and len(server.peers[0].token_parts) == 2)
        go.set()
        while len(server.peers[0].token_parts) < 3:  # the event loop stands still meanwhile
            server.peers[0].over.wait(0.01)
        running.kill(block=False)
        running.join(20)
        reply = asked.finish()
    assert (reply.outcome, reply.text) == (Outcome.ENDED_BY_US, "ttt")


def test_a_reply_that_we_end_before_its_answer_has_what_it_has() -> None:
    with ScriptedServer(script(Peer.hold)) as server:
        target = target_of(server)
        asked = conversation(Connection(target, None), target)
        running = gevent.spawn(asked.run)
        wait_for(lambda: server.peers and server.peers[0].requests)
        asked.cut()
        running.join(20)
        reply = asked.finish()
    assert (reply.outcome, reply.status, reply.ttft) == (Outcome.ENDED_BY_US, None, None)
    assert reply.marks.sent is not None


def test_a_reply_is_ended_also_while_it_still_connects() -> None:
    listener, waiting = full_listener()
    try:
        target = parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}")
        asked = conversation(Connection(target, None), target, Limits(connect=60.0))
        running = gevent.spawn(asked.run)
        gevent.sleep(0.1)
        asked.cut()
        running.join(20)
        assert running.dead
        reply = asked.finish()
    finally:
        for one in [listener, *waiting]:
            one.close()
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)


def test_a_reply_that_is_ended_before_it_was_sent_is_never_sent() -> None:
    with ScriptedServer(begun(Peer.finish)) as server:
        target = target_of(server)
        asked = conversation(Connection(target, None), target)
        asked.cut()
        reply = hold(asked)
        assert sum(len(peer.requests) for peer in server.peers) == 0
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)
    assert reply.marks.connect is not None


def test_a_users_own_timeout_goes_through_and_leaves_a_reply_that_we_ended() -> None:
    listener, waiting = full_listener()
    try:
        target = parse_target(f"http://127.0.0.1:{listener.getsockname()[1]}")
        asked = conversation(Connection(target, None), target, Limits(connect=60.0))
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            asked.run()
        reply = asked.finish()
    finally:
        for one in [listener, *waiting]:
            one.close()
    assert (reply.outcome, reply.marks.sent) == (Outcome.ENDED_BY_US, None)


def never_reading(peer: Peer) -> None:
    peer.over.wait()


@pytest.mark.parametrize(
    ("limits", "outcome"),
    [(Limits(first=0.3), Outcome.TIMEOUT_FIRST), (Limits(patience=0.2), Outcome.HUNG_UP)],
)
def test_a_server_that_does_not_take_the_request_runs_into_the_same_limits(limits: Limits, outcome: Outcome) -> None:
    with ScriptedServer(never_reading) as server:
        target = target_of(server)
        reply = hold(conversation(Connection(target, None), target, limits, prompt="x" * 30_000_000))
        assert reply.outcome is outcome
        assert reply.marks.sent is not None
        assert len(server.peers) == 1


def test_a_request_that_is_not_taken_can_be_cut() -> None:
    with ScriptedServer(never_reading) as server:
        target = target_of(server)
        asked = conversation(Connection(target, None), target, prompt="x" * 30_000_000)
        running = gevent.spawn(asked.run)
        wait_for(lambda: server.peers)
        gevent.sleep(0.1)
        asked.cut()
        running.join(20)
        assert running.dead
        assert asked.finish().outcome is Outcome.ENDED_BY_US


def test_what_a_server_says_before_it_hangs_up_on_a_long_request_is_heard() -> None:
    def refuse(peer: Peer) -> None:
        peer.send(http_error("413 Too large", b'{"error":"prompt of more than 1 MB"}'))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.sleep(0.2)
        peer.reset()

    with ScriptedServer(refuse) as server:
        target = target_of(server)
        reply = hold(conversation(Connection(target, None), target, prompt="x" * 30_000_000))
    assert (reply.outcome, reply.message) == (Outcome.HTTP_ERROR, "HTTP 413: prompt of more than 1 MB")


def once(peer: Peer) -> None:
    """One whole reply that seems to keep the connection, and then its end."""
    begun(Peer.finish)(peer)


def test_a_connection_closed_between_two_requests_is_seen_and_made_anew() -> None:
    with ScriptedServer(once, begun(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        first = ask(server, connection=connection)
        wait_for(lambda: not connection.usable())
        second = ask(server, connection=connection)
        assert [first.outcome, second.outcome] == [Outcome.COMPLETE] * 2
        assert second.marks.connect is not None
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("end", [lambda peer: None, Peer.reset], ids=["closed", "reset"])
def test_a_kept_connection_that_ends_at_our_request_is_made_anew_once(end: Callable[[Peer], None]) -> None:
    def stale(peer: Peer) -> None:
        begun(Peer.finish)(peer)
        peer.request()
        end(peer)

    with ScriptedServer(stale, begun(Peer.finish, lambda p: p.hold())) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        again = ask(server, connection=connection)
        assert (again.outcome, again.message, again.tokens_out) == (Outcome.COMPLETE, None, 2)
        assert again.marks.connect is not None
        assert [len(peer.requests) for peer in server.peers] == [2, 1]


def test_it_is_made_anew_once_and_not_for_ever() -> None:
    def stale(peer: Peer) -> None:
        begun(Peer.finish)(peer)
        peer.request()

    with ScriptedServer(stale, script(), begun(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert ask(server, connection=connection).outcome is Outcome.CUT
        assert len(server.peers) == 2


def test_a_kept_connection_that_breaks_after_a_wait_is_the_servers_failure_and_not_asked_again() -> None:
    def breaks_later(peer: Peer) -> None:
        begun(Peer.finish)(peer)
        peer.request()
        peer.sleep(1.1)

    with ScriptedServer(breaks_later, begun(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert ask(server, connection=connection).outcome is Outcome.CUT
        assert len(server.peers) == 1


def test_a_fresh_connection_that_is_closed_at_once_is_not_asked_again() -> None:
    with ScriptedServer(script(), begun(Peer.finish)) as server:
        assert ask(server).outcome is Outcome.CUT
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http_error("404 Not Found", b"{}")[:-2] + b"{}GARBAGE", id="bytes behind the body"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", id="to be closed"),
        pytest.param(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", id="HTTP/1.0"),
    ],
)
def test_a_connection_that_cannot_serve_again_is_not_kept(answer: bytes) -> None:
    with ScriptedServer(script(lambda p: p.send(answer), Peer.hold), begun(Peer.finish)) as server:
        connection = Connection(target_of(server), None)
        assert ask(server, connection=connection).message == "HTTP 404: {}"
        assert not connection.usable()
        assert ask(server, connection=connection).outcome is Outcome.COMPLETE
        assert len(server.peers) == 2


def test_a_refusal_keeps_the_connection() -> None:
    answer = http_error("404 Not Found", b"{}")
    both = script(lambda p: p.send(answer), Peer.request, lambda p: p.send(answer), Peer.hold)
    with ScriptedServer(both) as server:
        connection = Connection(target_of(server), None)
        assert [ask(server, connection=connection).status for _ in range(2)] == [404, 404]
        assert len(server.peers) == 1


def test_done_split_over_two_reads_does_not_keep_the_user_waiting() -> None:
    def split(peer: Peer) -> None:
        begun(delta({}, "stop"))(peer)
        peer.send(b"a\r\ndata: [DON\r\n")
        peer.sleep(0.1)
        peer.send(b"4\r\nE]\n\n\r\n")
        peer.hold()

    with ScriptedServer(split) as server:
        reply = ask(server, Limits(first=FOR_EVER, gap=FOR_EVER, total=FOR_EVER))  # no limit could have ended it
        last = server.peers[0].sent[-1]
    assert (reply.outcome, reply.message) == (Outcome.COMPLETE, None)
    assert reply.marks.end is not None
    assert last.before - 1e-4 <= reply.marks.end


def test_an_answer_that_had_finished_ended_with_its_last_bytes_and_not_when_we_gave_up_on_more() -> None:
    at_once = script(lambda p: p.together(Peer.head, Peer.token, Peer.token, delta({}, "stop")), Peer.hold)
    with ScriptedServer(at_once) as server:
        reply = ask(server, Limits(gap=0.5))
        returned = clock.monotonic()
    assert reply.outcome is Outcome.COMPLETE
    assert reply.marks.end is not None
    assert reply.pace is not None
    assert reply.marks.end == reply.pace.last  # both came with the same bytes
    assert returned - reply.marks.end >= 0.5  # so long we had waited for more


def test_a_usage_event_that_comes_late_moves_no_token() -> None:
    def late(peer: Peer) -> None:
        begun(delta({}, "stop"))(peer)
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
    assert reply.pace.longest_gap == 0  # the tokens came with the same bytes


def test_an_event_cut_off_by_a_stall_came_when_its_bytes_came() -> None:
    def half(peer: Peer) -> None:
        data = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}'
        peer.send(b"%x\r\n%s\r\n" % (len(data), data), 1)

    at_once = script(lambda p: p.together(Peer.head, Peer.token, Peer.token, half), Peer.hold)
    with ScriptedServer(at_once) as server:
        reply = ask(server, Limits(gap=0.5))
        returned = clock.monotonic()
    assert (reply.outcome, reply.text) == (Outcome.STALLED, "ttx")
    (column,) = reply.events
    assert column.at == [column.at[0]] * 3  # not when we saw that no more of it would come
    assert returned - column.at[0] >= 0.5


@pytest.mark.parametrize("streamed", [True, False])
def test_a_whole_answer_has_text_and_tokens_and_no_token_times(streamed: bool) -> None:
    head, body = recorded("nonstream_chat_vllm_0.32.0.txt")
    with ScriptedServer(raw(head + body)) as server:
        reply = ask(server, streamed=streamed)
    assert (reply.outcome, reply.streamed, reply.tokens_out, reply.tokens_in) == (Outcome.COMPLETE, False, 8, 14)
    assert reply.text.startswith("MODE")
    assert (reply.pace, reply.ttft, reply.finish_reason) == (None, None, "length")
    assert [column.at for column in reply.events] == [[]]


def test_a_server_on_ipv6_is_reached() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    try:
        server = ScriptedServer(begun(Peer.finish), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        reply = ask_at(parse_target(f"http://[::1]:{server.port}"))
        assert b"Host: [::1]:" in server.peers[0].requests[0]
    assert reply.outcome is Outcome.COMPLETE


def test_every_outcome_there_is_is_reached_by_a_test_of_this_file() -> None:
    """The cases above name theirs; these have tests of their own."""
    own = {Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT, Outcome.CLIENT_ERROR, Outcome.ENDED_BY_US}
    assert {case.outcome for case in CASES} | own == set(Outcome)
    assert not {case.outcome for case in CASES} & own

"""The client over TLS: certificates, and receive times from the kernel."""

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from exchange_helpers import SHORT, check_times, new_exchange, not_always_late, run_exchange
from recorded_replies import JSON_HEAD, sized
from scripted_server import Peer, ScriptedServer
from test_live_figures import PROFILES, paced

from probe_ext.client.exchange import Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.address import parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.measure.outcome import Outcome
from probe_ext.tls_trust import TlsSettings, client_context


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    context = client_context()
    context.load_verify_locations(certificate)
    return context


def connect(server: ScriptedServer, settings: ssl.SSLContext, host: str = "localhost") -> Connection:
    return Connection(parse_target(f"https://{host}:{server.port}"), settings)


def ask_on(connection: Connection, limits: Limits = SHORT) -> Reply:
    return run_exchange(new_exchange(connection, connection._target, limits))


def one_token(peer: Peer) -> None:
    peer.request()
    peer.head()
    peer.token()
    peer.finish()


def test_rejects_an_untrusted_certificate(serving: ssl.SSLContext) -> None:
    with ScriptedServer(one_token, tls=serving) as server:
        reply = ask_on(connect(server, client_context()))
        assert [peer.requests for peer in server.peers] == [[]]
    assert reply.outcome is Outcome.CONNECT_FAILED
    assert "certificate cannot be verified" in (reply.message or "")
    assert reply.marks.sent is None


def test_accepts_any_certificate_without_verification(serving: ssl.SSLContext) -> None:
    with ScriptedServer(one_token, tls=serving) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"))
    assert (reply.outcome, reply.tokens_out) == (Outcome.COMPLETE, 1)


def test_accepts_a_trusted_certificate(serving: ssl.SSLContext, certificate: Path) -> None:
    with ScriptedServer(one_token, tls=serving) as server:
        reply = ask_on(connect(server, trusting(certificate)))
    assert (reply.outcome, reply.message) == (Outcome.COMPLETE, None)


def test_rejects_a_certificate_for_another_name(serving: ssl.SSLContext, certificate: Path) -> None:
    with ScriptedServer(one_token, tls=serving) as server:
        reply = ask_on(connect(server, trusting(certificate), "127.0.0.1"))
        assert [peer.requests for peer in server.peers] == [[]]
    assert reply.outcome is Outcome.CONNECT_FAILED
    assert "not valid for '127.0.0.1'" in (reply.message or "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", PROFILES)
@not_always_late
def test_counts_and_times_match_the_servers_record_over_tls(
    name: str, version: ssl.TLSVersion, serving: ssl.SSLContext
) -> None:
    serving.minimum_version = serving.maximum_version = version
    first, gap, events, each = PROFILES[name]
    with ScriptedServer(paced(first, gap, events, each), tls=serving) as server:
        connection = connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1")
        reply = ask_on(connection)
        peer = server.peers[0]
    assert (reply.outcome, reply.tokens_out) == (Outcome.COMPLETE, events * each)
    (column,) = reply.events
    check_times(column.at, column.tokens, peer, slack=gap / 2)
    assert reply.marks.tls is not None
    assert reply.marks.connect is not None
    assert reply.ttft is not None
    assert reply.ttft >= peer.token_parts[0].before - peer.requested_at[0]
    assert bool(reply.lags) is connection.stamped


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_reuses_a_tls_connection(version: ssl.TLSVersion, serving: ssl.SSLContext) -> None:
    """Also where the server sends session tickets after the handshake."""
    serving.minimum_version = serving.maximum_version = version
    with ScriptedServer(paced(0.0, 0.001, 3, 1), tls=serving) as server:
        connection = connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1")
        replies = [ask_on(connection) for _ in range(4)]
        assert len(server.peers) == 1
        assert len(server.peers[0].requests) == 4
        connection.close()
    assert [reply.outcome for reply in replies] == [Outcome.COMPLETE] * 4
    assert replies[0].marks.tls is not None
    assert [reply.marks.tls for reply in replies[1:]] == [None] * 3


def test_an_endless_handshake_times_out() -> None:
    with ScriptedServer(Peer.hold) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"), Limits(connect=0.3))
    assert (reply.outcome, reply.message) == (Outcome.CONNECT_TIMEOUT, "no connection within 0.3 s")
    assert (reply.marks.sent, reply.marks.tls) == (None, None)


@pytest.mark.parametrize(
    ("server_does", "why"),
    [
        pytest.param(lambda p: p.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "TLS|SSL", id="it speaks plain HTTP"),
        pytest.param(lambda p: p.sock.recv(10), "TLS|reset", id="it closes"),
        pytest.param(Peer.reset, "reset", id="it resets"),
    ],
)
def test_a_failed_handshake_fails_to_connect(server_does: Callable[[Peer], None], why: str) -> None:
    with ScriptedServer(server_does) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"))
    assert reply.outcome is Outcome.CONNECT_FAILED
    assert any(word in (reply.message or "") for word in why.split("|"))


def test_close_notify_completes_a_close_delimited_body(serving: ssl.SSLContext) -> None:
    """Some servers end `Connection: close` with close_notify and leave closing the socket to the client."""

    def notify_only(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        peer.send(b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n', 1)
        peer.sock.settimeout(0.2)
        with suppress(OSError, ValueError):
            peer.sock.unwrap()  # type: ignore[attr-defined]
        peer.over.wait()

    with ScriptedServer(notify_only, tls=serving) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"), Limits(gap=20.0))
    assert (reply.outcome, reply.message, reply.text) == (Outcome.COMPLETE, None, "hi")


def test_does_not_reuse_a_closed_tls_session(serving: ssl.SSLContext) -> None:
    def notify(peer: Peer) -> None:
        peer.request()
        peer.send(sized(b'{"error":"full"}', JSON_HEAD.replace(b"200 OK", b"404 Not Found")))
        peer.sock.settimeout(0.1)
        with suppress(OSError, ValueError):
            peer.sock.unwrap()  # type: ignore[attr-defined]
        peer.over.wait()

    with ScriptedServer(notify, one_token, tls=serving) as server:
        connection = connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1")
        assert ask_on(connection).message == "HTTP 404: full"
        server.peers[0].over.wait(0.05)
        assert ask_on(connection).outcome is Outcome.COMPLETE
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


def test_invalid_tls_records_cut_the_reply(serving: ssl.SSLContext) -> None:
    def spoilt(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.token()
        peer.sleep(0.05)
        os.write(peer.sock.fileno(), b"these bytes are certainly not a TLS record")
        peer.sleep(0.5)

    with ScriptedServer(spoilt, tls=serving) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"))
    assert reply.outcome is Outcome.CUT
    assert (reply.message or "").startswith("TLS: ")
    assert [len(column.at) for column in reply.events] == [1]


def test_a_tls_connection_closed_in_mid_reply_cuts_it(serving: ssl.SSLContext) -> None:
    def vanish(peer: Peer) -> None:
        peer.request()
        peer.head()
        peer.token()
        socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)

    with ScriptedServer(vanish, tls=serving) as server:
        reply = ask_on(connect(server, client_context(TlsSettings(insecure=True)), "127.0.0.1"))
    assert (reply.outcome, reply.text) == (Outcome.CUT, "t")

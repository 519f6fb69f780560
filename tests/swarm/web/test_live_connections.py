"""Whoever reaches the web UI's port cannot take all its connections, nor keep one without a word."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import pywsgi, socket

from probe_ext.swarm.web import connection_limit
from probe_ext.swarm.web.connection_limit import limit_connections


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(pywsgi.WSGIServer, "handler_class", pywsgi.WSGIHandler)
    monkeypatch.setattr(connection_limit, "MAX_CONNECTIONS", 5)
    limit_connections()

    def answer(request: Any, start: Callable[..., Any]) -> list[bytes]:
        request["wsgi.input"].read()
        start("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = pywsgi.WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    yield int(server.server_port)
    server.stop()


def connected(port: int, source: str) -> Any:
    return socket.create_connection(("127.0.0.1", port), 20, (source, 0))


def asked(sock: Any) -> bytes:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return bytes(sock.recv(1000))


def test_the_network_with_the_most_connections_loses_its_oldest(port: int) -> None:
    operator = connected(port, "127.0.0.2")
    assert asked(operator).startswith(b"HTTP/1.1 200")
    flood = [connected(port, "127.0.0.3") for _ in range(30)]
    for sock in flood[:5]:
        sock.sendall(b"GET / HTTP/1.1\r\n")  # not a whole request
    gevent.sleep(0.1)
    assert flood[0].recv(10) == b""
    assert len(connection_limit._open) == 5
    assert asked(operator).startswith(b"HTTP/1.1 200")
    assert asked(flood[-1]).startswith(b"HTTP/1.1 200")


def test_requests_whose_bodies_never_end_lock_nobody_out(port: int) -> None:
    slow = [connected(port, "127.0.0.3") for _ in range(10)]
    for sock in slow:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        gevent.sleep(0.01)
    operator = connected(port, "127.0.0.2")
    assert asked(operator).startswith(b"HTTP/1.1 200")
    assert slow[0].recv(10) == b""


def test_a_connection_that_says_nothing_ends(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limit, "IDLE_TIMEOUT_S", 0.1)
    silent = connected(port, "127.0.0.1")
    silent.sendall(b"GET / HTTP/1.1\r\n")
    assert silent.recv(1000).partition(b"\r\n")[0] in {b"", b"HTTP/1.1 400 Bad Request"}
    assert not connection_limit._open

"""Control requests over a real socket: errors, limits, and who gets the key."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from loopback import Loopback, send

from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.control.fetch import Fetcher
from probe_ext.tls_trust import TlsSettings

KEY = "sk-very-secret"
HANG_S = 30.0
"""longer than any timeout in these tests"""


def fetch(page, **options):
    with Loopback({"/x": page}) as server:
        fetcher = Fetcher(**options)
        try:
            return fetcher.get(server.url + "/x")
        finally:
            fetcher.close()


def test_returns_status_and_body():
    answer = fetch((200, b"a 1\n"))
    assert (answer.status, answer.body) == (200, b"a 1\n")


def test_decompresses_gzip():
    page = lambda h: send(h, 200, gzip.compress(b"a 1\n"), [("Content-Encoding", "gzip")])  # noqa: E731
    assert fetch(page).body == b"a 1\n"


def chunked(handler, parts, end=b"0\r\n\r\n"):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for part in parts:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    handler.wfile.write(end)
    handler.close_connection = True


def test_joins_chunks():
    assert fetch(lambda h: chunked(h, [b"a ", b"1\n"])).body == b"a 1\n"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ((404, b"no"), "404"),
        ((503, b"no"), "503"),
        ((401, b"no"), "401 requires a key"),
        ((403, b"no"), "403 forbidden"),
        (lambda h: send(h, 200, b"not gzip at all", [("Content-Encoding", "gzip")]), "invalid compressed body"),
        (lambda h: send(h, 200, gzip.compress(b"a 1\n" * 99)[:-20], [("Content-Encoding", "gzip")]), None),
        (lambda h: chunked(h, [b"a 1"], end=b"ffff\r\nshort"), "response is incomplete"),
        (lambda h: send(h, 302, b"", [("Location", "/x")]), "too many redirects"),
        (lambda h: send(h, 302, b"", [("Location", "http://[bad/")]), "not a URL"),
    ],
)
def test_errors_are_values(page, why):
    answer = fetch(page)
    if why:
        assert isinstance(answer, Failed)
        assert answer.why == why


def test_a_truncated_body_is_incomplete():
    def page(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"a 1\n")
        handler.close_connection = True

    assert fetch(page) == Failed("response is incomplete")


def test_distinguishes_a_rejected_from_a_missing_key():
    assert fetch((401, b""), key=KEY).why == "401 the key was rejected"


def test_drops_an_oversized_body():
    answer = fetch((200, b"x" * 5000), limit=4999)
    assert answer == Failed("response exceeds 4999 bytes", 200)


def test_drops_a_compression_bomb():
    body = gzip.compress(b"\0" * 50_000_000)
    page = lambda h: send(h, 200, body, [("Content-Encoding", "gzip")])  # noqa: E731
    assert fetch(page).why == "response exceeds 16777216 bytes"


def test_an_endless_body_times_out():
    def page(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"a 1\n")
            time.sleep(0.05)
        handler.close_connection = True  # reading this far would give an incomplete response

    assert fetch(page, timeout=0.3).why == "timed out"


def test_rejects_an_endless_header():
    def page(handler):
        handler.send_response(200)
        handler.send_header("X", "y" * 100_000)
        handler.end_headers()

    assert isinstance(fetch(page), Failed)


def test_a_hanging_server_times_out():
    over = threading.Event()

    def page(handler):
        over.wait(HANG_S)
        handler.close_connection = True

    try:
        assert fetch(page, timeout=0.2).why == "timed out"
    finally:
        over.set()


def test_connection_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert Fetcher().get(f"http://127.0.0.1:{port}/x").why == "connection refused"


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x/y", "http://", "http://[::1", "http://a:b/", "http://\ud800/"]
)
def test_invalid_urls(url):
    answer = Fetcher().get(url)
    assert isinstance(answer, Failed)
    assert answer.why in ("not a URL", "invalid characters in host or key")


def test_not_http():
    def page(handler):
        handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
        handler.close_connection = True

    assert isinstance(fetch(page), Failed)


def test_tls_to_a_plain_port():
    with Loopback({}) as server:
        answer = Fetcher().get(server.url.replace("http", "https") + "/x")
    assert answer.why == "TLS: the server does not speak TLS on this port: try http://"


def test_sends_the_key_and_shows_it_nowhere():
    with Loopback({"/x": (200, b"ok")}) as server:
        fetcher = Fetcher(KEY)
        fetcher.get(server.url + "/x")
        assert server.requests[0][2]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(fetcher)
    assert KEY not in repr(fetcher.get("http://127.0.0.1:1/x"))


@pytest.mark.parametrize("key", ["line\nbreak", "schlüssel", "\u4e2d"])
def test_an_invalid_key_is_not_shown(key):
    with Loopback({"/x": (200, b"ok")}) as server:
        answer = Fetcher(key).get(server.url + "/x")
    assert isinstance(answer, Answer) or (key not in answer.why and answer.why == "invalid characters in host or key")


def test_follows_redirects_within_the_host_with_the_key():
    pages = {"/x": lambda h: send(h, 307, b"", [("Location", "/y")]), "/y": (200, b"there")}
    with Loopback(pages) as server:
        assert Fetcher(KEY).get(server.url + "/x").body == b"there"
        assert server.requests[1][2]["Authorization"] == f"Bearer {KEY}"


def test_does_not_follow_redirects_to_other_hosts():
    with Loopback({}) as other:
        away = lambda h: send(h, 302, b"", [("Location", f"{other.url}/y?token=abc")])  # noqa: E731
        with Loopback({"/x": away}) as server:
            answer = Fetcher(KEY).get(server.url + "/x")
        assert answer.why == f"redirects to another host: {other.url}/y?token=hidden"
        assert other.requests == []


def test_ignores_netrc_and_proxies(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Loopback({"/x": (200, b"ok")}) as server:
        assert Fetcher().get(server.url + "/x").status == 200
        assert "Authorization" not in server.requests[0][2]


def test_post_sends_json():
    with Loopback({"/x": (200, b"{}")}) as server:
        assert Fetcher(KEY).post(server.url + "/x", {"a": 1}).body == b"{}"
        assert server.posted == [b'{"a": 1}']


@pytest.fixture
def https(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, *subject]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Loopback({"/x": (200, b"ok")}, context) as server:
        yield server.url + "/x", str(cert)


def test_verifies_certificates_unless_disabled(https):
    url, cert = https
    assert "unknown authority; name it with --tls-ca FILE" in Fetcher().get(url).why
    assert Fetcher(tls=TlsSettings(ca=str(cert))).get(url).body == b"ok"
    assert Fetcher(tls=TlsSettings(insecure=True)).get(url).body == b"ok"


def drip(handler, line=b"HTTP/1.1 200 OK\r\n"):
    """Begin a response, and send its headers byte by byte for ever."""
    handler.wfile.write(line)
    until = time.monotonic() + HANG_S  # noqa: TID251
    while time.monotonic() < until:  # noqa: TID251
        handler.wfile.write(b"X")
        time.sleep(0.05)


def took(call):
    began = time.monotonic()  # noqa: TID251
    result = call()
    return time.monotonic() - began, result  # noqa: TID251


@pytest.mark.parametrize("line", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_one_deadline_for_the_whole_call_headers_too(line, method):
    with Loopback({"/x": lambda h: drip(h, line)}) as server:
        fetcher = Fetcher(timeout=0.5)
        before = threading.active_count()
        arguments = [] if method == "get" else [{}]
        seconds, result = took(lambda: getattr(fetcher, method)(server.url + "/x", *arguments))
        assert result == Failed("timed out")
        assert seconds < 2
        fetcher._abandoned[0].join(2)
        assert not fetcher._abandoned[0].is_alive()  # its socket was shut down: nothing is left behind
        patience = 500
        while threading.active_count() > before + 1 and patience:  # the server's own; others end by themselves
            time.sleep(0.01)
            patience -= 1
        assert threading.active_count() <= before + 1
        assert took(lambda: fetcher.get(server.url + "/y"))[1].status == 404  # and the fetcher goes on


def test_a_redirect_does_not_begin_the_time_anew():
    def slowly(handler):
        time.sleep(0.4)
        send(handler, 302, b"", [("Location", "/x")])

    with Loopback({"/x": slowly}) as server:
        seconds, result = took(lambda: Fetcher(timeout=0.5).get(server.url + "/x"))
    assert result == Failed("timed out")
    assert seconds < 2


def test_a_name_that_is_never_resolved_is_given_up(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(HANG_S) and [])
    fetcher = Fetcher(timeout=0.1)
    for _ in range(10):
        seconds, result = took(lambda: fetcher.get("http://nowhere.invalid/x"))
        assert result == Failed("timed out")
        assert seconds < 2
    assert len(fetcher._abandoned) == 8  # threads are not piled up without end
    over.set()
    for thread in fetcher._abandoned:
        thread.join(5)
    assert not isinstance(fetcher.get("http://nowhere.invalid/x"), Answer)


def test_further_headers_go_home_only():
    with Loopback({"/x": (200, b"ok")}) as home, Loopback({"/x": (200, b"ok")}) as other:
        fetcher = Fetcher(KEY, home=home.url, headers={"X-Tenant": "blue"})
        assert fetcher.get(home.url + "/x").body == fetcher.get(other.url + "/x").body == b"ok"
        assert home.requests[0][2]["X-Tenant"] == "blue"
        assert "X-Tenant" not in other.requests[0][2]
        Fetcher(KEY, headers={"authorization": "Basic abc"}).get(home.url + "/x")
        assert home.requests[1][2]["authorization"] == "Basic abc"


def test_a_silent_server_is_asked_once():
    asked = []

    def hang(handler):
        asked.append(handler.path)
        time.sleep(1.0)

    with Loopback({"/slow": hang, "/x": (200, b"ok")}) as server, Loopback({"/x": (200, b"ok")}) as other:
        fetcher = Fetcher(timeout=0.3, give_up=True)
        assert fetcher.get(server.url + "/slow").why == "timed out"
        assert fetcher.get(server.url + "/x").why == "timed out"
        assert fetcher.post(server.url + "/x", {}).why == "timed out"
        assert fetcher.get(other.url + "/x").body == b"ok"
        assert asked == ["/slow"]
        assert server.requests[1:] == []


def test_an_error_has_the_servers_words():
    with Loopback({"/x": (400, b'{"detail": "tenant is required"}'), "/big": (500, b"x" * 100_000)}) as server:
        assert Fetcher().get(server.url + "/x").body == b'{"detail": "tenant is required"}'
        assert len(Fetcher().get(server.url + "/big").body) == 8192


@pytest.mark.parametrize("first", ["dead", "refusing"])
def test_a_dead_address_of_a_host_does_not_hold_a_call(monkeypatch, first):
    """As a browser does (RFC 8305): another address is tried before the first one's timeout."""
    with (
        Loopback({"/x": (200, b"ok")}) as server,
        socket.create_server(("127.0.0.2", 0), backlog=0) as full,
    ):
        port = int(server.url.rpartition(":")[2])
        dead = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]  # a full queue: further connections are not answered
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(dead)
        there = dead if first == "dead" else ("127.0.0.3", 1)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (there, ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        answer = Fetcher(timeout=HANG_S).get(f"http://several:{port}/x")
        for each in waiting:
            each.close()
    assert not isinstance(answer, Failed), answer.why
    assert answer.body == b"ok"

"""A port that speaks the other scheme is recognised by speaking it."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
import requests
from loopback import Loopback

from probe_ext.target.control.call_result import Failed
from probe_ext.target.control.fetch import Fetcher, why_failed
from probe_ext.target.control.scheme_check import better_scheme
from probe_ext.tls_trust import CLOSED, TlsSettings


@pytest.fixture
def talker():
    """A port that answers anything with the given bytes, or with what a function of the request returns."""
    listening = socket.create_server(("127.0.0.1", 0))
    answers = [b""]

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(4096)
                answer = answers[0]
                connection.sendall(answer(asked) if callable(answer) else answer)

    threading.Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", answers
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_tls_behind_http(https) -> None:
    assert better_scheme(https.replace("https://", "http://"), 20) == "https"
    assert better_scheme(https, 20) is None


def test_an_alert_is_tls(talker) -> None:
    place, answers = talker
    answers[0] = b"\x15\x03\x03\x00\x02\x02\x46"
    assert better_scheme(f"http://{place}", 20) == "https"


def test_http_behind_https() -> None:
    with Loopback({}) as server:
        assert better_scheme(server.url.replace("http://", "https://"), 20) == "http"
        assert better_scheme(server.url, 20) is None


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 20])
def test_neither(talker, answer: bytes) -> None:
    place, answers = talker
    answers[0] = answer
    assert better_scheme(f"http://{place}", 20) is None
    assert better_scheme(f"https://{place}", 20) is None


def test_nothing_there() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert better_scheme(f"http://127.0.0.1:{bound.getsockname()[1]}", 5) is None


def why(url: str, path: str = "/metrics") -> str:
    result = Fetcher(timeout=20).get(url + path)
    assert isinstance(result, Failed)
    return result.why


def test_whoever_asks_a_tls_port_in_plain_http_is_told(https) -> None:
    assert why(https.replace("https://", "http://")) == f"the port speaks TLS: try {https}"


NGINX = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("garbage", [NGINX, b"\x15\x03\x01\x00\x02\x02\x16"])  # nginx, Apache, Go; OpenSSL's alert
def test_tls_ports_that_answer_plain_http_with_a_400_or_an_alert(talker, garbage: bytes) -> None:
    place, answers = talker
    answers[0] = lambda asked: garbage if asked.startswith(b"GET") else b"\x15\x03\x03\x00\x02\x02\x46"
    assert why(f"http://{place}") == f"the port speaks TLS: try https://{place}"


def test_tls_to_a_port_of_plain_http_that_just_closes(talker) -> None:
    place, answers = talker
    answers[0] = lambda asked: NGINX.replace(b"400", b"404") if asked.startswith(b"HEAD") else b""
    assert why(f"https://{place}") == f"the port speaks plain HTTP: try http://{place}"


def test_a_tls_port_that_answers_plain_http_with_a_400_is_no_plain_port(talker) -> None:
    place, answers = talker
    answers[0] = lambda asked: NGINX if asked.startswith(b"HEAD") else b""
    assert why(f"https://{place}").startswith("TLS: the server ended the connection; if it requires a client cert")


def _unknown_system_error() -> ssl.SSLError:
    """As Python raises it, `[SYS] unknown error`, if a reset was read before it looked."""
    error = ssl.SSLError(5, "[SYS] unknown error (_ssl.c:1006)")
    error.library = "SYS"
    return error


@pytest.mark.parametrize(
    "error", [ssl.SSLEOFError(8, "eof"), ssl.SSLZeroReturnError(6, "closed"), ssl.SSLSyscallError(5, "x"),
              _unknown_system_error()],
)  # fmt: skip
def test_a_handshake_that_just_ends_may_want_a_client_certificate(error: ssl.SSLError) -> None:
    assert why_failed(requests.exceptions.SSLError(error)) == CLOSED


def test_tls_13_that_ends_after_the_handshake_may_want_a_client_certificate(https, tmp_path) -> None:
    """As asyncio does: its alert is lost when it closes the connection."""
    with tls_server_that_closes(tmp_path) as url:
        result = Fetcher(tls=TlsSettings(insecure=True), timeout=20).get(url)
    assert isinstance(result, Failed)
    assert "--tls-client-cert" in result.why


@contextlib.contextmanager
def tls_server_that_closes(folder: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    wrapped.recv(4096)
                    wrapped.unwrap()
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_a_400_of_plain_http_stays_one() -> None:
    with Loopback({"/metrics": (400, b"model is missing")}) as server:
        assert why(server.url) == "400"


@pytest.fixture
def https(tmp_path: Path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Loopback({}, context) as server:
        yield server.url

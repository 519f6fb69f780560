"""One TLS configuration for the load and for control requests: whom both trust, and what they say if TLS fails."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from exchange_helpers import new_exchange, run_exchange

from probe_ext.client.wire.address import parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.target.control.call_result import Failed
from probe_ext.target.control.fetch import Fetcher
from probe_ext.tls_trust import AUTHORITIES_VARIABLE, PASSPHRASE_VARIABLE, TlsFileError, TlsSettings, client_context

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
UNKNOWN = "unknown authority; name it with --tls-ca FILE (or SSL_CERT_FILE)"
REQUIRED = "requires a client certificate: --tls-client-cert FILE"
PASSPHRASE = "open sesame"


def openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def signed(folder: Path, name: str, days: str = "2") -> None:
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl(folder, f"req {NEW_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr")
    authority = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile names"
    openssl(folder, f"x509 -req -in {name}.csr {authority} -days {days} -out {name}.pem")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority, with certificates for a server, an expired one and a client; a stranger's as well."""
    if shutil.which("openssl") is None:
        pytest.skip("TLS is not tested: openssl is missing")
    folder = tmp_path_factory.mktemp("authority")
    openssl(folder, f"req -x509 {NEW_KEY} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
    openssl(folder, f"req -x509 {NEW_KEY} -days 2 -subj /CN=stranger -keyout stranger.key -out stranger.pem")
    for name, days in (("server", "2"), ("expired", "-1"), ("client", "2")):
        signed(folder, name, days)
    both = (folder / "client.pem").read_text() + (folder / "client.key").read_text()
    (folder / "both.pem").write_text(both)
    subprocess.run(
        ["openssl", "ec", "-in", "client.key", "-aes128", "-passout", f"pass:{PASSPHRASE}", "-out", "locked.key"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b'{"ok": true}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}')

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        """Close once the client has: an alert that it has not read yet is lost if its own bytes are still unread."""
        request.settimeout(1.0)
        with suppress(OSError):
            while socket.socket.recv(request, 4096):
                pass
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(files: Path, name: str = "server", *, asks: bool = False, newest: bool = True) -> Iterator[int]:
    """Serve over TLS with this certificate; `asks`: requires one of its clients. Returns the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if newest else ssl.TLSVersion.TLSv1_2
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files / "ca.pem")
    server = QuietServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def both_say(port: int, settings: TlsSettings, host: str = "localhost") -> tuple[str, str]:
    """Return what the load and a control request say: `ok`, or why not."""
    url = f"https://{host}:{port}"
    reply = run_exchange(new_exchange(Connection(parse_target(url), client_context(settings)), parse_target(url)))
    answer = Fetcher(home=url, tls=settings).get(f"{url}/x")
    return (
        "ok" if reply.outcome == "complete" else reply.message or "",
        answer.why if isinstance(answer, Failed) else "ok",
    )


def path(files: Path, name: str) -> str:
    return str(files / name)


def test_both_trust_a_named_authority(files: Path) -> None:
    with serving(files) as port:
        assert both_say(port, TlsSettings(ca=path(files, "ca.pem"))) == ("ok", "ok")
        assert both_say(port, TlsSettings(insecure=True), "127.0.0.1") == ("ok", "ok")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", AUTHORITIES_VARIABLE])
def test_both_trust_the_authorities_of_the_environment(
    files: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, path(files, "ca.pem"))
    with serving(files) as port:
        assert both_say(port, TlsSettings()) == ("ok", "ok")


@pytest.mark.parametrize(
    ("name", "trusts", "host", "said"),
    [
        ("server", False, "localhost", UNKNOWN),
        ("stranger", True, "localhost", UNKNOWN),
        ("server", True, "127.0.0.1", "certificate is not valid for '127.0.0.1': use its own name in the URL"),
        ("expired", True, "localhost", "certificate has expired: renew it, or skip verification with --insecure"),
    ],
)
def test_both_say_what_is_wrong_and_what_helps(files: Path, name: str, trusts: bool, host: str, said: str) -> None:
    with serving(files, name) as port:
        for message in both_say(port, TlsSettings(ca=path(files, "ca.pem") if trusts else None), host):
            assert said in message


@pytest.mark.parametrize("newest", [True, False], ids=["TLS 1.3", "TLS 1.2"])
def test_client_certificates(files: Path, newest: bool) -> None:
    ca = path(files, "ca.pem")
    with serving(files, asks=True, newest=newest) as port:
        for cert, key in (("both.pem", None), ("client.pem", "client.key")):
            known = TlsSettings(ca, path(files, cert), key and path(files, key))
            assert both_say(port, known) == ("ok", "ok")
        for message in both_say(port, TlsSettings(ca)):
            assert "requires a client certificate: --tls-client-cert FILE" in message
        stranger = TlsSettings(ca, path(files, "stranger.pem"), path(files, "stranger.key"))
        for message in both_say(port, stranger):
            assert "the server refused the client certificate" in message


def test_no_other_server_gets_the_client_certificate(files: Path) -> None:
    known = TlsSettings(path(files, "ca.pem"), path(files, "both.pem"))
    with serving(files, asks=True) as port, serving(files) as elsewhere:
        fetcher = Fetcher(home=f"https://localhost:{elsewhere}", tls=known)
        assert isinstance(fetcher.get(f"https://localhost:{port}/x"), Failed)


def test_plain_http_on_the_port_is_named(files: Path) -> None:
    server = QuietServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        for message in both_say(server.server_port, TlsSettings()):
            assert "does not speak TLS on this port: try http://" in message
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ca": "absent.pem"}, "--tls-ca absent.pem: no such file or directory"),
        ({"ca": "ca.key"}, "--tls-ca ca.key: does not contain certificates of authorities (PEM)"),
        ({"key": "client.key"}, "--tls-client-key client.key: needs --tls-client-cert as well"),
        ({"cert": "absent.pem"}, "--tls-client-cert absent.pem: no such file or directory"),
        ({"cert": "client.pem", "key": "absent.key"}, "--tls-client-key absent.key: no such file or directory"),
        ({"cert": "client.pem"}, "--tls-client-cert client.pem: does not contain a certificate and its private key"),
        ({"cert": "client.pem", "key": "server.key"}, "--tls-client-key server.key: is not the key of the certificate"),
        ({"cert": "client.pem", "key": "ca.pem"}, "--tls-client-key ca.pem: does not contain a private key (PEM)"),
        ({"cert": "client.pem", "key": "locked.key"}, f"locked.key: its passphrase is needed ({PASSPHRASE_VARIABLE})"),
    ],
)
def test_wrong_files_are_refused_in_one_line(
    files: Path, settings: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(TlsFileError, match=r"^[^\n]+$") as refused:
        client_context(TlsSettings(**settings))  # type: ignore[arg-type]
    assert why in str(refused.value)


@pytest.mark.parametrize("option", ["ca", "cert", "key"])
@pytest.mark.parametrize("special", ["pipe", "device", "hole"])
def test_special_and_huge_files_are_not_read(files: Path, tmp_path: Path, option: str, special: str) -> None:
    file = tmp_path / special
    if special == "pipe":
        os.mkfifo(file)
    elif special == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 10**12)
    given = {"cert": path(files, "client.pem"), option: str(file)} if option == "key" else {option: str(file)}
    with pytest.raises(TlsFileError, match=rf"^--tls-\S+ {file}: (not a regular file|larger than 20 mb)$"):
        client_context(TlsSettings(**given))


def test_a_passphrase_comes_from_the_environment_and_is_in_no_message(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = TlsSettings(cert=path(files, "client.pem"), key=path(files, "locked.key"))
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE)
    client_context(locked)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong one")
    with pytest.raises(TlsFileError, match="its passphrase is wrong") as refused:
        client_context(locked)
    assert "wrong one" not in str(refused.value)


def test_a_connection_without_usable_files_is_the_load_generators_fault() -> None:
    target = parse_target("https://localhost:1")
    reply = run_exchange(new_exchange(Connection(target, TlsFileError("--tls-ca x: no such file")), target))
    assert (reply.outcome, reply.message) == ("client_error", "--tls-ca x: no such file")

"""TLS on both sides of the tap: to a server with a private authority, and to clients with a certificate of its own."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from probe_ext.tap.tap_command import _serving_context
from probe_ext.tls_trust import TlsSettings, client_context
from tests.tap_helpers import PATIENCE_S, WHOLE_STREAM, answering, chat, post, tap_before

BODY = WHOLE_STREAM.partition(b"\r\n\r\n")[2]
CERTIFICATE, KEY = "certificate.pem", "key.pem"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("TLS is not tested: openssl is missing")
    path = tmp_path_factory.mktemp("tls")
    how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path / KEY), "-out", str(path / CERTIFICATE)]
    subprocess.run(["openssl", *how.split(), *files], check=True, capture_output=True)
    return path


def serving(folder: Path) -> ssl.SSLContext:
    """The context of `--serve-cert` and `--serve-key`."""
    context = _serving_context(str(folder / CERTIFICATE), str(folder / KEY))
    assert context is not None
    return context


def to_server(folder: Path, tls: TlsSettings, tmp_path: Path) -> tuple[bytes, str]:
    """Return what a client gets through a tap before a TLS server, and the recorded outcome."""

    async def run() -> tuple[bytes, str]:
        context = client_context(tls)
        async with tap_before(
            answering(WHOLE_STREAM), tmp_path, server_tls=serving(folder), upstream_tls=context
        ) as tap:
            return await tap.exchange(post(chat())), await tap.outcome()

    return asyncio.run(run())


def test_a_server_with_a_private_authority_is_reached(folder: Path, tmp_path: Path) -> None:
    data, outcome = to_server(folder, TlsSettings(ca=str(folder / CERTIFICATE)), tmp_path)
    assert data.partition(b"\r\n\r\n")[2] == BODY
    assert outcome == "complete"


def test_a_server_of_an_unknown_authority_is_refused(folder: Path, tmp_path: Path) -> None:
    data, outcome = to_server(folder, TlsSettings(), tmp_path)
    assert data.startswith(b"HTTP/1.1 502 ")
    assert b"certificate cannot be verified" in data
    assert outcome == "connect_failed"


def test_insecure_accepts_any_certificate(folder: Path, tmp_path: Path) -> None:
    assert to_server(folder, TlsSettings(insecure=True), tmp_path)[1] == "complete"


def test_clients_speak_tls_with_the_certificate_of_the_tap(folder: Path, tmp_path: Path) -> None:
    async def run() -> tuple[bytes, str]:
        async with tap_before(answering(WHOLE_STREAM), tmp_path, clients_tls=serving(folder)) as tap:
            trusting = ssl.create_default_context(cafile=folder / CERTIFICATE)
            reader, writer = await asyncio.open_connection("127.0.0.1", tap.port, ssl=trusting)
            writer.write(post(chat()))
            data = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
            return data, await tap.outcome()

    data, outcome = asyncio.run(run())
    assert data.partition(b"\r\n\r\n")[2] == BODY
    assert outcome == "complete"


def test_a_client_that_does_not_trust_the_tap_ends_the_handshake(folder: Path, tmp_path: Path) -> None:
    async def run() -> int:
        async with tap_before(answering(WHOLE_STREAM), tmp_path, clients_tls=serving(folder)) as tap:
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", tap.port, ssl=ssl.create_default_context())
            return tap.recorder.in_flight

    assert asyncio.run(run()) == 0

"""Addresses and certificates that several tests need."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that drops every connection attempt, as a host without a route does: its backlog is full."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    yield listener.getsockname()[1]
    for one in [listener, *waiting]:
        one.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost`, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("TLS is not tested: openssl is missing")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *how.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", "-"]
    created = subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + created.stdout)
    return path

"""Addresses and certificates that several tests need."""

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe_ext.client.wire.kernel_receive import enable_timestamps


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


@pytest.fixture(scope="session", autouse=True)
def stamps_are_on() -> Iterator[None]:
    """Keep the kernel stamping: it begins a moment after the first socket on the machine asks for it.

    What arrives in that moment is stamped when it is read.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as far, socket.socket(type=socket.SOCK_DGRAM) as near:
        near.bind(("127.0.0.1", 0))
        attempts = 200 if enable_timestamps(near) else 0
        for _ in range(attempts):
            far.sendto(b"x", near.getsockname())
            time.sleep(0.005)
            _, ((_, _, stamp),), _, _ = near.recvmsg(1, 64)
            seconds, nanoseconds = struct.unpack("@qq", stamp)
            if time.time() - (seconds + nanoseconds / 1e9) > 0.004:  # noqa: TID251 - against the kernel's own stamp
                break
        yield


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

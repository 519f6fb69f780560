"""Compile and run the C programs; their last output line is JSON."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE_DIR = Path(__file__).parent
BUILD_DIR = PACKAGE_DIR / "build"
CLIENT_CORE, SERVER_CORE = "0", "1"


class NoCompilerError(Exception):
    """The programs cannot be compiled; the message says why."""


@cache
def build(name: str) -> Path:
    """Compile `paced`, `reader`, `link` or `busy`. Raises NoCompilerError without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("no C compiler (cc) to build the test server")
    BUILD_DIR.mkdir(exist_ok=True)
    binary, source = BUILD_DIR / name, PACKAGE_DIR / "native" / f"{name}.c"
    plain = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]
    for command in ([*plain, "-DWITH_TLS", "-lssl", "-lcrypto"], plain):
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode == 0:
            return binary
    raise NoCompilerError(completed.stderr.strip())


@cache
def certificate() -> Path | None:
    """Create a self-signed certificate with its key; None without openssl or its headers."""
    path = BUILD_DIR / "certificate.pem"
    build("paced")
    probe = subprocess.run(
        [BUILD_DIR / "paced", "--certificate", "/dev/null"], capture_output=True, text=True, check=False
    )
    if "without TLS" in probe.stderr or shutil.which("openssl") is None:
        return None
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", path, "-out", BUILD_DIR / "public.pem"], capture_output=True, check=True)
    path.write_text(path.read_text() + (BUILD_DIR / "public.pem").read_text())
    return path


@dataclass
class Server:
    """A running server. ``totals`` is set when it has stopped."""

    url: str
    host: str
    port: int
    tls: bool
    truth: Path | None
    totals: dict[str, Any] = field(default_factory=dict)


@contextmanager
def server(
    *arguments: str,
    tls: bool = False,
    truth: Path | None = None,
    host: str = "127.0.0.1",
    namespace: str | None = None,
) -> Iterator[Server]:
    """Run `paced` on its own core, and in another network namespace if one is named."""
    line = [*inside(namespace), "taskset", "-c", SERVER_CORE, str(build("paced")), "--host", host, *arguments]
    if truth is not None:
        line += ["--truth", str(truth)]
    if tls:
        line += ["--certificate", str(certificate())]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        shown = f"[{host}]" if ":" in host else host
        instance = Server(f"http{'s' if tls else ''}://{shown}:{port}", host, port, tls, truth)
        yield instance
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        process.wait()
    instance.totals = json.loads(rest)


def run_reader(target: Server, streams: int, seconds: float, tokens: int, pause_us: int = 0) -> dict[str, Any]:
    """Run the C reader against a server and return its totals; it pauses `pause_us` between rounds."""
    numbers = map(str, (target.host, target.port, streams, seconds, tokens, pause_us))
    line = ["taskset", "-c", CLIENT_CORE, str(build("reader")), *numbers]
    completed = subprocess.run([*line, *(["tls"] if target.tls else [])], stdout=subprocess.PIPE, check=True)
    totals: dict[str, Any] = json.loads(completed.stdout)
    totals["cpu_us_per_token"] = 1e6 * totals["cpu_seconds"] / totals["tokens"]
    return totals


ROUND_TRIP_MS, LOSS_PERCENT = 20, 0.1
"""of the link between two network namespaces"""


@contextmanager
def other_machine() -> Iterator[tuple[str, str]]:
    """Make a network namespace behind a slow and lossy link (root only); return its name and address."""
    name = f"bench{os.getpid()}"
    numbers = (f"{ROUND_TRIP_MS * 500}", f"{LOSS_PERCENT * 100:.0f}")
    subprocess.run(["ip", "netns", "add", name], check=True)
    link = subprocess.Popen(
        ["taskset", "-c", SERVER_CORE, str(build("link")), name, name, *numbers], stdout=subprocess.PIPE, text=True
    )
    try:
        assert link.stdout is not None
        link.stdout.readline()
        for where, address in (([], "10.213.7.1/30"), (["-n", name], "10.213.7.2/30")):
            subprocess.run(["ip", *where, "address", "add", address, "dev", name], check=True)
            subprocess.run(["ip", *where, "link", "set", name, "up"], check=True)
        yield name, "10.213.7.2"
    finally:
        link.terminate()
        link.wait()
        subprocess.run(["ip", "netns", "del", name], check=False)


MANY_PORTS = "1024 65535"
"""of a machine that opens many connections to one address

Linux gives out every other port of the range first; once these are used, each further connection searches all of them.
"""


@contextmanager
def many_ports() -> Iterator[str | None]:
    """Make a network namespace with a wide range of local ports, and return its name; None: this takes root."""
    if os.geteuid():
        yield None
        return
    name = f"ports{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        write = f"echo {MANY_PORTS} > /proc/sys/net/ipv4/ip_local_port_range"
        subprocess.run([*inside(name), "sh", "-c", write], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def inside(namespace: str | None) -> list[str]:
    """Return what a command line begins with to run in a network namespace; nothing for this one."""
    return ["ip", "netns", "exec", namespace] if namespace else []


@contextmanager
def busy(cores: Sequence[str], nice: int) -> Iterator[None]:
    """Keep each of these cores busy with a process of this niceness, within the context."""
    command = ["nice", "-n", str(nice), str(build("busy"))]
    processes = [subprocess.Popen(["taskset", "-c", core, *command]) for core in cores]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()

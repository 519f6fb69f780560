"""The C programs: compiled when a benchmark starts, run as children, their last line read as JSON."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE / "build"
CLIENT_CORE, SERVER_CORE = "0", "1"


class NoCompilerError(Exception):
    """This machine cannot build the programs; the message says what is missing."""


@cache
def program(name: str) -> Path:
    """`paced`, `reader` or `busy`, built. NoCompilerError where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompilerError("no C compiler (cc): the server that knows the truth cannot be built")
    BUILD.mkdir(exist_ok=True)
    built, source = BUILD / name, HERE / "native" / f"{name}.c"
    plain = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(built), str(source)]
    for how in ([*plain, "-DWITH_TLS", "-lssl", "-lcrypto"], plain):
        done = subprocess.run(how, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return built
    raise NoCompilerError(done.stderr.strip())


@cache
def certificate() -> Path | None:
    """A certificate of our own with its key, for TLS; None without openssl or its headers."""
    made = BUILD / "certificate.pem"
    program("paced")
    probe = subprocess.run([BUILD / "paced", "--certificate", "/dev/null"], capture_output=True, text=True, check=False)
    if "without TLS" in probe.stderr or shutil.which("openssl") is None:
        return None
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    ask = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*ask, "-keyout", made, "-out", BUILD / "public.pem"], capture_output=True, check=True)
    made.write_text(made.read_text() + (BUILD / "public.pem").read_text())
    return made


@dataclass
class Server:
    """A running server. What it did is known once it has stopped."""

    url: str
    port: int
    tls: bool
    truth: Path | None
    did: dict[str, Any] = field(default_factory=dict)


@contextmanager
def server(*arguments: str, tls: bool = False, truth: Path | None = None) -> Iterator[Server]:
    """`paced` on a core of its own, with these arguments."""
    line = ["taskset", "-c", SERVER_CORE, str(program("paced")), *arguments]
    if truth is not None:
        line += ["--truth", str(truth)]
    if tls:
        line += ["--certificate", str(certificate())]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        started = Server(f"http{'s' if tls else ''}://127.0.0.1:{port}", port, tls, truth)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        process.wait()
    started.did = json.loads(rest)


def read_bare(at: Server, streams: int, seconds: float, tokens: int) -> dict[str, Any]:
    """What reading costs the C reader: its own account."""
    line = ["taskset", "-c", CLIENT_CORE, str(program("reader")), *map(str, (at.port, streams, seconds, tokens))]
    done = subprocess.run([*line, *(["tls"] if at.tls else [])], stdout=subprocess.PIPE, check=True)
    account: dict[str, Any] = json.loads(done.stdout)
    account["cpu_us_a_token"] = 1e6 * account["cpu_seconds"] / account["tokens"]
    return account


@contextmanager
def busy(cores: Sequence[str], nice: int) -> Iterator[None]:
    """A process that never rests on each of these cores, at this niceness, while the block lasts."""
    spin = ["nice", "-n", str(nice), str(program("busy"))]
    spinning = [subprocess.Popen(["taskset", "-c", core, *spin]) for core in cores]
    try:
        yield
    finally:
        for process in spinning:
            process.terminate()
            process.wait()

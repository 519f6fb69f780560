"""Start processes for a while, such as what listens on a port of loopback, and stop them."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PROBE = (sys.executable, "-m", "probe_ext")
_POLL_S = 0.1
_STOP_S = 10.0


class StartError(RuntimeError):
    """A process did not answer; the message has its last words."""


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def started(*command: str | Path, **how: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until the block ends; yields it and the first line that it prints, empty if it ends before."""
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, **how)
    try:
        yield process, process.stdout.readline() if process.stdout else ""
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def simulator(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `probe sim` until the block ends; yields its process and its URL. StartError if it does not start."""
    with started(*PROBE, "sim", "--port", "0", *options, stderr=subprocess.DEVNULL) as (process, line):
        if "listening on" not in line:
            raise StartError(f"the simulated server did not start with {' '.join(options)}")
        yield process, line.rpartition(" ")[2].strip()


@contextlib.contextmanager
def simulated(*options: str) -> Iterator[str]:
    """Run `probe sim` until the block ends; yields its URL. StartError if it does not start."""
    with simulator(*options) as (_, url):
        yield url


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process that may still run."""
    if process.poll() is None:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(command: Sequence[str], port: int, folder: Path, health: str | None, start_s: float) -> Iterator[None]:
    """Run a command until the block ends. StartError if it exits, or does not answer within `start_s` seconds.

    It answers once it has a page `health`, or listens where that is None.

    It gets a process group of its own, but no session: Linux would schedule a session as a group of its own, which
    starves its neighbours on a machine with few cores.
    """
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder, process_group=0, env=_environment()
        )
    try:
        _wait(process, port, health, start_s, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Return an environment in which nothing asks the internet or reads the user's configuration."""
    offline = {"HF_HUB_OFFLINE": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DISABLE_ADMIN_UI": "True"}
    return {**os.environ, **offline, "NO_PROXY": HOST}


def _wait(process: subprocess.Popen[bytes], port: int, health: str | None, start_s: float, log: Path) -> None:
    for _ in range(int(start_s / _POLL_S)):
        if process.poll() is not None:
            break
        if _answers(port, health):
            return
        time.sleep(_POLL_S)
    words = log.read_text(errors="replace").strip().splitlines() or ["no output"]
    raise StartError(f"port {port} did not answer within {start_s:g} s: {words[-1][:300]}")


def _answers(port: int, path: str | None) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""Start what listens on a port of loopback, wait until it answers, and stop it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"
_POLL_S = 0.1
_STOP_S = 10.0


class StartError(Exception):
    """A process did not answer; the message has its last words."""


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: Sequence[str], port: int, folder: Path, health: str, start_s: float) -> Iterator[None]:
    """Run a command until the block ends. StartError if it exits, or does not answer within `start_s` seconds.

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


def _wait(process: subprocess.Popen[bytes], port: int, health: str, start_s: float, log: Path) -> None:
    for _ in range(int(start_s / _POLL_S)):
        if process.poll() is not None:
            break
        if _answers(port, health):
            return
        time.sleep(_POLL_S)
    words = log.read_text(errors="replace").strip().splitlines() or ["no output"]
    raise StartError(f"port {port} did not answer within {start_s:g} s: {words[-1][:300]}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

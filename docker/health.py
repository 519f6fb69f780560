"""Health check of this project's containers: `health.py URL`, `health.py listening PORT` or `health.py joined PORT`.

A server is healthy while the URL answers with HTTP 200. A master is healthy while it listens for workers, with or
without a web UI. A worker listens on no port; it is healthy while its connection to the master is established.
"""

import sys
import urllib.request
from pathlib import Path

ESTABLISHED, LISTENING = "01", "0A"
SOCKET_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def answers(url: str) -> bool:
    """Return whether a GET of the URL succeeds."""
    with urllib.request.urlopen(url, timeout=3) as response:  # noqa: S310 - the URL comes from docker-compose.yml
        return bool(response.status == 200)


def sockets() -> list[list[str]]:
    """Return the fields of each TCP socket in this container: 1 is the local address, 2 the remote one, 3 the state."""
    tables = [Path(name) for name in SOCKET_TABLES]
    return [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]


def listening(port: int) -> bool:
    """Return whether a socket listens on the port."""
    return any(local.endswith(f":{port:04X}") and state == LISTENING for _, local, _, state, *_ in sockets())


def joined(port: int) -> bool:
    """Return whether a connection to that port of another host is established."""
    return any(remote.endswith(f":{port:04X}") and state == ESTABLISHED for _, _, remote, state, *_ in sockets())


def main(arguments: list[str]) -> int:
    """Return 0 for healthy, 1 for unhealthy."""
    try:
        if arguments[0] in ("listening", "joined"):
            healthy = {"listening": listening, "joined": joined}[arguments[0]](int(arguments[1]))
        else:
            healthy = answers(arguments[0])
    except OSError as error:
        print(error)  # shown by `docker inspect`
        return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

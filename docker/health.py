"""Is a container of this project well? `health.py http://HOST:PORT/PATH`, `listening PORT` or `joined PORT`.

A master is well while it listens to its workers, with or without a web UI and its login. A worker listens nowhere: it
is well while its connection to the master stands.
"""

import sys
import urllib.request
from pathlib import Path

ESTABLISHED, LISTENING = "01", "0A"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def answers(url: str) -> bool:
    """Whether a page comes."""
    with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - the address stands in docker-compose.yml
        return bool(answer.status == 200)


def connections() -> list[list[str]]:
    """This container's TCP sockets, a list of fields each; 1 is the own address, 2 the other's, 3 the state."""
    tables = [Path(name) for name in TABLES]
    return [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]


def listening(port: int) -> bool:
    """Whether something here takes connections at that port."""
    return any(own.endswith(f":{port:04X}") and state == LISTENING for _, own, _, state, *_ in connections())


def joined(port: int) -> bool:
    """Whether a connection from here to that port of another stands."""
    return any(other.endswith(f":{port:04X}") and state == ESTABLISHED for _, _, other, state, *_ in connections())


def main(arguments: list[str]) -> int:
    """0 for well, 1 for not."""
    try:
        if arguments[0] in ("listening", "joined"):
            well = {"listening": listening, "joined": joined}[arguments[0]](int(arguments[1]))
        else:
            well = answers(arguments[0])
    except OSError as error:
        print(error)  # `docker inspect` shows it
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

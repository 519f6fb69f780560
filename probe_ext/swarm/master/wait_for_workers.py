"""Who waits for whom before a run, said in a line now and then: a master for its workers, a worker for its master."""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from probe_ext.measure import clock
from probe_ext.swarm.terminal.console import print_line
from probe_ext.verdict.values.plurals import listed, things

WORTH_A_WORD = 3.0
"""seconds of waiting of which nothing is said: most is over by then"""
_AGAIN = 60.0
"""seconds between two lines where nothing changes"""
_TURN = 0.5
_PATIENCE = 300.0
"""seconds that a worker waits for its master, as Locust's own would"""

DEFAULT_PORT = 5557
"""Locust's own, for workers"""
_ALL_INTERFACES = {"*", "", "0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to

Sleep = Callable[[float], object]


def wait_for_workers(
    here: Callable[[], Counter[str]],
    expected: int,
    most: float,
    how: str | None,
    tell: Callable[[str | None], None],
    sleep: Sleep,
) -> bool:
    """Wait until so many workers are here; False where `most` seconds were not enough (0: there is no limit).

    `here` counts workers by host; `how` says how to start one; `tell` shows what is waited for, None when that is over.
    """
    began, said = clock.monotonic(), False
    while (present := here()).total() < expected:
        waited, came = clock.monotonic() - began, _came(present, expected)
        if most and waited >= most:
            tell(None)
            print_line(f"gave up waiting after {most:.0f} s: {came}; there is no run")
            return False
        if waited >= WORTH_A_WORD:
            if not said and how:
                print_line(f"{came}; {how}")
            said = True
            tell(f"waiting: {came}")
        sleep(_TURN)
    if said:
        tell(None)
        print_line(_came(present, expected))
    return True


def _came(present: Counter[str], expected: int) -> str:
    """`2 of 3 workers are here (1 on box-a, 1 on box-b)`."""
    count = f"{present.total()} of {things(expected, 'worker')} {'is' if present.total() == 1 else 'are'} here"
    if not present:
        return count
    where = [f"on {host}" if len(present) == 1 else f"{n} on {host}" for host, n in sorted(present.items())]
    return f"{count} ({listed(where)})"


def join_command(bound_host: str, port: int) -> str:
    """Return the command that starts a worker; the master's host name stands in it if others can reach it."""
    host = socket.gethostname() if bound_host in _ALL_INTERFACES else bound_host
    return f"probe worker --master-host {host}{'' if port == DEFAULT_PORT else f' --master-port {port}'}"


def wait_for_master(host: str, port: int, sleep: Sleep) -> bool:
    """Wait until somebody listens there; False after five minutes in vain. OSError where the name leads nowhere."""
    began, last = clock.monotonic(), 0.0
    while not _listens(host, port):
        waited = clock.monotonic() - began
        if waited >= _PATIENCE:
            print_line(f"no master at {host}:{port} within {waited:.0f} s: this worker gives up")
            return False
        if not last and waited >= WORTH_A_WORD:
            print_line(
                f"no master at {host}:{port} yet; this worker waits for one, {_PATIENCE / 60:.0f} minutes at most"
            )
            last = waited
        elif last and waited - last >= _AGAIN:
            print_line(f"still no master at {host}:{port} after {waited:.0f} s")
            last = waited
        sleep(_TURN)
    return True


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def outlive_workers(runner: Any, has_begun: Callable[[], bool]) -> None:
    """Locust's headless master ends with its last worker, also where it waits for the first run: then it only waits."""
    take = runner.handle_message

    def handle(client_id: str, message: Any) -> None:
        if message.type == "quit" and not has_begun():
            runner.clients.pop(message.node_id, None)
        else:
            take(client_id, message)

    runner.handle_message = handle

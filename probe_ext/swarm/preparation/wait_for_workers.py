"""Wait before a run, with a line now and then: a master for its workers, a worker for its master."""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from probe_ext.measure import clock
from probe_ext.swarm.terminal.console import print_line
from probe_ext.verdict.phrasing.plurals import listed, things

DEFAULT_PORT = 5557  # Locust's own, for workers
_QUIET_PERIOD_S = 3.0  # most waits are over by then, and get no line
_REPEAT_AFTER_S = 60.0
_POLL_S = 0.5
_MASTER_TIMEOUT_S = 300.0  # as in Locust's own worker
_ALL_INTERFACES = {"*", "", "0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to

Sleep = Callable[[float], object]


def wait_for_workers(
    present: Callable[[], Counter[str]],
    expected: int,
    limit: float,
    hint: str | None,
    tell: Callable[[str | None], None],
    sleep: Sleep,
) -> bool:
    """Wait until enough workers have connected; False after `limit` seconds (0: no limit).

    `present` counts workers by host; `hint` says how to start one; `tell` shows the wait, and gets None at its end.
    """
    began, announced = clock.monotonic(), False
    while (workers := present()).total() < expected:
        waited, status = clock.monotonic() - began, _status(workers, expected)
        if limit and waited >= limit:
            tell(None)
            print_line(f"no run: {status} after {limit:.0f} s")
            return False
        if waited >= _QUIET_PERIOD_S:
            if not announced and hint:
                print_line(f"{status}; {hint}")
            announced = True
            tell(f"waiting: {status}")
        sleep(_POLL_S)
    if announced:
        tell(None)
        print_line(_status(workers, expected))
    return True


def _status(workers: Counter[str], expected: int) -> str:
    """Return `2 of 3 workers connected (1 on box-a, 1 on box-b)`."""
    count = f"{workers.total()} of {things(expected, 'worker')} connected"
    if not workers:
        return count
    hosts = [f"on {host}" if len(workers) == 1 else f"{n} on {host}" for host, n in sorted(workers.items())]
    return f"{count} ({listed(hosts)})"


def join_command(bound_host: str, port: int) -> str:
    """Return the command that starts a worker, on another machine if the master listens on all interfaces."""
    host = socket.gethostname() if bound_host in _ALL_INTERFACES else bound_host
    return f"probe worker --master-host {host}{'' if port == DEFAULT_PORT else f' --master-port {port}'}"


def wait_for_master(host: str, port: int, sleep: Sleep) -> bool:
    """Wait until the master listens; False after five minutes."""
    began, last = clock.monotonic(), 0.0
    while not _listens(host, port):
        waited = clock.monotonic() - began
        if waited >= _MASTER_TIMEOUT_S:
            print_line(f"no master at {host}:{port} after {waited:.0f} s; giving up")
            return False
        if not last and waited >= _QUIET_PERIOD_S:
            print_line(f"no master at {host}:{port} yet; waiting up to {_MASTER_TIMEOUT_S / 60:.0f} minutes")
            last = waited
        elif last and waited - last >= _REPEAT_AFTER_S:
            print_line(f"still no master at {host}:{port} after {waited:.0f} s")
            last = waited
        sleep(_POLL_S)
    return True


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True


def outlive_workers(runner: Any, has_begun: Callable[[], bool]) -> None:
    """Keep a headless master waiting if its last worker quits before the run; Locust would end it."""
    handle_message = runner.handle_message

    def handle(client_id: str, message: Any) -> None:
        if message.type == "quit" and not has_begun():
            runner.clients.pop(message.node_id, None)
        else:
            handle_message(client_id, message)

    runner.handle_message = handle

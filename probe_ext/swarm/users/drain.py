"""Drain a process that runs users, at the end of a run: no new request, and replies in flight may finish.

Locust alone would lose the tail: a headless master waits half a second for the last reports, and a reply whose user is
killed leaves no trace.
"""

from collections.abc import Callable

from probe_ext.measure import clock
from probe_ext.swarm.users.recorder import Recorder

_POLL_S = 0.05
_ABORT_TIMEOUT_S = 2.0  # for aborted replies to end


def drain(recorder: Recorder, limit: float, sleep: Callable[[float], None], force_stop: Callable[[], bool]) -> None:
    """Let replies in flight finish for up to `limit` seconds, or until `force_stop()`; then abort the rest."""
    recorder.ending = True
    start = clock.monotonic()
    while recorder.in_flight and clock.monotonic() - start < limit and not force_stop():
        sleep(_POLL_S)
    recorder.abort_all()
    aborted = clock.monotonic()
    while recorder.in_flight and clock.monotonic() - aborted < _ABORT_TIMEOUT_S:
        sleep(_POLL_S)
    recorder.flush()

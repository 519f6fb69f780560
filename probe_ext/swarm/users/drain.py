"""The end of a run in a process that runs users: nobody starts anew, what is in flight may finish, then all is told.

Locust alone would lose the tail: headless, its master waits half a second for last words, and a reply whose user is
taken away leaves no trace.
"""

from collections.abc import Callable

from probe_ext.measure import clock
from probe_ext.swarm.users.recorder import Recorder

_TICK = 0.05
_CUT_GRACE = 2.0
"""seconds that replies may take to end after they were cut"""


def drain(recorder: Recorder, limit: float, sleep: Callable[[float], None], force_stop: Callable[[], bool]) -> None:
    """Let replies in flight finish for at most `limit` seconds, then end them; returns when none is left.

    `force_stop` is asked again and again: True ends the patience at once.
    """
    recorder.ending = True
    start = clock.monotonic()
    while recorder.in_flight and clock.monotonic() - start < limit and not force_stop():
        sleep(_TICK)
    recorder.cut_all()
    cut = clock.monotonic()
    while recorder.in_flight and clock.monotonic() - cut < _CUT_GRACE:
        sleep(_TICK)
    recorder.flush()

"""Does the server keep connections, and for how long while they are idle?"""

from dataclasses import dataclass, field
from typing import Any

import gevent

from probe_ext.access.sender import Answered, Sender
from probe_ext.client.wire.connection import Connection
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.measure import clock
from probe_ext.verdict.phrasing import formats

_POLL_S = 0.1
_SHORT_S = 1.0
"""an idle limit at which even quick users reconnect for each request"""


@dataclass
class IdleWatch:
    """Watches one idle connection in a greenlet of its own, beside other checks."""

    connection: Connection
    seconds: float
    began: float = field(default_factory=clock.monotonic)
    closed_after: float | None = None
    """None while it is open"""
    _greenlet: Any = None

    def start(self) -> "IdleWatch":
        """Begin to watch."""
        self._greenlet = gevent.spawn(self._watch)
        return self

    def _watch(self) -> None:
        while clock.monotonic() - self.began < self.seconds:
            if not self.connection.usable():
                self.closed_after = clock.monotonic() - self.began
                return
            gevent.sleep(_POLL_S)

    def wait(self) -> None:
        """Wait until the connection is closed, or has been watched long enough."""
        gevent.joinall([self._greenlet], raise_error=True)

    def stop(self) -> None:
        """Stop watching, and close the connection."""
        gevent.kill(self._greenlet)
        self.connection.close()


def watch_idle(sender: Sender, seconds: float) -> IdleWatch | None:
    """Take a connection from a sender that has just received its reply, and watch it; None if none was kept."""
    kept = next((connection for connection in sender.take_idle() if connection.usable()), None)
    return None if kept is None else IdleWatch(kept, seconds).start()


def keep_alive(samples: list[Answered], watch: IdleWatch | None) -> CheckResult:
    """Judge whether connections were kept between the samples, and for how long."""
    answered = [sample for sample in samples if sample.ok]
    if not answered:
        return CheckResult("keep_alive", Status.UNKNOWN, "No reply to judge.")
    # A server may close a connection a moment after the reply: whether the next request could use it is what counts.
    kept = any(sample.reused for sample in answered[1:]) if len(answered) > 1 else answered[0].kept
    if not kept:
        cost = next((sample.connect for sample in answered if sample.connect is not None), None)
        again = f"every request connects again ({formats.seconds(cost)})"
        evidence = f"The server closes the connection after each reply: {again}."
        advice = "Switch keep-alive on in the server or the proxy (nginx: `keepalive_timeout`)."
        return CheckResult("keep_alive", Status.WARN, evidence, advice, {"kept": False})
    if watch is None or (watch.closed_after is None and clock.monotonic() - watch.began < _SHORT_S):
        return CheckResult("keep_alive", Status.OK, "Connections are kept between requests.", None, {"kept": True})
    idle = watch.closed_after
    watched = min(watch.seconds, clock.monotonic() - watch.began)
    figures = {"kept": True, "idle_limit_seconds": idle, "watched_seconds": watched}
    if idle is None:
        evidence = f"Connections are kept; an idle one was still open after {formats.seconds(watched)}."
        return CheckResult("keep_alive", Status.OK, evidence, None, figures)
    evidence = (
        f"Connections are kept, but closed when idle for {formats.seconds(idle)}: users who pause longer reconnect."
    )
    if idle >= _SHORT_S:
        return CheckResult("keep_alive", Status.OK, evidence, None, figures)
    advice = "Raise the idle limit (vLLM: VLLM_HTTP_TIMEOUT_KEEP_ALIVE; nginx: `keepalive_timeout`)."
    return CheckResult("keep_alive", Status.WARN, evidence, advice, figures)

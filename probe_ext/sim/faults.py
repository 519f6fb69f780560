"""Injected faults: ``KIND[:SHARE][@TOKENS][/SECONDS]``.

====================  ==================================================================================
``503``               the request is refused with HTTP 503
``error``             an error event inside HTTP 200, then ``[DONE]``, as vLLM does when its engine dies
``cut``               the connection is dropped mid-stream
``truncate``          ``[DONE]`` without a finish reason
``stall``             the stream goes silent but stays open; it resumes after SECONDS, or never if omitted
``restart``           open streams get the error event, counters reset; SECONDS of HTTP 503 follow
====================  ==================================================================================

SHARE is the fraction of requests affected (default 1); TOKENS is how many tokens are sent before the fault occurs
(default 5; 0: before the first token). On the command line: ``--fault stall:0.01@10/30``; in a request body:
``"probe_fault": "stall@10/30"``. On the command line ``restart`` happens once, and SHARE is the uptime in seconds at
which it happens: ``restart:60/5``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

KINDS = ("503", "error", "cut", "truncate", "stall", "restart")
_FORM = re.compile(r"(?P<kind>[a-z0-9]+)(:(?P<share>[0-9.]+))?(@(?P<after_tokens>[0-9]+))?(/(?P<seconds>[0-9.]+))?")


class FaultError(ValueError):
    """An invalid fault; the message is one line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``share`` is a fraction of requests (restart: seconds of uptime); ``seconds`` None means forever."""

    kind: str
    share: float = 1.0
    after_tokens: int = 5
    seconds: float | None = None


def parse_fault(text: str) -> Fault:
    """Parse ``KIND[:SHARE][@TOKENS][/SECONDS]``. Raises :class:`FaultError`."""
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise FaultError(
            f"fault: {text!r} is not of the form KIND[:SHARE][@TOKENS][/SECONDS], with KIND one of {', '.join(KINDS)}"
        )
    try:
        share = float(match["share"] or 1)
        seconds = float(match["seconds"]) if match["seconds"] else None
    except ValueError:
        raise FaultError(f"fault: {text!r} contains an invalid number") from None
    if match["kind"] != "restart" and share > 1:
        raise FaultError(f"fault: share {share} in {text!r} must not exceed 1")
    return Fault(match["kind"], share, int(match["after_tokens"] or 5), seconds)


def draw_fault(faults: Sequence[Fault], seed: int, number: int) -> Fault | None:
    """Return the fault that hits request ``number``, if any; reproducible by seed."""
    rng = Random(f"{seed}/fault/{number}")  # noqa: S311 - a simulation, not a secret
    return next((f for f in faults if f.kind != "restart" and rng.random() < f.share), None)

"""Faults on request: ``KIND[:SHARE][@TOKENS][/SECONDS]``.

====================  ==================================================================================
``503``               the request is refused with HTTP 503
``error``             an error event inside HTTP 200, then ``[DONE]``, as vLLM does when its engine dies
``cut``               the connection is dropped in mid-stream
``truncate``          ``[DONE]`` without a finish reason
``stall``             silence, the stream open; it resumes after SECONDS, never if none are given
``restart``           open streams get the error event, counters start again; SECONDS of HTTP 503 follow
====================  ==================================================================================

SHARE is the share of requests it strikes (1 if left out); TOKENS how many are sent before it strikes (5; 0 strikes
before the first). On the command line ``--fault stall:0.01@10/30``, in a body ``"probe_fault": "stall@10/30"``.
``restart`` on the command line strikes once, SHARE seconds of uptime being its moment: ``restart:60/5``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

KINDS = ("503", "error", "cut", "truncate", "stall", "restart")
_FORM = re.compile(r"(?P<kind>[a-z0-9]+)(:(?P<share>[0-9.]+))?(@(?P<after>[0-9]+))?(/(?P<seconds>[0-9.]+))?")


class FaultError(ValueError):
    """A fault that cannot be read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, for which share of requests, after how many tokens, for how many seconds (None: for good)."""

    kind: str
    share: float = 1.0
    after: int = 5
    seconds: float | None = None


def parse_fault(text: str) -> Fault:
    """Read ``KIND[:SHARE][@TOKENS][/SECONDS]``. Raises :class:`FaultError`."""
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in KINDS:
        raise FaultError(f"fault: {text!r} is not KIND[:SHARE][@TOKENS][/SECONDS] with KIND of {', '.join(KINDS)}")
    try:
        share = float(match["share"] or 1)
        seconds = float(match["seconds"]) if match["seconds"] else None
    except ValueError:
        raise FaultError(f"fault: {text!r} holds a number that cannot be read") from None
    if match["kind"] != "restart" and share > 1:
        raise FaultError(f"fault: share {share} in {text!r} is above 1")
    return Fault(match["kind"], share, int(match["after"] or 5), seconds)


def draw_fault(faults: Sequence[Fault], seed: int, number: int) -> Fault | None:
    """The fault that strikes request ``number``, if any: the same for the same seed."""
    rng = Random(f"{seed}/fault/{number}")  # noqa: S311 - a simulation, no secret
    return next((f for f in faults if f.kind != "restart" and rng.random() < f.share), None)

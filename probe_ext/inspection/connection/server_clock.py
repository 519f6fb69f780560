"""Do the clocks of server and load generator agree, by the `Date` of a response?

Only matters where times of both are compared: logs, a Prometheus beside the run.
"""

from collections.abc import Sequence
from email.utils import parsedate_to_datetime

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.measure import clock
from probe_ext.verdict.phrasing import formats

_OLD_S = 2.0
"""age that a correct header may have: it holds whole seconds, and servers renew it once a second"""
_TOO_FAR_S = 3.0


def server_clock(samples: Sequence[Answered]) -> CheckResult:
    """Compare the newest `Date` header with this machine's clock at its arrival."""
    dated = [(s.headers["date"], s.headers_at) for s in samples if "date" in s.headers and s.headers_at is not None]
    if not dated:
        return CheckResult("clock", Status.UNKNOWN, "Responses have no date, so the server's clock is unknown.")
    text, arrived = dated[-1]
    monotonic, wall_ns = clock.read_clock_pair()
    here = wall_ns / 1e9 - (monotonic - arrived)
    try:
        there = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return CheckResult("clock", Status.UNKNOWN, "The date of the response cannot be parsed.")
    ahead = max(0.0, there - here) + min(0.0, there + _OLD_S - here)
    figures = {"server_ahead_seconds": ahead}
    if abs(ahead) < _TOO_FAR_S:
        return CheckResult(
            "clock",
            Status.OK,
            "Server and load generator agree, as far as a date of whole seconds shows.",
            None,
            figures,
        )
    side = "ahead of" if ahead > 0 else "behind"
    evidence = f"The server's clock is {formats.span(abs(ahead))} {side} this machine's."
    return CheckResult(
        "clock", Status.WARN, evidence, "Synchronise both clocks (NTP): logs and Prometheus are off by this.", figures
    )

"""How long does a packet take to the server and back? Each first token contains one round trip."""

from statistics import median

from probe_ext.access.endpoint import Endpoint
from probe_ext.client.wire.connection import ConnectError
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.verdict.phrasing import formats

_CONNECTIONS = 5
_FELT_S = 0.1
"""a tenth of the wait for the first token that the default profile allows"""


def round_trip(endpoint: Endpoint, seconds: float) -> CheckResult:
    """Connect a few times, each within `seconds`; a TCP handshake takes one round trip."""
    times = []
    for _ in range(_CONNECTIONS):
        connection = endpoint.connection()
        try:
            setup = connection.open(seconds)
        except ConnectError as error:
            return CheckResult("round_trip", Status.UNKNOWN, f"No connection: {error}.")
        finally:
            connection.close()
        times.append(setup.connect - setup.resolve)
    middle = median(times)
    figures = {"median_seconds": middle, "min_seconds": min(times), "max_seconds": max(times)}
    spread = f"{formats.seconds(middle)} (median of {len(times)}, {formats.seconds(min(times))} to "
    evidence = f"{spread}{formats.seconds(max(times))})."
    if middle < _FELT_S:
        return CheckResult("round_trip", Status.OK, evidence, None, figures)
    far = f"{evidence} Every first token contains it."
    return CheckResult(
        "round_trip", Status.WARN, far, "Measure from where your users are, or nearer to the server.", figures
    )

"""Wait for a server that is not up yet, as after a restart: until it lists its models, or answers that it does not."""

from collections.abc import Callable

from probe_ext.access.known_server import KnownServer
from probe_ext.access.start_problem import STARTING
from probe_ext.measure import clock
from probe_ext.target.control.scheme_check import SPEAKS_TLS
from probe_ext.tls_trust import CLOSED
from probe_ext.verdict.phrasing import formats

_POLL_S = 1.0


def is_up(server: KnownServer) -> bool:
    """Whether requests can be expected to reach a model."""
    why = server.models_error
    if why is None:
        return server.model is not None
    return why[:3].isdigit() and why[:3] not in STARTING and server.model is not None


def wait_for(
    look: Callable[[], KnownServer],
    seconds: float,
    tell: Callable[[str | None], None],
    sleep: Callable[[float], object],
) -> KnownServer:
    """Look at a server until it is up or the time is over; return the last look."""
    began = clock.monotonic()
    while True:
        server = look()
        waited = clock.monotonic() - began
        if is_up(server) or _refuses(server) or waited >= seconds:
            return server
        tell(f"waiting for {server.url} ({server.models_error or 'no models yet'}), {formats.span(waited)}")
        sleep(min(_POLL_S, max(0.0, seconds - waited)))


def _refuses(server: KnownServer) -> bool:
    """Whether waiting is in vain: the key is missing or wrong, or the URL's scheme is."""
    why = server.models_error or ""
    return why.startswith(("401", "403", SPEAKS_TLS, "TLS: ")) and why != CLOSED

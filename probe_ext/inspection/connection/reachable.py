"""Does the name resolve, does each address accept a connection, does TLS work, does HTTP answer?"""

from dataclasses import dataclass

import gevent
import gevent.socket

from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import KnownServer
from probe_ext.client.wire.address import Target
from probe_ext.client.wire.connection import ConnectError
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.measure import clock
from probe_ext.measure.safe_text import safe_text
from probe_ext.target.control.scheme_check import SPEAKS_TLS
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import listed, things

_MAX_ADDRESSES = 8
_SILENT = {"timed out", "invalid or incomplete HTTP", "the connection broke", "response is incomplete"}
"""failures of a port that accepts connections, but does not answer HTTP"""
_PLAIN_PORT = ("does not speak TLS", "WRONG_VERSION_NUMBER", "record layer failure", "wrong version number")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address that was tried."""

    address: str
    seconds: float | None
    """None if there was no connection"""
    error: str | None

    @property
    def shown(self) -> str:
        """The address with what became of it."""
        return f"{self.address}: {self.error or formats.seconds(self.seconds)}"


def reachable(endpoint: Endpoint, server: KnownServer, seconds: float) -> CheckResult:
    """Try every address of the server, then the connection that a user would make; each within `seconds`."""
    target = server.target
    try:
        addresses = resolve(target, seconds)
    except OSError as error:
        why = error.strerror or str(error)
        return CheckResult("reachable", Status.PROBLEM, f"{target.host}: {why}.", "Check the host name in the URL.")
    attempts = _connect_to_all(addresses, target.port, seconds)
    figures = {"addresses": len(attempts), "connected": sum(attempt.error is None for attempt in attempts)}
    tried = listed([attempt.shown for attempt in attempts])
    if not figures["connected"]:
        evidence = f"No connection to port {target.port}: {tried}."
        advice = "Is the server running, on this port, on an address that others reach (not only 127.0.0.1)?"
        return CheckResult("reachable", Status.PROBLEM, evidence, advice, figures)
    failure = _failure(endpoint, server, seconds)
    if failure is not None:
        return CheckResult("reachable", Status.PROBLEM, failure[0], failure[1], figures)
    slow = [
        attempt for attempt in attempts if attempt.error and attempt.seconds is None and "refused" not in attempt.error
    ]
    names = f"{things(len(attempts), 'address', 'addresses')} ({tried})"
    if slow:
        evidence = f"{names}: some do not answer, and clients that try those first have to wait."
        return CheckResult(
            "reachable", Status.WARN, evidence, "Remove the dead address from the name's records.", figures
        )
    return CheckResult("reachable", Status.OK, f"{names}{', with TLS' if target.tls else ''}.", None, figures)


def resolve(target: Target, seconds: float) -> list[tuple[int, str]]:
    """Return the families and addresses of a name, each once. OSError if there are none in time."""
    with gevent.Timeout(seconds, TimeoutError(f"not resolved within {seconds:g} s")):
        found = gevent.socket.getaddrinfo(target.host, target.port, 0, gevent.socket.SOCK_STREAM)
    return list(dict.fromkeys((int(family), str(where[0])) for family, _, _, _, where in found))[:_MAX_ADDRESSES]


def _connect_to_all(addresses: list[tuple[int, str]], port: int, seconds: float) -> list[Attempt]:
    greenlets = [gevent.spawn(_connect, family, address, port, seconds) for family, address in addresses]
    gevent.joinall(greenlets, raise_error=True)
    return [greenlet.get() for greenlet in greenlets]


def _connect(family: int, address: str, port: int, seconds: float) -> Attempt:
    began = clock.monotonic()
    sock = gevent.socket.socket(family, gevent.socket.SOCK_STREAM)
    sock.settimeout(seconds)
    try:
        sock.connect((address, port))
        return Attempt(address, clock.monotonic() - began, None)
    except TimeoutError:
        return Attempt(address, None, f"no answer within {seconds:g} s")
    except OSError as error:
        return Attempt(address, None, (error.strerror or str(error)).lower())
    finally:
        sock.close()


def _failure(endpoint: Endpoint, server: KnownServer, seconds: float) -> tuple[str, str] | None:
    """Connect as a user does; return what is wrong and how to fix it, None if nothing is."""
    target, connection = server.target, endpoint.connection()
    try:
        connection.open(seconds)
    except ConnectError as error:
        return tls_failure(target, str(error))
    finally:
        connection.close()
    if (server.models_error or "").startswith(SPEAKS_TLS):
        return "The port speaks TLS, not plain HTTP.", f"Use https:// ({target.url.replace('http://', 'https://')})."
    if server.models_error in _SILENT and (server.metrics_error in _SILENT):
        silent = f"The port accepts connections, but does not answer HTTP: {server.models_error}."
        return silent, "Is the server still starting, or is this another service's port?"
    return None


def tls_failure(target: Target, why: str) -> tuple[str, str]:
    """Say what a failed connection means, and how to fix it."""
    shown = safe_text(why)
    if target.tls and any(sign in why for sign in _PLAIN_PORT):
        return f"The port speaks plain HTTP, not TLS ({shown}).", "Use http:// in the URL."
    if "CERTIFICATE_VERIFY_FAILED" in why or "server's certificate" in why:
        advice = "Name the authority that signed it (--tls-ca, SSL_CERT_FILE), or skip the verification (--insecure)."
        return f"The certificate is not trusted: {shown}.", advice
    return f"No connection: {shown}.", "Check what is between this machine and the server."

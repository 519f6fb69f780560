"""Does a port speak the other scheme, TLS instead of plain HTTP or the reverse? Asked after a request failed."""

import socket
import ssl
from urllib.parse import urlsplit

from probe_ext.target.control.call_result import Failed
from probe_ext.target.control.urls import shown

SPEAKS_TLS = "the port speaks TLS"
_SPEAKS_HTTP = "the port speaks plain HTTP"
_MAX_HEAD_BYTES = 64
_STATUS_BYTES = len("HTTP/1.1 400")
_BAD_REQUEST = 400
"""what a TLS port of nginx, Apache, Caddy or Go says to plain HTTP"""
_SAME_WITH_TLS = (
    *("connection refused", "unknown host name", "timed out", "redirect", "too many", "response exceeds"),
    *("not a URL", "invalid characters"),
)
"""Beginnings of failures that say nothing about TLS."""
_TLS_BROKE = ("TLS: the server ended the connection", "TLS failed", "connection reset", "the connection broke")


def may_be_the_scheme(url: str, failed: Failed) -> bool:
    """Whether a request may have failed because the port speaks the other scheme.

    That is so if plain HTTP got a 400 or nothing that is HTTP, or if TLS broke off without a reason.
    """
    if url.lower().startswith("https:"):
        return failed.status is None and failed.why.startswith(_TLS_BROKE)
    if failed.status is not None:
        return failed.status == _BAD_REQUEST
    return not failed.why.startswith(_SAME_WITH_TLS)


def scheme_advice(origin: str, timeout: float) -> str | None:
    """Return `the port speaks TLS: try https://…`, or the reverse; None where the scheme of `origin` is right."""
    scheme = better_scheme(origin, timeout)
    if scheme is None:
        return None
    speaks = SPEAKS_TLS if scheme == "https" else _SPEAKS_HTTP
    return f"{speaks}: try {scheme}://{shown(origin).partition('://')[2]}"


def better_scheme(url: str, timeout: float) -> str | None:
    """Return `https` or `http` if the port of `url` speaks that instead of the URL's own scheme; None if not."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=timeout) as sock:
            if parts.scheme == "https":
                return "http" if _speaks_http(sock, parts.hostname or "") else None
            return "https" if _speaks_tls(sock, parts.hostname or "") else None
    except (OSError, ValueError):
        return None


def _speaks_tls(sock: socket.socket, host: str) -> bool:
    """A handshake that fails over a certificate or an alert was one with TLS; garbage was not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(sock, server_hostname=host):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")


def _speaks_http(sock: socket.socket, host: str) -> bool:
    """A TLS port may answer plain HTTP, too, but only with a 400."""
    sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "ignore"))
    head = b""
    while len(head) < _STATUS_BYTES and (part := sock.recv(_MAX_HEAD_BYTES)):
        head += part
    return head.startswith(b"HTTP/") and head[:_STATUS_BYTES].split(b" ")[-1] != b"400"

"""Does a port speak the other scheme, TLS instead of plain HTTP or the reverse? Asked after a request failed."""

import socket
import ssl
from urllib.parse import urlsplit

_MAX_HEAD_BYTES = 64


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
    sock.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("ascii", "ignore"))
    head = b""
    while len(head) < 5 and (part := sock.recv(_MAX_HEAD_BYTES)):
        head += part
    return head.startswith(b"HTTP/")

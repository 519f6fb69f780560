"""Refuse requests to the web UI that another website makes in the operator's browser, on Locust's own routes too.

A browser sends requests of any website to any address that it can reach, loopback included, with the UI's cookies. Such
a request names its origin (`Origin`, `Sec-Fetch-Site`), unless the website has pointed a name of its own at the UI's
address (DNS rebinding): then it names itself as `Host`. So both must be known. Tools outside browsers send neither
header, and are not concerned.
"""

import ipaddress
import os
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Flask, Response, request

from probe_ext.settings.secrets import HOSTS_VARIABLE

_READ_ONLY = {"GET", "HEAD", "OPTIONS"}
_EMBEDDED = {"iframe", "frame", "object", "embed", "fencedframe"}


def guard_requests(app: Flask, *names: str | None) -> None:
    """Check every request of the app before anything else does. `names`: hosts or URLs under which it is known."""
    own = {socket.gethostname(), socket.getfqdn(), *os.environ.get(HOSTS_VARIABLE, "").split(",")}
    known = {_host_name(name) for name in (*own, *names) if name and name.strip()}

    def check() -> Response | None:
        if not is_known_host(_host_name(request.host), known):
            return _refused(f"unknown host: add it to {HOSTS_VARIABLE} if this UI is meant to be reached by it")
        if is_foreign(request.method, request.host, request.headers.get):
            return _refused("cross-origin request refused")
        return None

    app.before_request_funcs.setdefault(None, []).insert(0, check)
    app.after_request(_forbid_frames)


def is_known_host(name: str, known: set[str]) -> bool:
    """Whether no other website can have this name: an address, a name without a dot, loopback, or a known one."""
    if name in known or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(name) and "." not in name
    return True


def is_foreign(method: str, host: str, header: Callable[[str], str | None]) -> bool:
    """Whether a browser sent this request for another website. Following a link to a page is allowed."""
    origin, site = header("Origin"), header("Sec-Fetch-Site")
    if method not in _READ_ONLY:
        origin = origin or header("Referer")
    if origin and site != "same-origin" and urlsplit(origin).netloc != host:
        return True
    if site in {None, "same-origin", "none"}:
        return False
    embedded = header("Sec-Fetch-Dest") in _EMBEDDED
    return method not in _READ_ONLY or header("Sec-Fetch-Mode") != "navigate" or embedded


def _forbid_frames(response: Response) -> Response:
    """Keep other websites from showing this UI in a frame, where they could place its Start button under a click."""
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _host_name(host: str) -> str:
    """Return the lower-case name in `host`, `host:port` or a URL."""
    text = host.strip()
    try:
        name = urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        return ""
    return (name or "").rstrip(".")


def _refused(why: str) -> Response:
    return Response(why, status=403, mimetype="text/plain")

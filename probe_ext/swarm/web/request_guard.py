"""Refuse requests to the web UI that another website makes in the operator's browser, on Locust's own routes too.

See `page.browser_guard` for how such a request is told.
"""

import os
import socket

from flask import Flask, Response, request

from probe_ext.page.browser_guard import host_name, is_foreign, is_known_host
from probe_ext.settings.secrets import HOSTS_VARIABLE

MAX_BODY_BYTES = 1024 * 1024  # of a request, which is kept in memory or, as a file, on the disk, even before a login


def guard_requests(app: Flask, *names: str | None) -> None:
    """Check every request of the app before anything else does. `names`: hosts or URLs under which it is known."""
    own = {socket.gethostname(), socket.getfqdn(), *os.environ.get(HOSTS_VARIABLE, "").split(",")}
    known = {host_name(name) for name in (*own, *names) if name and name.strip()}
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    def check() -> Response | None:
        if not is_known_host(host_name(request.host), known):
            return _refused(f"unknown host: add it to {HOSTS_VARIABLE} if this UI is meant to be reached by it")
        if is_foreign(request.method, request.host, request.headers.get):
            return _refused("cross-origin request refused")
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return Response("request too large", status=413, mimetype="text/plain")
        return None

    app.before_request_funcs.setdefault(None, []).insert(0, check)
    app.after_request(_forbid_frames)


def _forbid_frames(response: Response) -> Response:
    """Keep other websites from showing this UI in a frame, where they could place its Start button under a click."""
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Content-Security-Policy", "frame-ancestors 'none'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _refused(why: str) -> Response:
    return Response(why, status=403, mimetype="text/plain")

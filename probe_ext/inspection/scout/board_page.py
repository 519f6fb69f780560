"""The leaderboard as a page of this machine: no scripts, nothing from elsewhere; it asks for itself anew.

`/?still` is the same page that does not, for whoever reads it slowly or aloud.

It listens on loopback only. Requests of other websites in the operator's browser are refused as in Locust's web UI.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gevent.pywsgi import WSGIServer

from probe_ext.measure.safe_text import all_printable
from probe_ext.page.browser_guard import host_name, is_foreign, is_known_host
from probe_ext.page.environment import environment, style

LOOPBACK = "127.0.0.1"
REFRESH_S = 5
_TEMPLATES = Path(__file__).with_name("templates")
_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]

Start = Callable[[str, list[tuple[str, str]]], object]


class BoardPage:
    """Serves the page until it is stopped. OSError if the port is not free."""

    def __init__(self, port: int, view: Callable[[], Mapping[str, Any]], data: Callable[[], Mapping[str, Any]]) -> None:
        """`view`: what the template needs; `data`: the JSON document."""
        self._view, self._data = view, data
        self._server = WSGIServer((LOOPBACK, port), self._answer, log=None, error_log=None)
        self._server.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{LOOPBACK}:{self._server.server_port}/"

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop(timeout=1)

    def _answer(self, request: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        status, kind, body = self._route(request)
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS])
        return [body]

    def _route(self, request: Mapping[str, Any]) -> tuple[str, str, bytes]:
        method, host = str(request["REQUEST_METHOD"]), str(request.get("HTTP_HOST", ""))

        def header(name: str) -> str | None:
            return request.get("HTTP_" + name.upper().replace("-", "_"))

        plain = "text/plain; charset=utf-8"
        if not is_known_host(host_name(host), set()) or is_foreign(method, host, header):
            return "403 Forbidden", plain, b"refused: unknown host or another website\n"
        if method not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", plain, b"this page only shows\n"
        if request["PATH_INFO"] == "/":
            still = request.get("QUERY_STRING") == "still"
            return "200 OK", "text/html; charset=utf-8", self._html(still=still).encode()
        if request["PATH_INFO"] == "/board.json":
            text = json.dumps(all_printable(dict(self._data())), ensure_ascii=False)
            return "200 OK", "application/json", text.encode()
        return "404 Not Found", plain, b"no such page\n"

    def _html(self, *, still: bool) -> str:
        page = environment(_TEMPLATES).get_template("leaderboard.html.j2")
        return page.render(style=style(), refresh=None if still else REFRESH_S, **self._view())

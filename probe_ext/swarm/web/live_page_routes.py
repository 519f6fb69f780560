"""Routes of the live page in Locust's web UI: read-only, below its base path and behind its login.

Only GET is answered. A file is addressed by a run's number in this process and a name from a fixed list, so no path
comes from outside. Other websites can neither frame nor read these pages.
"""

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, abort, redirect, request, send_file
from locust.env import Environment

from probe_ext.page.browser_guard import is_foreign
from probe_ext.page.environment import base_style
from probe_ext.run import directory
from probe_ext.swarm.web.live_json import PastRun, Span

PREFIX = "/probe"
_ANYWHERE = "0.0.0.0"  # noqa: S104 - for display only, as in Locust
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY = "frame-ancestors 'none'; sandbox allow-scripts allow-popups allow-downloads"
"""a report contains text from the server under test, so it must not act with the UI's login"""
_ASSETS = {
    "live.js": ("live_page", "text/javascript"),
    "live.css": ("live_page", "text/css"),
    "additions.js": ("locust_additions", "text/javascript"),
    "additions.css": ("locust_additions", "text/css"),
}
"""their folders and types"""
_OF_REPORT = frozenset({directory.CAPACITY_HTML, directory.CAPACITY_JSON, directory.SUMMARY, directory.JUNIT})
_WHY_NO_REPORT = {
    "none": "The report is made when the run has ended.",
    "making": "The report is being made.",
    "ready": "The report has been deleted.",
    "failed": "The report could not be made; the log says why.",
}
_NO_REPORT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="refresh" content="3"><link rel="icon" href="data:,"><title>No report yet</title>
<link rel="stylesheet" href="../../live.css"></head>
<body><main><h1>No report yet.</h1><p class="lede">{why}</p>
<p><a href="../../">Live view</a> · <a href="../../../">Locust's web UI</a></p></main></body></html>
"""
FILES = {
    directory.CAPACITY_HTML: "text/html",
    directory.CAPACITY_JSON: "application/json",
    directory.SUMMARY: "text/plain",
    directory.JUNIT: "application/xml",
    directory.MANIFEST: "application/json",
    directory.REQUESTS: "text/csv",
    directory.GAPS: "text/csv",
    directory.USERS: "text/csv",
    directory.SERVER: "text/csv",
    directory.SERVER_PROMETHEUS: "text/csv",
    directory.PROMETHEUS: "application/json",
    directory.SKETCHES: "application/jsonl",
}
"""the files of a run that are served, with their types"""


def address(options: Any) -> str:
    """Return the page's address, as Locust logs its own."""
    return f"{web_ui_address(options)}{PREFIX}/"


def web_ui_address(options: Any) -> str:
    """Return the address of Locust's web UI."""
    scheme = "https" if options.tls_cert and options.tls_key else "http"
    host = "" if options.web_host == "*" else options.web_host
    shown = None if host else options.web_host_display_name
    base = (options.web_base_path or "").rstrip("/")
    return f"{shown.rstrip('/') if shown else f'{scheme}://{host or _ANYWHERE}:{options.web_port}{base}'}"


def serve(environment: Environment, figures: Callable[[Span], dict[str, Any]], past: Sequence[PastRun]) -> None:
    """Add the page, its data and the runs' files to Locust's web UI."""
    base = environment.parsed_options.web_base_path or ""
    blueprint = Blueprint("probe_live", __name__, url_prefix=base.rstrip("/") + PREFIX)
    guarded: Callable[[Any], Any] = environment.web_ui.auth_required_if_enabled

    def page() -> Response:
        return Response(
            _asset("live_page", "live.html"), mimetype="text/html", headers={"Content-Security-Policy": _PAGE_POLICY}
        )

    def asset(name: str) -> Response:
        if name not in _ASSETS:
            abort(404)
        shared = base_style().encode() if name == "live.css" else b""
        folder, kind = _ASSETS[name]
        return Response(shared + _asset(folder, name), mimetype=kind)

    def live_json() -> Response:
        span: Span = "whole" if request.args.get("span") == "whole" else "recent"
        return Response(orjson.dumps(figures(span)), mimetype="application/json")

    def file(number: int, name: str) -> Response:
        return _file(past, number, name)

    def newest(name: str) -> Any:
        if not past:
            return _not_yet(name, "There is no run yet.")
        return redirect(f"../{past[-1].number}/{_known(name)}")  # relative: a proxy may change the path

    for rule, view_function in (
        ("/", page),
        ("/<name>", asset),
        ("/live.json", live_json),
        ("/runs/<int:number>/<name>", file),
        ("/runs/newest/<name>", newest),
    ):
        blueprint.add_url_rule(rule, view_function.__name__, guarded(view_function), methods=["GET"])
    restrict_to_same_origin(blueprint)
    environment.web_ui.app.register_blueprint(blueprint)


def restrict_to_same_origin(blueprint: Blueprint) -> None:
    """Keep other websites from reading or framing these pages."""
    blueprint.before_request(_refuse_cross_origin)
    blueprint.after_request(_add_security_headers)


def _refuse_cross_origin() -> Response | None:
    """Refuse requests from other websites, which Locust itself would answer."""
    if is_foreign(request.method, request.host, request.headers.get):
        return _plain("cross-origin request refused", 403)
    return None


def _add_security_headers(response: Response) -> Response:
    headers = response.headers
    headers["X-Frame-Options"] = "DENY"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cache-Control"] = "no-store"
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response


def _asset(folder: str, name: str) -> bytes:
    return resources.files("probe_ext.swarm.web").joinpath(folder, name).read_bytes()


def _known(name: str) -> str:
    if name not in FILES:
        abort(404)
    return name


def _file(past: Sequence[PastRun], number: int, name: str) -> Response:
    """Return a file of a run of this process."""
    run = next((run for run in past if run.number == number), None)
    if run is None:
        return _plain("No such run.", 404)
    path: Path = run.directory.resolve() / _known(name)
    if not path.is_file() or path.is_symlink():
        return _not_yet(name, _WHY_NO_REPORT[run.report] if name in _OF_REPORT else f"Run {number} has no {name}.")
    shown = name in {directory.CAPACITY_HTML, directory.SUMMARY}
    response = send_file(
        path, mimetype=FILES[name], as_attachment=not shown, download_name=f"{run.directory.name}-{name}", max_age=0
    )
    if name == directory.CAPACITY_HTML:
        response.headers["Content-Security-Policy"] = _REPORT_POLICY
    return response


def _not_yet(name: str, why: str) -> Response:
    """Say why a file is missing; of the report, on a page that looks again by itself."""
    if name != directory.CAPACITY_HTML:
        return _plain(why, 404)
    policy = {"Content-Security-Policy": _PAGE_POLICY}
    return Response(_NO_REPORT.format(why=escape(why)), status=404, mimetype="text/html", headers=policy)


def _plain(text: str, status: int) -> Response:
    return Response(text, status=status, mimetype="text/plain")

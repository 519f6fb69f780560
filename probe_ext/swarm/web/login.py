"""Login for Locust's web UI with `--web-login`: a password from the environment.

Locust provides the login page, but leaves the check to the locustfile. With a password in PROBE_WEB_PASSWORD every
locustfile has a working login; without it, a login set up by the locustfile is left alone.
"""

import hmac
import math
import os
import secrets
from typing import Any

import gevent
from flask import Blueprint, redirect, request, session
from flask_login import UserMixin, login_user
from locust.env import Environment

from probe_ext.measure import clock
from probe_ext.settings.secrets import WEB_PASSWORD_VARIABLE
from probe_ext.swarm.link.peer_networks import network_of
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.web.live_page_routes import restrict_to_same_origin

PATH = "/probe-login"
_FIRST_WAIT_S, _MAX_WAIT_S = 1.0, 30.0  # of one address after a wrong password; it doubles each time
_MAX_CLIENTS = 10_000


class _Operator(UserMixin):
    """The only user: whoever knows the password."""

    id = "operator"


class WebLogin:
    """Checks the password."""

    def __init__(self, environment: Environment, password: str) -> None:
        self._password = password.encode()
        self._attempts = Attempts()
        web = environment.web_ui
        self._base = (environment.parsed_options.web_base_path or "").rstrip("/")
        web.app.secret_key = secrets.token_bytes(32)  # logins end with the process
        tls = bool(getattr(environment.parsed_options, "tls_cert", None))
        web.app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_SECURE=tls)
        web.login_manager.user_loader(lambda name: _Operator() if name == _Operator.id else None)
        password_field = {"label": "Password", "name": "password", "is_secret": True, "is_required": True}
        form = {"inputs": [password_field], "callback_url": f".{PATH}", "submit_button_text": "Log in"}
        web.auth_args = {"title": "probe-ext", "custom_form": form}
        blueprint = Blueprint("probe_login", __name__)
        blueprint.add_url_rule(self._base + PATH, "check", self._check, methods=["POST"])
        restrict_to_same_origin(blueprint)
        web.app.register_blueprint(blueprint)

    def _check(self) -> Any:
        session["auth_error"] = None
        client, now = network_of(request.remote_addr), clock.monotonic()
        if (wait := self._attempts.wait(client, now)) > 0:
            return "too many login attempts from your address", 429, {"Retry-After": str(math.ceil(wait))}
        if hmac.compare_digest(request.form.get("password", "").encode(), self._password):
            self._attempts.forget(client)
            login_user(_Operator())
            return redirect(f"{self._base}/")
        self._attempts.note_failure(client, now)
        session["auth_error"] = "Wrong password."
        return redirect(f"{self._base}/login")


class Attempts:
    """Wrong passwords by client address. One address's attempts never delay another's."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[int, float]] = {}
        """number of wrong passwords, and when the next attempt is allowed; the latest client last"""

    def wait(self, client: str, now: float) -> float:
        """Return the seconds until this client may try again; 0 or less if it may now."""
        return self._failed[client][1] - now if client in self._failed else 0.0

    def note_failure(self, client: str, now: float) -> None:
        """Double the wait of this client."""
        failed = self._failed.pop(client, (0, 0.0))[0] + 1
        self._failed[client] = failed, now + min(_MAX_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(failed - 1, 10))
        while len(self._failed) > _MAX_CLIENTS:
            del self._failed[next(iter(self._failed))]

    def forget(self, client: str) -> None:
        """Forget this client's wrong passwords."""
        self._failed.pop(client, None)


def add_login(environment: Environment) -> None:
    """Add the login if `--web-login` is given and a password is set; warn if nobody can log in."""
    if not environment.parsed_options.web_login:
        return
    password = os.environ.get(WEB_PASSWORD_VARIABLE, "")
    if password:
        WebLogin(environment, password)
    else:
        gevent.spawn_later(1.0, _warn, environment)  # the locustfile may set up its own after us


def _warn(environment: Environment) -> None:
    if not environment.web_ui.app.secret_key:
        print_line(f"--web-login: nobody can log in; set {WEB_PASSWORD_VARIABLE}, or add a login to the locustfile")

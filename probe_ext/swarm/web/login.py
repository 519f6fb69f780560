"""The login of Locust's web UI, where `--web-login` asks for one: a password from the environment, checked here.

Locust has the login's page and guards its own with it, but leaves to the locustfile who is let in. With the password in
PROBE_WEB_PASSWORD any locustfile has a login; without it, one that a locustfile sets up itself is left alone.
"""

import hmac
import os
import secrets
from typing import Any

import gevent
from flask import Blueprint, redirect, request, session
from flask_login import UserMixin, login_user
from locust.env import Environment

from probe_ext.settings.secrets import WEB_PASSWORD_VARIABLE
from probe_ext.swarm.terminal.console import print_line
from probe_ext.swarm.web.live_page_routes import keep_to_itself

PATH = "/probe-login"
_WAIT = 1.0
"""seconds that a wrong password costs"""
_AT_ONCE = 4
"""tries that wait at the same time: more are sent away"""


class _Operator(UserMixin):
    """Whoever knows the password."""

    id = "operator"


class WebLogin:
    """Lets in who knows the password."""

    def __init__(self, environment: Environment, password: str) -> None:
        self._password = password.encode()
        self._trying = 0
        web = environment.web_ui
        self._base = (environment.parsed_options.web_base_path or "").rstrip("/")
        web.app.secret_key = secrets.token_bytes(32)  # who is logged in is asked again after a restart
        tls = bool(getattr(environment.parsed_options, "tls_cert", None))
        web.app.config.update(SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_SECURE=tls)
        web.login_manager.user_loader(lambda name: _Operator() if name == _Operator.id else None)
        password_field = {"label": "Password", "name": "password", "is_secret": True, "is_required": True}
        form = {"inputs": [password_field], "callback_url": f".{PATH}", "submit_button_text": "Log in"}
        web.auth_args = {"title": "probe-ext", "custom_form": form}
        ours = Blueprint("probe_login", __name__)
        ours.add_url_rule(self._base + PATH, "look", self._look, methods=["POST"])
        keep_to_itself(ours)
        web.app.register_blueprint(ours)

    def _look(self) -> Any:
        session["auth_error"] = None
        if self._trying >= _AT_ONCE:
            return "too many tries at once", 429
        if hmac.compare_digest(request.form.get("password", "").encode(), self._password):
            login_user(_Operator())
            return redirect(f"{self._base}/")
        self._trying += 1
        try:
            gevent.sleep(_WAIT)
        finally:
            self._trying -= 1
        session["auth_error"] = "This is not the password."
        return redirect(f"{self._base}/login")


def add_login(environment: Environment) -> None:
    """Where a login is asked for and a password is given; says so where nobody could log in."""
    if not environment.parsed_options.web_login:
        return
    password = os.environ.get(WEB_PASSWORD_VARIABLE, "")
    if password:
        WebLogin(environment, password)
    else:
        gevent.spawn_later(1.0, _warn, environment)  # a locustfile may set up its own just after us


def _warn(environment: Environment) -> None:
    if not environment.web_ui.app.secret_key:
        print_line(f"--web-login: nobody can log in: set {WEB_PASSWORD_VARIABLE}, or let the locustfile say who may")

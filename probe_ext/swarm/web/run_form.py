"""The web UI's start form and Stop button: a run that cannot work is refused before Locust reports success.

Locust's Stop does nothing on a master without users, so a run that is still being prepared is cancelled here.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from locust.argument_parser import ui_extra_args_dict
from locust.env import Environment
from locust.runners import MasterRunner

from probe_ext.load.level_plan import MAX_USERS
from probe_ext.measure.safe_text import safe_text
from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings import readers
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, read_options
from probe_ext.settings.request_extras import headers
from probe_ext.settings.secrets import API_KEY_VARIABLE, has_api_key
from probe_ext.swarm.link.bound_addresses import is_open
from probe_ext.swarm.locust_options import offered
from probe_ext.swarm.web.form_fields import as_form_value
from probe_ext.target.control.urls import base, same_place, shown

_LOCUST_FIELDS = frozenset(
    {"user_count", "spawn_rate", "host", "run_time", "profile", "user_classes", "shape_class", "num_users"}
)
_USER_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "user_class_name": lambda value: isinstance(value, str),
    "tasks": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "host": lambda value: value is None or isinstance(value, str),
    "fixed_count": lambda value: type(value) is int and 0 <= value <= MAX_USERS,
    "weight": lambda value: type(value) in {int, float} and 0 <= value <= MAX_USERS,
}
_EXTRAS = ("header", "body")
_FIRST_WORD = re.compile(r"(?:--)?([a-z][a-z_-]*)[ :]")
_NO_WORKER = "no worker connected; start one with probe worker --master-host HOST"


def handle_form(
    environment: Environment,
    is_running: Callable[[], bool],
    take: Callable[[Options, str | None], None],
    cancel: Callable[[], None],
) -> None:
    """Handle the form's requests before Locust does: `take` prepares a run or raises, `cancel` gives it up."""
    from flask import jsonify, request  # noqa: PLC0415 - only with a web UI

    started_host, parsed = environment.host, environment.parsed_options
    verifies = not getattr(parsed, "insecure", False)  # later, Locust keeps what the form says there
    header_env = as_form_value(getattr(parsed, "header_env", None))
    started_files = {name: as_form_value(getattr(parsed, name, None)) for name in ("workload", "slo")}

    def refusal() -> Any:
        try:
            _check_fields(request.form, environment.parsed_options)
            _check_host(started_host, request.form.get("host"), environment.parsed_options)
            _check_extras(parsed, request.form, header_env)
            for name, started in started_files.items():
                _check_name(name, request.form, started)
            if verifies and (has_api_key() or header_env):
                _check_verification(request.form)
            if is_running():
                _check_unchanged(environment.host, request.form.get("host"))
                return None
            given = {**vars(environment.parsed_options), **request.form.to_dict()}
            options = read_options(given)
            _require_worker(environment.runner)
            take(options, given.get("host"))
        except (SettingsError, RunDirectoryError) as error:
            field = field_of(str(error), request.form)
            return jsonify({"success": False, "message": str(error), "field": field, "host": environment.host})
        return None

    def user_refusal() -> Any:
        settings = request.get_json(force=True, silent=True)
        if not (isinstance(settings, dict) and all(_allowed(name, value) for name, value in settings.items())):
            return jsonify({"success": False, "message": f"only {', '.join(_USER_SETTINGS)} can be set"}), 400
        try:
            _check_host(started_host, settings.get("host"), parsed)
        except SettingsError as error:
            return jsonify({"success": False, "message": str(error)}), 400
        return None

    def before_request() -> Any:
        handlers: dict[str, Callable[[], Any]] = {"swarm": refusal, "user": user_refusal}
        handlers |= {} if is_running() else {"stop": cancel}
        handler = handlers.get(request.path.rpartition("/")[2]) if request.method == "POST" else None
        return environment.web_ui.auth_required_if_enabled(handler)() if handler else None

    environment.web_ui.app.before_request(before_request)


def _check_fields(form: Mapping[str, str], options: Any) -> None:
    """SettingsError for a field that the form does not have.

    Locust would take any of its options, those that name files, other servers and programs included.
    """
    fields = _LOCUST_FIELDS | ui_extra_args_dict([]).keys()
    users = form.get("user_count", "")
    if users.strip().isascii() and users.strip().isdigit():  # Locust refuses others, but would try to start any number
        _read("user_count", users, readers.user_count)
    for name, value in form.items():
        if name not in fields and value != as_form_value(getattr(options, name, None)):
            raise SettingsError(f"{safe_text(name)}: cannot be set here, only when the UI is started")


def _check_extras(parsed: Any, form: Mapping[str, str], header_env: str) -> None:
    """SettingsError for a file's name as --body, and for changes that could send our secrets elsewhere.

    Some gateways take the server behind them from a header or a body field, and pass the key on to it.
    """
    shown = ui_extra_args_dict(None)  # as the page shows them, which is as the UI was started
    for name in _EXTRAS:
        text = form.get(name, "").strip()
        started = as_form_value(getattr(parsed, name, None))
        if text in {"", started, shown.get(name, {}).get("default_value")}:
            continue
        if name == "header" and _entries(text) == _entries(started):
            continue
        if name == "body" and not text.startswith("{"):
            raise SettingsError("body: must be a JSON object here; a file can be named only when the UI is started")
        if has_api_key() or header_env:
            raise SettingsError(
                f"{name}: cannot be changed here while {API_KEY_VARIABLE} or --header-env is set, since a gateway may "
                "take its target from it; set it when the UI is started"
            )


def _check_name(name: str, form: Mapping[str, str], started: str) -> None:
    """SettingsError for a file that neither comes with the package nor was given at the start: no other is read."""
    given = form.get(name, "").strip()
    if given in {"", started} or given in offered(name):
        return
    raise SettingsError(f"{name}: {safe_text(given)}: must be one of {', '.join(offered(name))} here")


def field_of(message: str, form: Collection[str]) -> str | None:
    """Return the field that a message begins with, by its flag or its name; None if it is about none of the form's."""
    found = _FIRST_WORD.match(message)
    name = found[1].replace("-", "_") if found else None
    return name if name in form else None


def _check_verification(form: Mapping[str, str]) -> None:
    """SettingsError if TLS verification would be switched off for a server that gets our secrets."""
    if form.get("insecure", "").strip().lower() not in {"", "false", "off", "no", "0"}:
        raise SettingsError(
            f"insecure: cannot be set here while {API_KEY_VARIABLE} or --header-env is set; set it when the UI is "
            "started"
        )


def _entries(text: str) -> list[str] | None:
    """Return the headers of a text; None if it is not valid."""
    try:
        return list(headers(text))
    except ValueError:
        return None


def _read(name: str, text: str, reader: Callable[[str], object]) -> None:
    try:
        reader(text.strip())
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


def _allowed(name: str, value: object) -> bool:
    """Whether Locust's dialog sets such a value of a user class. It would set any attribute, methods included."""
    check = _USER_SETTINGS.get(name)
    return check is not None and check(value)


def _check_host(started: str | None, host: str | None, options: Any) -> None:
    """SettingsError if the API key would go to another server than the one that the UI was started for.

    Started for none, whoever opens the UI names it; where strangers can, nobody.
    """
    has_secret = has_api_key() or bool(getattr(options, "header_env", None))
    if has_secret and not started and is_open(options):
        raise SettingsError(f"host: start the UI with --host, so that {API_KEY_VARIABLE} goes to no other server")
    try:
        same = not started or not host or (same_place(base(started), base(host)) and _path(started) == _path(host))
    except ValueError:
        same = False
    if has_secret and not same:
        raise SettingsError(f"host: {API_KEY_VARIABLE} is for {shown(started or '')}; start the UI with another --host")


def _path(host: str) -> str:
    return urlsplit(base(host)).path  # a gateway may choose the server behind it by that


def _check_unchanged(current: str | None, host: str | None) -> None:
    """SettingsError for another server in mid-run: the users who come later would go there."""
    if host and current and host.strip().rstrip("/") != current.strip().rstrip("/"):
        raise SettingsError("host: cannot be changed during a run")


def _require_worker(runner: Any) -> None:
    if isinstance(runner, MasterRunner) and not runner.clients.ready:
        raise SettingsError(_NO_WORKER)

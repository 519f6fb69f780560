"""The web UI's start form and Stop button: a run that cannot work is refused before Locust reports success.

Locust's Stop does nothing on a master without users, so a run that is still being prepared is cancelled here.
"""

from collections.abc import Callable
from typing import Any

from locust.env import Environment
from locust.runners import MasterRunner

from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, read_options

_NO_WORKER = "no worker connected; start one with probe worker --master-host HOST"


def handle_form(
    environment: Environment,
    is_running: Callable[[], bool],
    take: Callable[[Options, str | None], None],
    cancel: Callable[[], None],
) -> None:
    """Handle the form's requests before Locust does: `take` prepares a run or raises, `cancel` gives it up."""
    from flask import jsonify, request  # noqa: PLC0415 - only with a web UI

    def refusal() -> Any:
        given = {**vars(environment.parsed_options), **request.form.to_dict()}
        try:
            options = read_options(given)
            _require_worker(environment.runner)
            take(options, given.get("host"))
        except (SettingsError, RunDirectoryError) as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None

    def before_request() -> Any:
        if request.method != "POST" or is_running():
            return None
        handler = {"stop": cancel, "swarm": refusal}.get(request.path.rpartition("/")[2])
        return environment.web_ui.auth_required_if_enabled(handler)() if handler else None

    environment.web_ui.app.before_request(before_request)


def _require_worker(runner: Any) -> None:
    if isinstance(runner, MasterRunner) and not runner.clients.ready:
        raise SettingsError(_NO_WORKER)

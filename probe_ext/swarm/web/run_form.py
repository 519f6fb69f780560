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


class RunForm:
    """Handles requests before Locust does. `take` prepares a run with the form's options and host, or raises.

    `cancel` gives up a run that has not begun.
    """

    def __init__(
        self,
        environment: Environment,
        is_running: Callable[[], bool],
        take: Callable[[Options, str | None], None],
        cancel: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._is_running = is_running
        self._take = take
        self._cancel = cancel
        environment.web_ui.app.before_request(self._before_request)

    def _before_request(self) -> Any:
        from flask import request  # noqa: PLC0415 - only where there is a web UI

        if request.method != "POST" or self._is_running():
            return None
        allowed = self._environment.web_ui.auth_required_if_enabled
        if request.path.endswith("/stop"):
            return allowed(self._cancel)()
        if request.path.endswith("/swarm"):
            return allowed(self._refusal)(request.form.to_dict())
        return None

    def _refusal(self, form: dict[str, str]) -> Any:
        from flask import jsonify  # noqa: PLC0415 - only where there is a web UI

        try:
            self._take_form(form)
        except (SettingsError, RunDirectoryError) as error:
            return jsonify({"success": False, "message": str(error), "host": self._environment.host})
        return None

    def _take_form(self, form: dict[str, str]) -> None:
        given = {**vars(self._environment.parsed_options), **form}
        options = read_options(given)
        runner = self._environment.runner
        if isinstance(runner, MasterRunner) and not runner.clients.ready:
            raise SettingsError(_NO_WORKER)
        self._take(options, given.get("host"))

"""The web UI's form and its Stop: what cannot be measured is refused there, before Locust says that it has started.

Locust's Stop does nothing on a master that has no users yet: what is still being prepared is given up here, before it.
"""

from collections.abc import Callable
from typing import Any

from locust.env import Environment
from locust.runners import MasterRunner

from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, read_options

_NO_WORKER = "no worker is here yet: start one with probe worker --master-host HOST"


class RunForm:
    """Looks at a form before Locust does. `take` makes a run ready with its options and host, or says why not.

    `give_up` ends what has been taken and has not begun yet.
    """

    def __init__(
        self,
        environment: Environment,
        is_running: Callable[[], bool],
        take: Callable[[Options, str | None], None],
        give_up: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._is_running = is_running
        self._take = take
        self._give_up = give_up
        environment.web_ui.app.before_request(self._before_request)

    def _before_request(self) -> Any:
        from flask import request  # noqa: PLC0415 - only where there is a web UI

        if request.method != "POST" or self._is_running():
            return None
        allowed = self._environment.web_ui.auth_required_if_enabled
        if request.path.endswith("/stop"):
            return allowed(self._give_up)()
        if request.path.endswith("/swarm"):
            return allowed(self._refusal)(request.form.to_dict())
        return None

    def _refusal(self, form: dict[str, str]) -> Any:
        from flask import jsonify  # noqa: PLC0415 - only where there is a web UI

        try:
            self._look_at(form)
        except (SettingsError, RunDirectoryError) as error:
            return jsonify({"success": False, "message": str(error), "host": self._environment.host})
        return None

    def _look_at(self, form: dict[str, str]) -> None:
        asked = {**vars(self._environment.parsed_options), **form}
        options = read_options(asked)
        runner = self._environment.runner
        if isinstance(runner, MasterRunner) and not runner.clients.ready:
            raise SettingsError(_NO_WORKER)
        self._take(options, asked.get("host"))

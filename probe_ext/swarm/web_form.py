"""The web UI's form: what cannot be measured is refused there, in the form, before Locust says that it has started."""

from collections.abc import Callable
from typing import Any

from locust.env import Environment
from locust.runners import MasterRunner

from probe_ext.run.directory import RunDirectoryError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options, read_options

_NO_WORKER = "no worker is here yet: start one with probe worker --master-host HOST"


class WebForm:
    """Looks at a form before Locust does. `take` makes a run ready with its options and host, or says why not."""

    def __init__(
        self, environment: Environment, is_running: Callable[[], bool], take: Callable[[Options, str | None], None]
    ) -> None:
        self._environment = environment
        self._is_running = is_running
        self._take = take
        environment.web_ui.app.before_request(self._before_request)

    def _before_request(self) -> Any:
        from flask import request  # noqa: PLC0415 - only where there is a web UI

        if request.method != "POST" or not request.path.endswith("/swarm") or self._is_running():
            return None
        return self._environment.web_ui.auth_required_if_enabled(self._refusal)(request.form.to_dict())

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

"""What is added to Locust's page: a bar with the answer and the downloads, a start form in groups, and two charts.

Locust's page is one script that cannot be extended, so these stand beside it and use its requests only. Its own start
form remains where classes are picked in it (`--class-picker`).
"""

import json
import secrets
from pathlib import Path
from typing import Any

from flask import Response
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_RUNNING, STATE_SPAWNING, STATE_STOPPED
from markupsafe import Markup, escape

from probe_ext.page.environment import environment as template_environment
from probe_ext.run import directory
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.web.form_fields import current_values, start_form

FOLDER = Path(__file__).with_name("locust_additions")
DOWNLOADS = {
    directory.CAPACITY_JSON: "verdict (JSON)",
    directory.SUMMARY: "summary (Markdown)",
    directory.REQUESTS: "replies (CSV)",
    directory.GAPS: "gaps (CSV)",
    directory.USERS: "users (CSV)",
    directory.SERVER: "server metrics (CSV)",
}
_RUNNING = (STATE_SPAWNING, STATE_RUNNING)
_WAITING = (STATE_INIT, STATE_STOPPED)
_LOCUST_TITLE = "<title>Locust</title>"
_TITLE = "How many people can use this at once?"


class LocustIndex:
    """Adds to Locust's page."""

    def __init__(self, environment: Environment, prefix: str) -> None:
        self._environment, self._prefix = environment, prefix
        self._token = secrets.token_hex(4)  # what a browser has kept of the form is of this process only

    def add(self, response: Response) -> None:
        """Insert the additions into the answer."""
        page = response.get_data(as_text=True)
        before, opening, after = page.partition("<body>")
        if not opening:
            return
        inner, closing, end = after.rpartition("</body>")
        added = self._additions()
        before = before.replace(_LOCUST_TITLE, f"<title>probe: {escape(self._scenario())} – Locust</title>")
        response.set_data(f'{before}<body class="{self._body_class()}">{inner}{added}{closing}{end}')

    def _body_class(self) -> str:
        if self._environment.web_ui.userclass_picker_is_active:
            return "probe-own"
        runner = self._environment.runner
        # A master with workers is "stopped" before its first run already.
        waits = runner is not None and runner.state in _WAITING and not runner.stats.num_requests
        return "probe-form" if waits else ""

    def _host(self) -> str | None:
        """Return the host of the command line, or the one that all user classes name."""
        named = {user_class.host for user_class in self._environment.user_classes}
        return self._environment.host or (named.pop() if len(named) == 1 else None)

    def _additions(self) -> Markup:
        shape = self._environment.shape_class
        shaped = shape is not None and not isinstance(shape, LevelShape)
        form = start_form(self._environment.parsed_options, self._host(), shaped=shaped)
        template = template_environment(FOLDER).get_template("additions.html.j2")
        runner = self._environment.runner
        users = runner.target_user_count if runner is not None and runner.state in _RUNNING else None
        return Markup(  # noqa: S704 - the template escapes
            template.render(
                form=form,
                prefix=self._prefix,
                files=DOWNLOADS.items(),
                title=_TITLE,
                current=_script_json({"user_count": users, "options": current_values(form)}),
                token=self._token,
                locustfile=self._scenario(),
            )
        )

    def _scenario(self) -> str:
        return Path(self._environment.locustfile or "").stem or "this locustfile"


def _script_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 (escaped on this line)

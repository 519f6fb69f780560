"""Choose the server of a run without --host: the locustfile's own, else one that is found on this machine."""

from typing import Any

from locust.env import Environment

from probe_ext.access.local_servers import choose, find_local_servers, nothing_found
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.secrets import API_KEY_VARIABLE, has_api_key
from probe_ext.swarm.locust_options import finds_host
from probe_ext.target.control.urls import shown
from probe_ext.workload.workload_file import Workload


def choose_host(environment: Environment, workload: Workload | None = None) -> str | None:
    """Set the host that Locust and the run use, and return what to tell of it; None if it was given.

    SettingsError if headless and there is none to choose. A web UI starts without one, too: its form asks for it.
    Where the workload names several, Locust has the first.
    """
    given = environment.parsed_options
    if workload is not None and workload.has_hosts:
        of = f"the workload {workload.name} names a host for each kind"
        if not given.headless:
            raise SettingsError(f"--workload: {of}, and a live page shows a single server; use probe run")
        if environment.host:
            raise SettingsError(f"--host {shown(environment.host)}: {of}; leave it out")
        _set_host(environment, workload.kinds[0].host)
        return None
    if environment.host or not finds_host(given):
        return None
    own = {user.host for user in environment.user_classes if user.host}
    if len(own) == 1:
        _set_host(environment, own.pop())
        return None
    look = find_local_servers()
    try:
        chosen, line = choose(look, given.model)
    except SettingsError as error:
        if given.headless:
            raise
        return f"{nothing_found(look)}, or in the form" if not look.found else str(error)
    _set_host(environment, chosen.url)
    return f"{line}. Its requests carry the key in {API_KEY_VARIABLE}" if has_api_key() else line


def _set_host(environment: Environment, host: Any) -> None:
    environment.host = environment.parsed_options.host = host

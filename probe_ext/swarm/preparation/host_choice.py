"""Choose the server of a run without --host: the locustfile's own, else one that is found on this machine."""

from typing import Any

from locust.env import Environment

from probe_ext.access.local_servers import choose, find_local_servers, nothing_found
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.secrets import API_KEY_VARIABLE, has_api_key
from probe_ext.swarm.locust_options import finds_host
from probe_ext.swarm.terminal.console import print_line


def choose_host(environment: Environment) -> bool:
    """Set the host that Locust and the run use; True if it was found here, which is then said.

    SettingsError if headless and there is none to choose.

    A web UI starts without one, too: its form asks for it.
    """
    given = environment.parsed_options
    if environment.host or not finds_host(given):
        return False
    own = {user.host for user in environment.user_classes if user.host}
    if len(own) == 1:
        _set_host(environment, own.pop())
        return False
    look = find_local_servers()
    try:
        chosen, line = choose(look)
    except SettingsError as error:
        if given.headless:
            raise
        print_line(f"{nothing_found(look)}, or in the form" if not look.found else str(error))
        return False
    print_line(f"{line}. Its requests carry the key in {API_KEY_VARIABLE}" if has_api_key() else line)
    _set_host(environment, chosen.url)
    return True


def _set_host(environment: Environment, host: Any) -> None:
    environment.host = environment.parsed_options.host = host

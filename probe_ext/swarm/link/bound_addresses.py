"""Which addresses a server can listen on, and which of them only this machine can reach."""

import errno
import os
import socket
from typing import Any

from probe_ext.loopback import is_loopback


def is_open(given: Any) -> bool:
    """Whether strangers can use the web UI that these options of Locust's start."""
    return not given.web_login and not is_loopback(given.web_host)


def listen_problem(host: str, port: int) -> str | None:
    """Return why the web UI cannot listen there, in one line that names the option; None if it can."""
    try:
        socket.create_server(("" if host == "*" else host, port), family=_family(host)).close()
    except socket.gaierror as error:
        return f"--web-host {host}: {error.strerror}"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"--web-port {port}: already in use; choose another, e.g. --web-port {port + 1}"
        option = f"--web-port {port}" if error.errno == errno.EACCES else f"--web-host {host}"
        return f"{option}: the web UI cannot listen there: {os.strerror(error.errno or 0).lower()}"
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET

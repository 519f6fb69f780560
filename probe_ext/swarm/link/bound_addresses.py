"""Which addresses only this machine can reach."""

import ipaddress
from typing import Any


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server bound to `host`; empty and `*` mean all addresses."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_open(given: Any) -> bool:
    """Whether strangers can use the web UI that these options of Locust's start."""
    return not given.web_login and not is_loopback(given.web_host)

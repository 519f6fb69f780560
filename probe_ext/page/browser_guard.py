"""Whose requests does a page of this machine refuse? Those that another website makes in the operator's browser.

A browser sends requests of any website to any address that it can reach, loopback included, with the page's cookies.
Such a request names its origin (`Origin`, `Sec-Fetch-Site`), unless the website has pointed a name of its own at the
page's address (DNS rebinding): then it names itself as `Host`. So both must be known. Tools outside browsers send
neither header, and are not concerned.
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

_READ_ONLY = {"GET", "HEAD", "OPTIONS"}
_EMBEDDED = {"iframe", "frame", "object", "embed", "fencedframe"}


def is_known_host(name: str, known: set[str]) -> bool:
    """Whether no other website can have this name: an address, a name without a dot, loopback, or a known one."""
    if name in known or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(name) and "." not in name
    return True


def is_foreign(method: str, host: str, header: Callable[[str], str | None]) -> bool:
    """Whether a browser sent this request for another website. Following a link to a page is allowed."""
    origin, site = header("Origin"), header("Sec-Fetch-Site")
    if method not in _READ_ONLY:
        origin = origin or header("Referer")
    if origin and site != "same-origin" and urlsplit(origin).netloc != host:
        return True
    if site in {None, "same-origin", "none"}:
        return False
    embedded = header("Sec-Fetch-Dest") in _EMBEDDED
    return method not in _READ_ONLY or header("Sec-Fetch-Mode") != "navigate" or embedded


def host_name(host: str) -> str:
    """Return the lower-case name in `host`, `host:port` or a URL."""
    text = host.strip()
    try:
        name = urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        return ""
    return (name or "").rstrip(".")

"""Whether an address is of this machine alone."""

import ipaddress

_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
"""names of the loopback addresses in `/etc/hosts`, as distributions write it"""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`: an address, also with brackets or a scope (`::1%lo`), or a name.

    Any name below `.localhost` is one, too (RFC 6761). Empty and `*`, which mean all addresses, are none.
    """
    name = host.strip("[]").partition("%")[0].lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in _NAMES or name.endswith(".localhost")

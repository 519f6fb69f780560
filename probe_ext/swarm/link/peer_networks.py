"""Share a limited number of connections out among those who make them."""

import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar


class FromNetwork(Protocol):
    """A connection that knows the network of its peer."""

    @property
    def network(self) -> str:
        """As `network_of` returns it."""


C = TypeVar("C", bound=FromNetwork)


def network_of(address: str | None) -> str:
    """Return what counts as one peer: an IPv4 address, or an IPv6 network of 64 bits, which one host may have."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ip if ip.version == 4 else ipaddress.ip_network((ip, 64), strict=False))


def first_of_busiest(connections: Sequence[C]) -> C:
    """Return the first connection of the network that has the most: the one to end if there are too many."""
    ((busiest, _),) = Counter(connection.network for connection in connections).most_common(1)
    return next(connection for connection in connections if connection.network == busiest)

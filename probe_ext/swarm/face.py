"""What a locustfile gets from `probe_ext`; importing it switches the package's listeners on."""

from probe_ext.swarm import events, listeners
from probe_ext.swarm.user import StreamingUser

__all__ = ["StreamingUser", "events", "listeners"]

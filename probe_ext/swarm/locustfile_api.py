"""What a locustfile gets from `probe_ext`; importing it switches the package's listeners on."""

from probe_ext.swarm import listeners
from probe_ext.swarm.users import events
from probe_ext.swarm.users.user import StreamingUser

__all__ = ["StreamingUser", "events", "listeners"]

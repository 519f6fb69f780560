"""What locustfiles import from `probe_ext`. Importing it registers the package's listeners."""

from probe_ext.swarm import listeners
from probe_ext.swarm.users import events
from probe_ext.swarm.users.user import StreamingUser

__all__ = ["StreamingUser", "events", "listeners"]

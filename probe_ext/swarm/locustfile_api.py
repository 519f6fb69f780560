"""What locustfiles import from `probe_ext`. Importing it registers the package's listeners."""

from probe_ext.swarm import listeners
from probe_ext.swarm.users import events
from probe_ext.swarm.users.user import StreamingUser
from probe_ext.swarm.users.workload_user import WorkloadUser

__all__ = ["StreamingUser", "WorkloadUser", "events", "listeners"]

"""Your own users: kinds with their own prompts, conversations, pauses and profiles, as --workload describes them.

probe run workload --host http://127.0.0.1:8000 --workload coding --levels 2,4,8
locust -f locustfiles/workload.py --host http://127.0.0.1:8000 --workload chat
"""

from typing import Any

from locust import events

from probe_ext import WorkloadUser


@events.init_command_line_parser.add_listener
def _defaults(parser: Any, **_: Any) -> None:
    """Take the first workload of `probe list` that is a single kind."""
    parser.set_defaults(workload="chat")


class AnyKind(WorkloadUser):
    """Stands for all kinds of the workload."""

"""Does it last? Streamed and whole replies in an open stream at --rate, for hours; the report shows rolling windows.

probe run gauntlet --host http://127.0.0.1:8000 --rate 4 --hold 2h
locust -f locustfiles/gauntlet.py --host http://127.0.0.1:8000 --rate 4 --hold 2h --master --expect-workers 3
"""

from typing import Any, ClassVar

from locust import events

from probe_ext import WorkloadUser


@events.init_command_line_parser.add_listener
def _defaults(parser: Any, **_: Any) -> None:
    """Hours need fewer samples of the server's metrics than minutes do."""
    parser.set_defaults(metrics_every="5s")


class GauntletUser(WorkloadUser):
    """Two kinds of request at random moments. Half of each kind is streamed."""

    workload: ClassVar = {
        "name": "gauntlet",
        "question": "Does the server keep up with this rate for hours?",
        "arrivals": "poisson",
        "kinds": [
            {"name": "question", "share": 1, "prompts": {"tokens": 20}, "output_tokens": 32, "stream": 0.5},
            {"name": "story", "share": 1, "prompts": {"tokens": 20}, "output_tokens": 256, "stream": 0.5},
        ],
    }

"""Locust counts requests by second and never forgets one, though its own figures look back over twelve of them only."""

import itertools

from locust.env import Environment

LOOKED_AT = 60
"""seconds that are left: Locust's rates take the last twelve, and a worker's report may be late"""


def forget_old_seconds(environment: Environment) -> None:
    """Of every line of Locust's table. Where `--json` asks for all of them, they stay."""
    given = environment.parsed_options
    if getattr(given, "json", False) or getattr(given, "json_file", None):
        return
    stats = environment.runner.stats
    for entry in itertools.chain(stats.entries.values(), [stats.total]):
        if entry.last_request_timestamp is not None:
            before = int(entry.last_request_timestamp) - LOOKED_AT
            for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in [second for second in counts if second < before]:
                    del counts[second]

"""Prune Locust's request counts per second: it keeps them for ever, though its own rates use only the last twelve."""

import itertools

from locust.env import Environment

KEPT_S = 60  # reports of workers may be late


def forget_old_seconds(environment: Environment) -> None:
    """Delete old counts of every entry, unless Locust's `--json` output needs them."""
    given = environment.parsed_options
    if getattr(given, "json", False) or getattr(given, "json_file", None):
        return
    stats = environment.runner.stats
    for entry in itertools.chain(stats.entries.values(), [stats.total]):
        if entry.last_request_timestamp is not None:
            before = int(entry.last_request_timestamp) - KEPT_S
            for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in [second for second in counts if second < before]:
                    del counts[second]

"""Locust's own four tables, written for every run and complete to the last finished reply.

Locust's writer is what `--csv --csv-full-history` uses; on its own it leaves out the last second.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import gevent
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter


class LocustTables:
    """Start with the run, `finish` when all workers have reported."""

    def __init__(self, environment: Environment, prefix: Path) -> None:
        self._prefix = str(prefix)
        self._writer = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, self._prefix, full_history=True)
        self._greenlet = gevent.spawn(self._writer.stats_writer)

    def finish(self) -> None:
        """Stop the once-a-second writing, then write the three summary tables anew from the final figures."""
        gevent.sleep(1.0)  # one more row of the history, with the last replies in it
        self._greenlet.kill()
        self._writer.close_files()
        self._rewrite("_stats.csv", self._writer.requests_csv)
        self._rewrite("_failures.csv", self._writer.failures_csv)
        self._rewrite("_exceptions.csv", self._writer.exceptions_csv)

    def _rewrite(self, suffix: str, fill: "Callable[..., None]") -> None:
        with Path(self._prefix + suffix).open("w", encoding="utf-8", newline="") as file:
            fill(csv.writer(file))

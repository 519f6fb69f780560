"""Locust's own four CSV tables, as with `--csv --csv-full-history`, but complete to the last finished reply.

Locust's writer omits the last second. A disk error ends these tables, never the run: our own do not depend on them.
"""

import contextlib
import csv
import io
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSVFileWriter

from probe_ext.measure.safe_text import printable
from probe_ext.run.manifest import replace_text
from probe_ext.run.tables import plain_text

logger = logging.getLogger(__name__)


class _PlainWriter:
    """A csv.writer whose texts are safe: names and messages may repeat what a server or a worker said."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def writerow(self, row: Iterable[Any]) -> None:
        """Write a row."""
        self._writer.writerow([_plain(value) if isinstance(value, str) else value for value in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write rows."""
        for row in rows:
            self.writerow(row)


def _plain(text: str) -> str:
    """Keep the lines of a traceback apart."""
    first, *more = text.split("\n")
    return "\n".join([plain_text(first), *map(printable, more)])


class PlainTables:
    """Locust's tables for the web UI's downloads, with safe texts."""

    def __init__(self, tables: Any) -> None:
        self._tables = tables

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._tables, name)
        if name not in {"requests_csv", "failures_csv", "exceptions_csv"}:
            return attribute
        return lambda writer: attribute(_PlainWriter(writer))


class LocustTables:
    """Create it with the run; call `finish` when all workers have reported."""

    def __init__(self, environment: Environment, prefix: Path) -> None:
        self.problems: dict[str, str] = {}
        """why a table is incomplete, by file name"""
        self._prefix = prefix
        self._writer = StatsCSVFileWriter(environment, PERCENTILES_TO_REPORT, str(prefix), full_history=True)
        self._writer.stats_history_csv_writer = _PlainWriter(self._writer.stats_history_csv_writer)
        self._greenlet = gevent.spawn(self._write)

    def _write(self) -> None:
        self._guarded("_stats_history.csv", self._writer.stats_writer)

    def finish(self) -> None:
        """Stop the writer, and replace the three summary tables with the final figures."""
        gevent.sleep(1.0)  # one more row of the history, with the last replies
        self._greenlet.kill()
        writer = self._writer
        self._guarded("_stats_history.csv", writer.stats_history_csv_filehandle.close)
        for file in (writer.requests_csv_filehandle, writer.failures_csv_filehandle, writer.exceptions_csv_filehandle):
            with contextlib.suppress(OSError):  # these are replaced below
                file.close()
        for suffix, fill in (
            ("_stats.csv", writer.requests_csv),
            ("_failures.csv", writer.failures_csv),
            ("_exceptions.csv", writer.exceptions_csv),
        ):
            self._guarded(suffix, partial(self._rewrite, suffix, fill))

    def _rewrite(self, suffix: str, fill: Callable[..., None]) -> None:
        text = io.StringIO(newline="")
        fill(_PlainWriter(csv.writer(text)))
        replace_text(self._path(suffix), text.getvalue())

    def _path(self, suffix: str) -> Path:
        return self._prefix.with_name(self._prefix.name + suffix)

    def _guarded(self, suffix: str, step: Callable[[], object]) -> None:
        path = self._path(suffix)
        try:
            step()
        except OSError as error:
            if path.name not in self.problems:
                logger.warning("%s: %s; this Locust table is incomplete", path, error.strerror or error)
            self.problems[path.name] = error.strerror or str(error)

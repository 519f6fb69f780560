"""Read the server metrics of a run from a Prometheus into two files of the run directory.

`server.csv` with the polled metrics stays untouched. If `server-prometheus.csv` exists, reports use it instead and say
so.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from probe_ext.measure import clock
from probe_ext.measure.table_rows import ServerRow
from probe_ext.report.inputs import frames
from probe_ext.report.inputs.prometheus_client import Prometheus, PrometheusError
from probe_ext.report.inputs.prometheus_rows import Scrapes
from probe_ext.run import directory, manifest, tables
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.prometheus_access import PrometheusSource, matchers, prometheus_source, prometheus_url
from probe_ext.target.metrics.catalogue import METRIC_NAMES
from probe_ext.target.metrics.metrics_text import wanted_name
from probe_ext.verdict.phrasing.plurals import things

PIECE_S = 300
"""Seconds per query, which limits the size of a response."""
_MAX_DURATION_S, _MAX_UNIX_TIME_S = 1e7, 1e11
_MAX_NAME_CHARACTERS = 1500
"""Metric names per query, which is part of a URL."""
_PROCESS_START = "process_start_time_seconds"
"""Every job exports it, so it is queried only for the servers that were found."""
_KNOWN_METRICS = "vllm:…, sglang:…, llamacpp:…, tgi_…, trtllm_…, nv_trt_llm_…, lmdeploy:…, and NIM's names"


def source_of(url: str, match: str | None) -> PrometheusSource:
    """Validate what the command line or the run requests. SettingsError if it is invalid."""
    try:
        address = prometheus_url(url)
    except ValueError as error:
        raise SettingsError(f"--prometheus: {error}") from error
    try:
        found = prometheus_source(address, matchers(match or ""), os.environ)
    except ValueError as error:
        raise SettingsError(f"--prometheus-match {match}: {error}") from error
    if found is None:
        raise SettingsError("--prometheus: must not be empty")
    return found


def read(run: Path, content: manifest.Manifest, source: PrometheusSource) -> None:
    """Query the run's time window and write `server-prometheus.csv` and `.json`.

    PrometheusError if there are no metrics, OSError if the files cannot be written.
    """
    first, last = window(run, content)
    prometheus = Prometheus(source)
    offset, error = prometheus.clock_offset()
    available = prometheus.names(math.floor(first), math.ceil(last))
    names = sorted(name for name in available if wanted_name(name, METRIC_NAMES) and name != _PROCESS_START)
    scrapes = Scrapes()
    _gather(scrapes, prometheus, names, (first, last))
    if _PROCESS_START in available and scrapes.instances:
        only = "|".join(_quoted(instance) for instance in scrapes.instances)
        _gather(scrapes, prometheus, [_PROCESS_START], (first, last), f'instance=~"{only}"')
    helps = {name.replace(":", "_"): prometheus.help_of(name) for name in names if "gpu_prefix_cache" in name}
    target = content.get("target")
    model = target.get("model") if isinstance(target, dict) else None
    rows, targets = scrapes.rows(first, helps, model if isinstance(model, str) else None)
    if not rows:
        raise PrometheusError(_nothing(source, first, last, len(available)))
    about = {
        "url": source.url,
        "match": source.match,
        "read_at": clock.utc_text(clock.wall()),
        "clock_offset": round(offset, 3),
        "clock_error": round(error, 3),
        "servers": [asdict(target) for target in targets],
    }
    tables.replace_table(run / directory.SERVER_PROMETHEUS, ServerRow, rows)
    manifest.replace_text(run / directory.PROMETHEUS, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def _gather(
    scrapes: Scrapes, prometheus: Prometheus, names: Sequence[str], within: tuple[float, float], more: str = ""
) -> None:
    """Collect all samples of these names, in pieces that fit a response and a URL."""
    for start, end in pieces(*within):
        for group in groups(names):
            scrapes.add(prometheus.samples(group, start, end, more), *within)


def window(run: Path, content: manifest.Manifest) -> tuple[float, float]:
    """Return the start and end of the run in Unix time; a killed run ends at its last recorded moment."""
    begun, length = content.get("started_unix"), content.get("duration")
    if not isinstance(begun, int | float):
        raise PrometheusError(
            f"--prometheus: {directory.MANIFEST}: started_unix: missing, so the time window is not known"
        )
    if not isinstance(length, int | float):
        evidence = frames.load(run)
        moments = np.concatenate([evidence.users["t"], evidence.replies["end"]])
        length = float(np.nanmax(moments)) if np.isfinite(moments).any() else 0.0
    if not (0 <= begun <= _MAX_UNIX_TIME_S and 0 <= length <= _MAX_DURATION_S):
        raise PrometheusError(f"--prometheus: {directory.MANIFEST}: started_unix or duration: not a valid time")
    return float(begun), float(begun) + max(float(length), 1.0)


def pieces(first: float, last: float) -> Iterator[tuple[int, int]]:
    """Yield the window piece by piece, in whole seconds; each piece ends where the next begins.

    It begins one second early, because some versions exclude the start of a range.
    """
    start, end = math.floor(first) - 1, math.ceil(last)
    for at in range(start, end, PIECE_S):
        yield at, min(at + PIECE_S, end)


def groups(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield the names in groups that fit into a URL."""
    group: list[str] = []
    for name in names:
        if group and sum(len(n) + 1 for n in group) + len(name) > _MAX_NAME_CHARACTERS:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _quoted(text: str) -> str:
    """Escape a label value for a regular expression inside quotes."""
    special = "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)
    return special.replace("\\", "\\\\").replace('"', '\\"')


def _nothing(source: PrometheusSource, first: float, last: float, others: int) -> str:
    selected = f"{{{source.match}}}" if source.match else "any labels"
    when = f"between {clock.utc_text(first)} and {clock.utc_text(last)}"
    other = f"; {things(others, 'other metric')} found" if others else "; no other metrics found either"
    return f"--prometheus {source.url}: no LLM server metrics ({_KNOWN_METRICS}) with {selected} {when}{other}"

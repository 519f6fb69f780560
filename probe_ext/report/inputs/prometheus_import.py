"""The server's figures of a run's window, read from a Prometheus into two files beside the run's own.

What was polled stays as it is in `server.csv`. Where `server-prometheus.csv` lies, reports take it instead, and say so.
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
from probe_ext.target.catalogue import METRIC_NAMES

PIECE = 300
"""seconds asked for at a time: bounds the size of an answer however long the run was"""
_NAMES = 1500
"""characters of names in one query: it travels in a URL"""
_OF_ANY_SERVER = "process_start_time_seconds"
"""every job exports it, so it is asked for of the servers alone that were found"""
_ASKED_FOR = "vllm:…, sglang:…, llamacpp:…, tgi_…, trtllm_…, nv_trt_llm_…, lmdeploy:…, and NIM's names"


def source_of(url: str, match: str | None) -> PrometheusSource:
    """What the command line or the run asks for, checked. SettingsError where it cannot be meant."""
    try:
        address = prometheus_url(url)
    except ValueError as error:
        raise SettingsError(f"--prometheus: {error}") from error
    try:
        found = prometheus_source(address, matchers(match or ""), os.environ)
    except ValueError as error:
        raise SettingsError(f"--prometheus-match {match}: {error}") from error
    if found is None:
        raise SettingsError("--prometheus: is empty")
    return found


def read(run: Path, stated: manifest.Manifest, source: PrometheusSource) -> None:
    """Ask for the run's window and write `server-prometheus.csv` and `.json`.

    PrometheusError where nothing can be had; OSError when the files cannot be written.
    """
    first, last = window(run, stated)
    prometheus = Prometheus(source)
    offset, error = prometheus.clock_offset()
    found = prometheus.names(math.floor(first), math.ceil(last))
    names = sorted(name for name in found if name.replace(":", "_") in METRIC_NAMES and name != _OF_ANY_SERVER)
    scrapes = Scrapes()
    _gather(scrapes, prometheus, names, (first, last))
    if _OF_ANY_SERVER in found and scrapes.instances:
        only = "|".join(_quoted(instance) for instance in scrapes.instances)
        _gather(scrapes, prometheus, [_OF_ANY_SERVER], (first, last), f'instance=~"{only}"')
    helps = {name.replace(":", "_"): prometheus.help_of(name) for name in names if "gpu_prefix_cache" in name}
    rows, told = scrapes.rows(first, helps)
    if not rows:
        raise PrometheusError(_nothing(source, first, last, len(found)))
    about = {
        "url": source.url,
        "match": source.match,
        "read_at": clock.utc_text(clock.wall()),
        "clock_offset": round(offset, 3),
        "clock_error": round(error, 3),
        "servers": [asdict(one) for one in told],
    }
    tables.replace_table(run / directory.SERVER_PROMETHEUS, ServerRow, rows)
    manifest.replace_text(run / directory.PROMETHEUS, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def _gather(
    scrapes: Scrapes, prometheus: Prometheus, names: Sequence[str], within: tuple[float, float], more: str = ""
) -> None:
    """All samples of these names, in pieces that an answer and a URL can hold."""
    for start, end in pieces(*within):
        for group in groups(names):
            scrapes.add(prometheus.samples(group, start, end, more), *within)


def window(run: Path, stated: manifest.Manifest) -> tuple[float, float]:
    """The run's beginning and end in Unix seconds; the end of a killed run is the last moment that it wrote of."""
    begun, length = stated.get("started_unix"), stated.get("duration")
    if not isinstance(begun, int | float):
        raise PrometheusError(f"--prometheus: {directory.MANIFEST}: started_unix: missing, so the window is not known")
    if not isinstance(length, int | float):
        evidence = frames.load(run)
        moments = np.concatenate([evidence.users["t"], evidence.replies["end"]])
        length = float(np.nanmax(moments)) if np.isfinite(moments).any() else 0.0
    return float(begun), float(begun) + max(float(length), 1.0)


def pieces(first: float, last: float) -> Iterator[tuple[int, int]]:
    """The window in whole seconds, piece by piece; each ends where the next begins.

    It begins a second early: whether a range holds its very beginning depends on the version asked.
    """
    start, end = math.floor(first) - 1, math.ceil(last)
    for at in range(start, end, PIECE):
        yield at, min(at + PIECE, end)


def groups(names: Sequence[str]) -> Iterator[list[str]]:
    """The names in as few groups as fit into a URL each."""
    group: list[str] = []
    for name in names:
        if group and sum(len(n) + 1 for n in group) + len(name) > _NAMES:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _quoted(text: str) -> str:
    """A label's value inside a regular expression inside quotes."""
    special = "".join(f"\\{c}" if c in r"\.+*?()|[]{}^$" else c for c in text)
    return special.replace("\\", "\\\\").replace('"', '\\"')


def _nothing(source: PrometheusSource, first: float, last: float, others: int) -> str:
    selected = f"{{{source.match}}}" if source.match else "any labels"
    where = f"between {clock.utc_text(first)} and {clock.utc_text(last)}"
    besides = f"; {others} other names match" if others else "; nothing at all matches"
    return f"--prometheus {source.url}: no metrics of an engine ({_ASKED_FOR}) with {selected} {where}{besides}"

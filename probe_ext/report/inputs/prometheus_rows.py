"""Turn raw series of a Prometheus into the rows that polling would have written.

All samples of one scrape share a timestamp. Grouped by server and timestamp they form the scraped page again, which is
read like a polled one: same names, engines and sums. A failed scrape leaves no row.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.table_rows import ServerRow
from probe_ext.report.inputs.prometheus_client import Series
from probe_ext.target.metrics.catalogue import METRIC_NAMES, read
from probe_ext.target.metrics.metrics_text import Page, Sample, wanted_name

TARGET_LABELS = ("cluster", "namespace", "job", "pod", "instance")
"""Labels that identify a server: those that a scrape adds."""
_GAP_INTERVALS = 2.5
"""Scrape intervals without a scrape that are a gap."""

Target = tuple[str, ...]
"""Values of TARGET_LABELS."""


@dataclass(frozen=True)
class ScrapedServer:
    """What was read about one server."""

    url: str
    """as `server.csv` would name it: the instance, with further labels if it is not unique"""
    labels: Mapping[str, str]
    kind: str
    scrapes: int
    every: float | None
    """median seconds between scrapes; None for a single one"""
    gaps: int
    """intervals of more than 2.5 times `every` without a scrape"""


class Scrapes:
    """Collects series piece by piece; duplicate samples count once."""

    def __init__(self) -> None:
        self._pages: dict[Target, dict[float, dict[tuple[tuple[str, str], ...], Sample]]] = defaultdict(
            lambda: defaultdict(dict)
        )

    def add(self, series: Iterable[Series], first: float, last: float) -> None:
        """Add the samples within `[first, last]` (Unix time)."""
        for one in series:
            target, key = tuple(one.labels.get(name, "") for name in TARGET_LABELS), tuple(sorted(one.labels.items()))
            # The server is told apart already; the rest are the labels of the scraped page.
            labels = {k: v for k, v in one.labels.items() if k != "__name__" and k not in TARGET_LABELS}
            name = wanted_name(one.labels.get("__name__", ""), METRIC_NAMES) or ""
            for moment, value in one.samples:
                if first <= moment <= last:
                    self._pages[target][moment][key] = Sample(name, labels, value)

    def _servers(self) -> dict[Target, dict[float, dict[tuple[tuple[str, str], ...], Sample]]]:
        """Return the pages of each server once: of several jobs that scrape one, the job with most scrapes counts."""
        kept: dict[Target, Target] = {}
        for target in sorted(self._pages, key=lambda one: (-len(self._pages[one]), one)):
            server = tuple(value for name, value in zip(TARGET_LABELS, target, strict=True) if name != "job")
            kept.setdefault(server if target[-1] else target, target)
        return {target: self._pages[target] for target in kept.values()}

    @property
    def instances(self) -> list[str]:
        """Values of the label `instance`."""
        return sorted({target[-1] for target in self._pages if target[-1]})

    def rows(
        self, zero: float, helps: Mapping[str, str], model: str | None = None
    ) -> tuple[list[ServerRow], list[ScrapedServer]]:
        """Return canonical metrics in order of time, and the servers; `zero`: Unix time of the start of the run.

        `model`: the one whose series count, where a server has several."""
        rows: list[ServerRow] = []
        servers: list[ScrapedServer] = []
        counted = self._servers()
        for target, pages in sorted(counted.items()):
            kind, moments, url = "", [], _url(target, list(counted))
            for moment, samples in sorted(pages.items()):
                reading = read(Page(tuple(samples.values()), helps), model)
                if reading is None:
                    continue
                kind = reading.kind
                moments.append(moment)
                rows += [ServerRow(moment - zero, url, f.engine, f.quantity, f.value) for f in reading.figures]
            if moments:
                servers.append(_server(url, target, kind, moments))
        return sorted(rows, key=lambda row: row.t), servers


def _server(url: str, target: Target, kind: str, moments: list[float]) -> ScrapedServer:
    steps = np.diff(moments)
    every = float(np.median(steps)) if steps.size else None
    gaps = int((steps > _GAP_INTERVALS * every).sum()) if every else 0
    labels = {name: value for name, value in zip(TARGET_LABELS, target, strict=True) if value}
    return ScrapedServer(url, labels, kind, len(moments), every, gaps)


def _url(target: Target, others: list[Target]) -> str:
    """Return the instance if it is unique, otherwise all labels."""
    instance = target[-1]
    if instance and sum(other[-1] == instance for other in others) == 1:
        return instance
    return "/".join(value for value in target if value) or "unnamed"

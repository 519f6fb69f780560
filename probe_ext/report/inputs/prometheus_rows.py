"""Raw series of a Prometheus into the rows that a poller would have written. Pure.

All samples of one scrape carry one moment. Put together again by server and moment they are the page that was scraped,
and the page is read as a polled one is: same names, same engines, same sums. A scrape that failed leaves no row.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.table_rows import ServerRow
from probe_ext.report.inputs.prometheus_client import Series
from probe_ext.target.catalogue import read
from probe_ext.target.metrics_text import Page, Sample

PLACE = ("cluster", "namespace", "job", "pod", "instance")
"""labels that tell servers apart: those that a scrape adds"""
_GAP = 2.5
"""spacings: so long without a scrape is a gap"""

Target = tuple[str, ...]
"""values of PLACE"""


@dataclass(frozen=True)
class Told:
    """What was read of one server."""

    url: str
    """as `server.csv` would name it: the instance, with more where that is not enough"""
    labels: Mapping[str, str]
    kind: str
    scrapes: int
    every: float | None
    """seconds: the median spacing of scrapes; None for a single one"""
    gaps: int
    """stretches of more than 2.5 spacings without a scrape"""


class Scrapes:
    """Collects series piece by piece; a sample that comes twice counts once."""

    def __init__(self) -> None:
        self._pages: dict[Target, dict[float, dict[tuple[tuple[str, str], ...], Sample]]] = defaultdict(
            lambda: defaultdict(dict)
        )

    def add(self, series: Iterable[Series], first: float, last: float) -> None:
        """Take the samples whose moment lies in `[first, last]`."""
        for one in series:
            labels = {k: v for k, v in one.labels.items() if k != "__name__"}
            target, key = tuple(labels.get(name, "") for name in PLACE), tuple(sorted(one.labels.items()))
            name = one.labels.get("__name__", "").replace(":", "_")
            for moment, value in one.samples:
                if first <= moment <= last:
                    self._pages[target][moment][key] = Sample(name, labels, value)

    @property
    def instances(self) -> list[str]:
        """The servers' own addresses."""
        return sorted({target[-1] for target in self._pages if target[-1]})

    def rows(self, zero: float, helps: Mapping[str, str]) -> tuple[list[ServerRow], list[Told]]:
        """Everything in canonical figures, in order of time; `zero`: Unix seconds of the run's beginning."""
        rows: list[ServerRow] = []
        told: list[Told] = []
        for target, pages in sorted(self._pages.items()):
            kind, moments, url = "", [], _url(target, list(self._pages))
            for moment, samples in sorted(pages.items()):
                reading = read(Page(tuple(samples.values()), helps))
                if reading is None:
                    continue
                kind = reading.kind
                moments.append(moment)
                rows += [ServerRow(moment - zero, url, f.engine, f.quantity, f.value) for f in reading.figures]
            if moments:
                told.append(_told(url, target, kind, moments))
        return sorted(rows, key=lambda row: row.t), told


def _told(url: str, target: Target, kind: str, moments: list[float]) -> Told:
    steps = np.diff(moments)
    every = float(np.median(steps)) if steps.size else None
    gaps = int((steps > _GAP * every).sum()) if every else 0
    labels = {name: value for name, value in zip(PLACE, target, strict=True) if value}
    return Told(url, labels, kind, len(moments), every, gaps)


def _url(target: Target, others: list[Target]) -> str:
    """The instance where it tells servers apart, else all that does."""
    instance = target[-1]
    if instance and sum(other[-1] == instance for other in others) == 1:
        return instance
    return "/".join(value for value in target if value) or "unnamed"

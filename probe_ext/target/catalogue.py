"""Convert a metrics page to canonical quantities; the engine is recognized by the metric names on the page.

Not by version: other servers imitate vLLM's names, and gateways hide `/version`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from probe_ext.measure.safe_text import safe_text
from probe_ext.target.engine_metrics import ENGINES, Engine, Source
from probe_ext.target.metrics_text import Page, Sample, Unreadable, parse
from probe_ext.target.quantities import QUANTITIES, is_possible

METRIC_NAMES: frozenset[str] = frozenset(
    [metric for engine in ENGINES for source in engine.sources for metric in source.metrics]
    + [metric for engine in ENGINES for metric, _ in engine.lookalikes]
)
"""all metric names that are parsed"""

_GENERIC_QUANTITIES = frozenset({"process_start"})
_RANK_LABELS = ("pp_rank", "tp_rank", "moe_ep_rank")
_TOTAL_LABEL_VALUES = (("priority", ""), ("cache_source", "total"))
_DEFAULT_ENGINE = "0"
_MAX_ENGINE_LENGTH = 100


NO_KNOWN_ENGINE = "no metrics of a known engine"


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of one quantity for one data-parallel engine."""

    engine: str
    quantity: str
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The quantities on one page."""

    kind: str
    """`vllm`, `sglang`, `llama.cpp`, `tgi`, `tensorrt-llm`, `triton`, `lmdeploy`, `nim`, `llm-d-sim`"""
    figures: tuple[Figure, ...]


def read_page(body: bytes | str) -> Reading | Unreadable:
    """Parse a page and convert it; Unreadable says why that is not possible."""
    page = parse(body, METRIC_NAMES)
    if isinstance(page, Unreadable):
        return page
    return read(page) or Unreadable(NO_KNOWN_ENGINE)


def read(page: Page) -> Reading | None:
    """Return the quantities of the engine that most metric names belong to; None if no engine is known."""
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in page.samples:
        by_name[sample.name].append(sample)
    readings = [(engine, _figures(engine, by_name, page)) for engine in ENGINES]
    engine, figures = max(readings, key=lambda pair: sum(f.quantity not in _GENERIC_QUANTITIES for f in pair[1]))
    if all(figure.quantity in _GENERIC_QUANTITIES for figure in figures):
        return None
    kind = next((kind for metric, kind in engine.lookalikes if metric in by_name), engine.kind)
    return Reading(kind, figures)


def _figures(engine: Engine, by_name: dict[str, list[Sample]], page: Page) -> tuple[Figure, ...]:
    figures: dict[str, dict[str, float]] = {}
    for source in engine.sources:
        if source.quantity in figures or not all(metric in by_name for metric in source.metrics):
            continue
        if source.help_word and source.help_word not in page.helps.get(source.metrics[0], ""):
            continue
        if values := _values(source, engine.engine_label, by_name):
            figures[source.quantity] = values
    return tuple(Figure(e, quantity, v) for quantity, by_engine in figures.items() for e, v in by_engine.items())


def _values(source: Source, label: str, by_name: dict[str, list[Sample]]) -> dict[str, float]:
    """Return the source's value by engine, without engines that lack one of its metrics or have no possible value."""
    fold: Callable[[Iterable[float]], float] = max if QUANTITIES[source.quantity].within == "max" else sum
    parts = [_folded(_matching(by_name[metric], source), label, fold) for metric in source.metrics]
    engines = [engine for engine in parts[0] if all(engine in part for part in parts)]
    values = {engine: float(sum(part[engine] for part in parts)) for engine in engines}
    return {engine: value for engine, value in values.items() if is_possible(source.quantity, value)}


def _folded(samples: Iterable[Sample], label: str, fold: Callable[[Iterable[float]], float]) -> dict[str, float]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[safe_text(sample.labels.get(label, ""), length=_MAX_ENGINE_LENGTH) or _DEFAULT_ENGINE].append(sample)
    return {engine: fold(s.value for s in _without_duplicates(group)) for engine, group in groups.items()}


def _matching(samples: Sequence[Sample], source: Source) -> Iterable[Sample]:
    if not source.where:
        return samples
    tests = [(label, _pattern(text)) for label, text in source.where]
    return [s for s in samples if all(pattern.fullmatch(s.labels.get(label, "")) for label, pattern in tests)]


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _without_duplicates(samples: list[Sample]) -> list[Sample]:
    """Drop samples that repeat others: further ranks of one engine, and parts of a total that is there too."""
    if len(samples) == 1:
        return samples
    for label, total in _TOTAL_LABEL_VALUES:
        totals = [s for s in samples if s.labels.get(label, total) == total]
        samples = totals or samples
    first = min(map(_rank, samples))
    return [s for s in samples if _rank(s) == first]


def _rank(sample: Sample) -> tuple[int, ...]:
    return tuple(int(r) if (r := sample.labels.get(label, "0")).isdecimal() else 0 for label in _RANK_LABELS)

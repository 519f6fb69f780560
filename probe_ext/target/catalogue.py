"""A metrics page into canonical figures: whichever engine wrote it, found by the names on the page.

Versions are not asked: third-party servers imitate vLLM's names, and gateways strip `/version`.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from probe_ext.target.engine_metrics import ENGINES, Engine, Source
from probe_ext.target.metrics_text import Page, Sample, Unreadable, parse
from probe_ext.target.quantities import QUANTITIES

WANTED: frozenset[str] = frozenset(
    [metric for engine in ENGINES for source in engine.sources for metric in source.metrics]
    + [metric for engine in ENGINES for metric, _ in engine.lookalikes]
)
"""every metric name that a poll parses"""

_ANYONES = frozenset({"process_start"})
_RANKS = ("pp_rank", "tp_rank", "moe_ep_rank")
_TOTALS = (("priority", ""), ("cache_source", "total"))
_LONE = "0"


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity of one data-parallel engine."""

    engine: str
    quantity: str
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What one page says."""

    kind: str
    """`vllm`, `sglang`, `llama.cpp`, `tgi`, `tensorrt-llm`, `triton`, `lmdeploy`, `nim`, `llm-d-sim`"""
    figures: tuple[Figure, ...]


def reading_of(body: bytes | str) -> Reading | Unreadable:
    """What a poll does with an answer: Unreadable says why nothing can be taken from it."""
    page = parse(body, WANTED)
    if isinstance(page, Unreadable):
        return page
    return read(page) or Unreadable("metrics of no engine known here")


def read(page: Page) -> Reading | None:
    """The figures of the engine that most of the page's names belong to; None when none of them is known."""
    named: dict[str, list[Sample]] = defaultdict(list)
    for sample in page.samples:
        named[sample.name].append(sample)
    readings = [(engine, _figures(engine, named, page)) for engine in ENGINES]
    engine, figures = max(readings, key=lambda pair: sum(f.quantity not in _ANYONES for f in pair[1]))
    if all(figure.quantity in _ANYONES for figure in figures):
        return None
    kind = next((kind for metric, kind in engine.lookalikes if metric in named), engine.kind)
    return Reading(kind, figures)


def _figures(engine: Engine, named: dict[str, list[Sample]], page: Page) -> tuple[Figure, ...]:
    figures: dict[str, dict[str, float]] = {}
    for source in engine.sources:
        if source.quantity in figures or not all(metric in named for metric in source.metrics):
            continue
        if source.help_says and source.help_says not in page.helps.get(source.metrics[0], ""):
            continue
        if values := _values(source, engine.engine_label, named):
            figures[source.quantity] = values
    return tuple(Figure(e, quantity, v) for quantity, by_engine in figures.items() for e, v in by_engine.items())


def _values(source: Source, label: str, named: dict[str, list[Sample]]) -> dict[str, float]:
    """The source's value by engine; an engine that lacks one of its metrics, or shows a NaN, is left out."""
    fold: Callable[[Iterable[float]], float] = max if QUANTITIES[source.quantity].within == "max" else sum
    parts = [_folded(_matching(named[metric], source), label, fold) for metric in source.metrics]
    engines = [engine for engine in parts[0] if all(engine in part for part in parts)]
    values = {engine: float(sum(part[engine] for part in parts)) for engine in engines}
    return {engine: value for engine, value in values.items() if math.isfinite(value)}


def _folded(samples: Iterable[Sample], label: str, fold: Callable[[Iterable[float]], float]) -> dict[str, float]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.labels.get(label) or _LONE].append(sample)
    return {engine: fold(s.value for s in _one_voice(group)) for engine, group in groups.items()}


def _matching(samples: Sequence[Sample], source: Source) -> Iterable[Sample]:
    if not source.where:
        return samples
    tests = [(label, _pattern(text)) for label, text in source.where]
    return [s for s in samples if all(pattern.fullmatch(s.labels.get(label, "")) for label, pattern in tests)]


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _one_voice(samples: list[Sample]) -> list[Sample]:
    """Without what says the same twice: further ranks of one engine, and parts beside their own total."""
    if len(samples) == 1:
        return samples
    for label, total in _TOTALS:
        whole = [s for s in samples if s.labels.get(label, total) == total]
        samples = whole or samples
    first = min(map(_rank, samples))
    return [s for s in samples if _rank(s) == first]


def _rank(sample: Sample) -> tuple[int, ...]:
    return tuple(int(r) if (r := sample.labels.get(label, "0")).isdecimal() else 0 for label in _RANKS)

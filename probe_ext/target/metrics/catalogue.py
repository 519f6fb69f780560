"""Convert a metrics page to canonical quantities; the engine is recognized by the metric names on the page.

Not by version: other servers imitate vLLM's names, and gateways hide `/version`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from probe_ext.measure.safe_text import safe_text
from probe_ext.target.metrics.engine_metrics import ENGINES, Engine, Source
from probe_ext.target.metrics.metrics_text import Page, Sample, Unreadable, matching, parse
from probe_ext.target.metrics.quantities import QUANTITIES, Quantity

METRIC_NAMES: frozenset[str] = frozenset(
    [metric for engine in ENGINES for source in engine.sources for metric in source.metrics]
    + [metric for engine in ENGINES for metric, _ in engine.lookalikes]
)
"""all metric names that are parsed"""

_GENERIC_QUANTITIES = frozenset({"process_start"})
_RANK_LABELS = ("pp_rank", "tp_rank", "moe_ep_rank")
_TOTAL_LABEL_VALUES = (("priority", ""), ("cache_source", "total"))
_DEFAULT_ENGINE = "0"
_MODEL_LABELS = ("model_name", "served_model_name", "model_id", "model")
_MODELS_ARE_PARTS = {"triton"}
"""engines whose label `model` names the steps of a pipeline"""
_REPLICA_LABELS = ("ReplicaId", "WorkerId", "pod", "exported_pod", "instance", "exported_instance")
"""of Ray Serve, and of a page that collects those of several servers, as Prometheus's `/federate` does"""
_COLLECTOR_LABELS = frozenset(
    {"job", "exported_job", "prometheus", "prometheus_replica", "monitor", "endpoint", "service", "container"}
)
"""in which copies of one server's series differ on such a page"""
_MAX_NAME_LENGTH = 80


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
    impossible: tuple[Figure, ...] = ()
    """values that no server can have; not among the figures"""
    other_models: tuple[str, ...] = ()
    """models whose series are not among the figures"""


def read_page(body: bytes | str, model: str | None = None) -> Reading | Unreadable:
    """Parse a page and convert it; Unreadable says why that is not possible. `model`: as `read` takes it."""
    page = parse(body, METRIC_NAMES)
    if isinstance(page, Unreadable):
        return page
    return read(page, model) or Unreadable(NO_KNOWN_ENGINE)


def read(page: Page, model: str | None = None) -> Reading | None:
    """Return the quantities of the engine that most metric names belong to; None if no engine is known.

    Of a page with series of several models, those of `model` count. If none has that name, which may be an alias, no
    series of a model counts: their sum would be nobody's.
    """
    by_name = _by_name(page.samples)
    readings = [(engine, _figures(engine, by_name, page)) for engine in ENGINES]
    engine, figures = max(readings, key=lambda pair: sum(f.quantity not in _GENERIC_QUANTITIES for f in pair[1]))
    if all(figure.quantity in _GENERIC_QUANTITIES for figure in figures):
        return None
    samples, other_models = _of_model(page.samples, model, engine.kind)
    if other_models:
        figures = _figures(engine, _by_name(samples), page)
    kind = next((kind for metric, kind in engine.lookalikes if metric in by_name), engine.kind)
    possible = [QUANTITIES[figure.quantity].is_possible(figure.value) for figure in figures]
    return Reading(
        kind,
        tuple(figure for figure, good in zip(figures, possible, strict=True) if good),
        tuple(figure for figure, good in zip(figures, possible, strict=True) if not good),
        other_models,
    )


def _by_name(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.name].append(sample)
    return by_name


def _of_model(samples: Sequence[Sample], model: str | None, kind: str) -> tuple[Sequence[Sample], tuple[str, ...]]:
    """Return the samples of the model, with those of no model; and the models that were left out."""
    labels = _MODEL_LABELS[:1] if kind in _MODELS_ARE_PARTS else _MODEL_LABELS
    names = [next((name for label in labels if (name := sample.labels.get(label))), "") for sample in samples]
    named = {name for name in names if name}
    if len(named) < 2:
        return samples, ()
    kept = {model} & named
    others = tuple(safe_text(name, length=_MAX_NAME_LENGTH) for name in sorted(named - kept))
    return [s for s, name in zip(samples, names, strict=True) if name in {"", *kept}], others


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
    """Return the source's value by engine, without engines that lack one of its metrics; NaN where a part of it is
    impossible."""
    fold: Callable[[Iterable[float]], float] = max if QUANTITIES[source.quantity].within == "max" else sum
    quantity = QUANTITIES[source.quantity]
    parts = [_folded(matching(by_name[metric], source.where), label, fold, quantity) for metric in source.metrics]
    engines = [engine for engine in parts[0] if all(engine in part for part in parts)]
    return {engine: float(sum(part[engine] for part in parts)) for engine in engines}


def _folded(
    samples: Iterable[Sample], label: str, fold: Callable[[Iterable[float]], float], quantity: Quantity
) -> dict[str, float]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[_engine(sample, label)].append(sample)
    folded = {}
    for engine, group in groups.items():
        values = [sample.value for sample in _without_duplicates(group)]
        wrong = [value for value in values if not quantity.is_possible(value)]
        # A sum or maximum could hide a part that is impossible.
        folded[engine] = wrong[0] if wrong else min(fold(values), 1.0) if quantity.unit == "fraction" else fold(values)
    return folded


def _engine(sample: Sample, label: str) -> str:
    """Return the engine of a sample; replicas on one page are told apart by further labels."""
    engine = safe_text(sample.labels.get(label, ""), length=_MAX_NAME_LENGTH) or _DEFAULT_ENGINE
    replica = next((value for name in _REPLICA_LABELS if (value := sample.labels.get(name))), "")
    return f"{engine}@{safe_text(replica, length=_MAX_NAME_LENGTH)}" if replica else engine


def _without_duplicates(samples: list[Sample]) -> list[Sample]:
    """Drop samples that repeat others: the same series again, further ranks of one engine, parts of a total."""
    if len(samples) == 1:
        return samples
    samples = list({_series(sample): sample for sample in samples}.values())
    for label, total in _TOTAL_LABEL_VALUES:
        totals = [s for s in samples if s.labels.get(label, total) == total]
        samples = totals or samples
    first = min(map(_rank, samples))
    return [s for s in samples if _rank(s) == first]


def _series(sample: Sample) -> frozenset[tuple[str, str]]:
    """Return the labels that tell a series from others, without those of whoever collected it."""
    return frozenset(pair for pair in sample.labels.items() if pair[0] not in _COLLECTOR_LABELS)


def _rank(sample: Sample) -> tuple[int, ...]:
    return tuple(int(r) if (r := sample.labels.get(label, "0")).isdecimal() else 0 for label in _RANK_LABELS)

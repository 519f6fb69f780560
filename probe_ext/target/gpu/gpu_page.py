"""Convert a GPU exporter's page to canonical quantities of each GPU."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from probe_ext.measure.safe_text import safe_text
from probe_ext.target.gpu.exporters import EXPORTERS, Exporter, GpuSource
from probe_ext.target.gpu.gpu_quantities import GPU_QUANTITIES
from probe_ext.target.metrics.catalogue import Figure, Reading
from probe_ext.target.metrics.metrics_text import Sample, Unreadable, matching, parse

GPU_METRIC_NAMES: frozenset[str] = frozenset(
    metric for exporter in EXPORTERS for source in exporter.sources for metric in source.metrics
)
NO_KNOWN_EXPORTER = "no metrics of a known GPU exporter"

_MAX_NAME_LENGTH = 48
_MAX_GPUS = 256
_MAX_BIT_MASK = 0xFFFF
_Parts = dict[tuple[str, str], float]
"""value by GPU and instance"""


def read_gpu_page(body: bytes | str, chosen: frozenset[str] | None = None) -> Reading | Unreadable:
    """Parse a page and convert it; `engine` of a figure is the GPU. Unreadable says why that is not possible."""
    page = parse(body, GPU_METRIC_NAMES)
    if isinstance(page, Unreadable):
        return page
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in page.samples:
        by_name[sample.name].append(sample)
    found = {exporter.kind: _figures(exporter, by_name) for exporter in EXPORTERS}
    kind = max(found, key=lambda name: len(found[name]))
    if not found[kind]:
        return Unreadable(NO_KNOWN_EXPORTER)
    figures = tuple(f for f in found[kind] if chosen is None or f.engine in chosen)
    present = sorted({f.engine for f in found[kind]})
    if missing := sorted((chosen or frozenset()) - set(present)):
        return Unreadable(f"no GPU {', '.join(missing)} on the page, which has {', '.join(present[:16])}")
    if len({f.engine for f in figures}) > _MAX_GPUS:
        return Unreadable(f"more than {_MAX_GPUS} GPUs on one page")
    return Reading(kind, figures)


def _figures(exporter: Exporter, by_name: Mapping[str, list[Sample]]) -> list[Figure]:
    """Return each quantity of each GPU from the first source that has it."""
    samples = [s for source in exporter.sources for metric in source.metrics for s in by_name.get(metric, ())]
    several_hosts = len({s.labels.get(exporter.host, "") for s in samples}) > 1
    figures: dict[tuple[str, str], float] = {}
    for source in exporter.sources:
        for gpu, value in _values(source, exporter, by_name, several_hosts=several_hosts).items():
            figures.setdefault((gpu, source.quantity), value)
    return [Figure(gpu, quantity, value) for (gpu, quantity), value in figures.items()]


def _values(
    source: GpuSource, exporter: Exporter, by_name: Mapping[str, list[Sample]], *, several_hosts: bool
) -> dict[str, float]:
    """Return the source's value by GPU, without what cannot be a measurement."""
    parts = [_parts(matching(by_name.get(m, ()), source.where), exporter, several_hosts) for m in source.metrics]
    quantity = GPU_QUANTITIES[source.quantity]
    low, high = quantity.limits
    by_gpu: dict[str, list[float]] = defaultdict(list)
    for key in parts[0]:
        raw = [part[key] for part in parts if key in part]
        if len(raw) < len(parts) or not all(map(math.isfinite, raw)):
            continue
        if source.bits and not all(0 <= v <= _MAX_BIT_MASK for v in raw):
            continue
        value = sum(raw) * source.scale if not source.bits else float(any(int(v) & source.bits for v in raw))
        # A ratio may exceed 1 by rounding; a temperature of 0 or a clock of 2^64 is a sensor that is not there.
        if low <= value <= high * (1 + 1e-6):
            by_gpu[key[0]].append(min(value, high))
    fold = sum if quantity.over == "sum" else max
    return {gpu: float(fold(values)) for gpu, values in by_gpu.items()}


def _parts(samples: Iterable[Sample], exporter: Exporter, several_hosts: bool) -> _Parts:
    """Return the value of each instance of each GPU; of repetitions (a GPU shared by pods), the largest."""
    parts: _Parts = {}
    for sample in samples:
        name = next((sample.labels[label] for label in exporter.devices if sample.labels.get(label)), "")
        if not name:
            continue
        host = f"{sample.labels.get(exporter.host, '')}/" if several_hosts else ""
        key = (safe_text(host + name, length=_MAX_NAME_LENGTH), sample.labels.get(exporter.instance, ""))
        parts[key] = max(sample.value, parts.get(key, -math.inf))
    return parts

"""What was replayed of a trace, as figures with their terms."""

from collections.abc import Callable, Mapping
from typing import Any

from probe_ext.verdict.phrasing import formats

_FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("requests", "requests of the trace", formats.count),
    ("sessions", "sessions", formats.count),
    ("seconds", "from first to last", formats.span),
    ("left_out", "left out", formats.count),
    ("replayed", "requests due", formats.count),
    ("not_sent", "of them not sent", formats.count),
    ("shared_meant", "of prompt tokens shared with earlier ones", formats.percent),
    ("shared_found", "of prompt tokens found in the prefix cache", formats.percent),
    ("behind_median", "behind, median", formats.seconds),
    ("behind_p95", "behind, 95 % within", formats.seconds),
    ("behind_max", "behind at most", formats.seconds),
    ("generator_late_max", "of it, the load generator's own, at most", formats.seconds),
)


def trace_facts(capacity: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and figure of each; empty without a trace."""
    values = capacity["trace"] or {}
    return [(label, text(values[key])) for key, label, text in _FIGURES if values.get(key) is not None]

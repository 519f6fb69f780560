"""Write a derived workload as a YAML file, with recorded values in files beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from probe_ext.measure.safe_text import printable
from probe_ext.tap.derived.derived_workload import DerivedKind, DerivedWorkload
from probe_ext.tap.derived.distribution_fits import Fit
from probe_ext.verdict.phrasing.formats import count, percent, span
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.workload.arrival_times import MAX_CV, MIN_CV
from probe_ext.workload.distribution_forms import Constant, Empirical

_INLINE_VALUES = 16
_MIN_GAMMA_DEVIATION = 0.15
"""of the burstiness from 1, below which arrivals are as good as random"""


def write_workload(path: Path, workload: DerivedWorkload, question: str) -> list[Path]:
    """Write the file and those of recorded values; return all of them. OSError if that fails."""
    values: dict[Path, Fit] = {}
    folder = path.with_name(f"{path.stem}.values")
    kinds = [_kind(kind, folder, values) for kind in workload.kinds]
    if values:
        folder.mkdir(parents=True, exist_ok=True)
    for file, fitted in values.items():
        file.write_text("".join(f"{value:g}\n" for value in _stored(fitted)), encoding="utf-8")
    content = {"question": question, "kinds": kinds, "arrivals": "users"}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    path.write_text("".join(f"# {line}\n" for line in _comments(workload)) + text, encoding="utf-8")
    return [path, *values]


def _stored(fitted: Fit) -> tuple[float, ...]:
    return fitted.distribution.values if isinstance(fitted.distribution, Empirical) else ()


def _kind(kind: DerivedKind, folder: Path, values: dict[Path, Fit]) -> dict[str, Any]:
    def form(name: str, fitted: Fit) -> Any:
        if not isinstance(fitted.distribution, Empirical) or len(_stored(fitted)) <= _INLINE_VALUES:
            return _plain(fitted.distribution.as_yaml())
        file = folder / f"{kind.group.name}-{name}.txt"
        values[file] = fitted
        return {"empirical": {"file": f"{folder.name}/{file.name}"}}

    result: dict[str, Any] = {"name": kind.group.name, "share": float(f"{kind.share:.4g}"), "api": kind.group.endpoint}
    models = {printable(name): number for name, number in kind.group.models.items() if name}
    if models:
        result["model"] = next(iter(models)) if len(models) == 1 else {"names": models}
    if kind.group.endpoint != "completion" and kind.system_tokens:
        result["system_prompt"] = {"tokens": kind.system_tokens}
    if kind.shared_prefix_tokens:
        result["shared_prefix_tokens"] = kind.shared_prefix_tokens
    result["prompts"] = {"tokens": form("prompts", kind.questions)}
    if kind.group.endpoint != "completion" and kind.turns.distribution != Constant(1.0):
        result["turns"] = form("turns", kind.turns)
    if kind.think is not None:
        result["think_time"] = form("think", kind.think)
    if kind.output is not None:
        result["output_tokens"] = form("output", kind.output)
    return {**result, "stream": round(kind.stream, 4)}


def _plain(value: Any) -> Any:
    """Return whole numbers without a fraction, as a person would write them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _comments(workload: DerivedWorkload) -> list[str]:
    lines = ["Made by probe tap from a recording. Users wait for their answers, then think, then ask again."]
    cv = workload.burstiness
    if cv is not None:
        gamma = abs(cv - 1) > _MIN_GAMMA_DEVIATION
        recorded = f"{{gamma: {{cv: {min(max(cv, MIN_CV), MAX_CV):.2g}}}}}" if gamma else "poisson"
        lines.append(f"As an open stream instead: arrivals: {recorded}, and --rate {workload.rate:.3g} as recorded.")
    for kind in workload.kinds:
        lines.append(f"{kind.group.name}: {things(len(kind.group.requests), 'request')} in "
                     f"{things(len(kind.group.sessions), 'session')}")  # fmt: skip
    return lines


def remarks(workload: DerivedWorkload, torn: int = 0) -> list[str]:
    """Return what a reader must know about the workload before using it. `torn`: lines that could not be read."""
    lines = [f"Left out: {things(torn, 'incomplete line')} of the recording."] if torn else []
    for kind in workload.kinds:
        name = kind.group.name
        if not kind.lengths.measured:
            lines.append(f"{name}: the server counted no prompt tokens; 4 characters are taken as one.")
        if kind.output is None:
            lines.append(f"{name}: the server counted no reply tokens; set output_tokens yourself.")
        if kind.think is None:
            lines.append(f"{name}: no session has a second request, so no think time is known: its users ask again at "
                         "once. Set think_time, or run it as an open stream with --rate.")  # fmt: skip
        if kind.repeated >= 0.1:
            lines.append(f"{name}: {percent(kind.repeated)} of its prompts had been sent before word by word; the "
                         "workload's are all different.")  # fmt: skip
    left = workload.left_out
    if left.failed:
        lines.append(f"{things(left.failed, 'request')} without an answer left out.")
    if left.too_rare:
        lines.append(f"{things(left.too_rare, 'request')} of rare kinds left out.")
    return [*lines, "Replies are as long as recorded only with --ignore-eos: otherwise the model may stop earlier."]


def fit_rows(workload: DerivedWorkload) -> list[tuple[str, ...]]:
    """Return the table of fits: kind, quantity, number, mean, p50, p95, form, distance."""
    rows = []
    for kind in workload.kinds:
        fits = (("prompt, tokens", kind.questions, count), ("turns", kind.turns, count),
                ("think time", kind.think, span), ("reply, tokens", kind.output, count))  # fmt: skip
        for name, fitted, shown in fits:
            if fitted is not None:
                rows.append(_row(kind.group.name, name, fitted, times=shown is span))
    return rows


def _row(kind: str, name: str, fitted: Fit, *, times: bool) -> tuple[str, ...]:
    ordered, unit = fitted.values, " s" if times else ""
    figures = (sum(ordered) / len(ordered), ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))])
    shown = (f"{figure:.3g}{unit}" for figure in figures)
    return (kind, name, count(len(ordered)), *shown, fitted.distribution.name, f"{fitted.distance:.3f}")

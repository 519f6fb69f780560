"""Read a distribution as a workload file states it: a number, or one key such as `{uniform: [100, 300]}`.

Errors are ValueErrors whose text goes on after the key: with a deeper key, or with a colon.
"""

import csv
import math
import reprlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from probe_ext.closest_name import did_you_mean
from probe_ext.settings.durations import seconds
from probe_ext.settings.small_file import read_small_file
from probe_ext.workload.distribution_forms import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Lognormal,
    Normal,
    Uniform,
)

Number = Callable[[Any], float]
"""reads a number of the kind that is asked for; ValueError with the reason"""

MAX_FILE_BYTES = 16 * 1024 * 1024
_NAMED: dict[str, type[Normal | Lognormal | Exponential]] = {
    form.name: form for form in (Normal, Lognormal, Exponential)
}
FORMS = ("constant", "uniform", *_NAMED, "empirical")
_EMPIRICAL_KEYS = ({"file"}, {"file", "column"}, {"values"})


def count_number(raw: Any) -> float:
    """Read a number of tokens or turns."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError("is not a number")  # noqa: TRY004 -- pydantic reports ValueErrors
    return raw


def duration_number(raw: Any) -> float:
    """Read seconds: a number, or text such as `30s`."""
    return seconds(raw) if isinstance(raw, str) else count_number(raw)


def read_distribution(raw: Any, number: Number, folder: Path) -> Distribution:
    """Return the distribution that a value of a workload file describes; `folder`: where its files are."""
    if isinstance(raw, Distribution):
        return raw
    if not isinstance(raw, dict):
        return Constant(_number(raw, number, ""))
    if len(raw) != 1:
        raise ValueError(f": {reprlib.repr(raw)}: must be a number or a single key of {', '.join(FORMS)}")
    form, given = next(iter(raw.items()))
    if form not in FORMS:
        raise ValueError(f"{form}: unknown distribution{did_you_mean(str(form), FORMS)}; valid: {', '.join(FORMS)}")
    try:
        return _of_form(form, given, number, folder)
    except ValueError as error:
        text = str(error)
        raise ValueError(f"{form}{text if text.startswith(':') else f'.{text}'}") from error


def _of_form(form: str, given: Any, number: Number, folder: Path) -> Distribution:
    if form == "constant":
        return Constant(_number(given, number, ""))
    if form == "uniform":
        if not isinstance(given, list) or len(given) != 2:
            raise ValueError(f": {reprlib.repr(given)}: must be two numbers, [low, high]")
        low, high = (_number(end, number, name) for end, name in zip(given, ("low", "high"), strict=True))
        return Uniform(low, high)
    if form == "empirical":
        return _empirical(given, number, folder)
    return _named(_NAMED[form], given, number)


def _named(form: type[Normal | Lognormal | Exponential], given: Any, number: Number) -> Distribution:
    known = form.parameter_names()
    if not isinstance(given, dict):
        raise ValueError(f": {reprlib.repr(given)}: must be parameters by name: {', '.join(known)}")  # noqa: TRY004 -- as above
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: unknown key{did_you_mean(str(name), known)}; valid keys: {', '.join(known)}")
    values = {name: _number(value, number, name) for name, value in given.items()}
    required = {"normal": ("mean", "sd"), "exponential": ("mean",)}.get(form.name, ())
    for name in required:
        if name not in values:
            raise ValueError(f"{name}: is missing")
    return form(**values)


def _empirical(given: Any, number: Number, folder: Path) -> Distribution:
    if isinstance(given, str):
        given = {"file": given}
    if not isinstance(given, dict) or set(given) not in _EMPIRICAL_KEYS:
        raise ValueError(f": {reprlib.repr(given)}: must be a file, or file and column, or values")
    if "values" in given:
        if not isinstance(given["values"], list):
            raise ValueError(f"values: {reprlib.repr(given['values'])}: must be a list of numbers")
        return Empirical(tuple(_number(value, number, "values") for value in given["values"]))
    name, column = given.get("file"), given.get("column")
    if not isinstance(name, str) or not name:
        raise ValueError(f"file: {reprlib.repr(name)}: must be the name of a file")
    if column is not None and not isinstance(column, str):
        raise ValueError(f"column: {reprlib.repr(column)}: must be the name of a column")
    path = folder / name
    try:
        text = read_small_file(path, MAX_FILE_BYTES)
        return Empirical(tuple(_numbers(text, column)))
    except ValueError as error:
        raise ValueError(f": {path}: {error}") from error


def _numbers(text: str, column: str | None) -> Iterator[float]:
    """Return the numbers of a file: one a line, or those of a CSV file's column. Empty lines are skipped."""
    rows = csv.reader(text.splitlines(), strict=True)
    index = 0
    try:
        if column is not None:
            head = [name.strip() for name in next(rows, [])]
            if column not in head:
                raise ValueError(f"has no column {column!r}{did_you_mean(column, head)}; columns: {', '.join(head)}")
            index = head.index(column)
        for row in rows:
            if not any(field.strip() for field in row) or (column is None and row[0].lstrip().startswith("#")):
                continue
            if column is None and len(row) > 1:
                raise ValueError(f"line {rows.line_num}: has {len(row)} columns; name one as column")
            yield _in_file(row[index] if index < len(row) else "", rows.line_num)
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error


def _in_file(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"line {line}: {text[:40]!r} is not a number of 0 or more")
    return value


def _number(raw: Any, number: Number, name: str) -> float:
    """Read a number, with its key in the error; a bare number has no key of its own."""
    try:
        value = number(raw)
        Constant(value)
    except ValueError as error:
        reason = str(error).removeprefix("value: ").removeprefix(f"{raw}: ")
        raise ValueError(f"{name}: {reprlib.repr(raw)}: {reason}") from error
    return value

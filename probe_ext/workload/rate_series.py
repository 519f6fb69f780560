"""A rate over time, from a file: a recorded day, scaled to another size and to a shorter time.

The file is CSV with two columns, a time and a rate in requests per second, with or without a line of names. Each rate
holds until the next time; the last one as long as the one before it. Times are seconds, durations such as `90m`, or
times of day such as `08:30`.
"""

import csv
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from probe_ext.load.level_plan import MAX_RATE
from probe_ext.load.series_plan import RateStep
from probe_ext.measure.rate import Rate
from probe_ext.settings.durations import seconds
from probe_ext.settings.small_file import read_small_file

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_STEPS = 10_000
MIN_STEP_S = 1.0
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?")
_NAMES = ("t", "time", "rate")


def read_series(path: Path, rate_scale: float = 1.0, time_scale: float = 1.0) -> tuple[RateStep, ...]:
    """Return the steps of a file: rates times `rate_scale`, `time_scale` times faster than recorded.

    ValueError names the line and what is wrong with it.
    """
    rows = _rows(read_small_file(path, MAX_FILE_BYTES))
    if len(rows) < 2:
        raise ValueError("needs at least two lines, each with a time and a rate")
    if len(rows) > MAX_STEPS:
        raise ValueError(f"has {len(rows):,} lines, more than {MAX_STEPS:,}")
    lengths = [_length(before, after) / time_scale for before, after in itertools.pairwise(rows)]
    if min(lengths) < MIN_STEP_S:
        raise ValueError(f"has a step of {min(lengths):.2g} s after scaling; each must last at least {MIN_STEP_S:g} s")
    steps = [
        RateStep(_scaled(rate, rate_scale, line), length)
        for (line, _, rate), length in zip(rows, [*lengths, lengths[-1]], strict=True)
    ]
    if not any(step.rate for step in steps):
        raise ValueError("has no rate above 0")
    return tuple(steps)


def _rows(text: str) -> list[tuple[int, float, float]]:
    """Return line number, time and rate of each line that is not empty."""
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        return list(_rows_of(reader))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _rows_of(reader: "CsvReader") -> Iterator[tuple[int, float, float]]:
    begun = False
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if not begun and row[0].strip().lower() in _NAMES:
            continue
        begun = True
        if len(row) != 2:
            raise ValueError(f"line {reader.line_num}: must have a time and a rate, separated by a comma")
        yield reader.line_num, _time(row[0].strip(), reader.line_num), _rate(row[1].strip(), reader.line_num)


def _time(text: str, line: int) -> float:
    if parts := _TIME_OF_DAY.fullmatch(text):
        hours, minutes, rest = (int(part or 0) for part in parts.groups())
        return 3600.0 * hours + 60 * minutes + rest
    try:
        return seconds(text)
    except ValueError as error:
        raise ValueError(f"line {line}: {text[:40]!r} is not a time, such as 60, 90m or 08:30") from error


def _rate(text: str, line: int) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= MAX_RATE:
        raise ValueError(f"line {line}: {text[:40]!r} is not a rate (0 to {MAX_RATE:,.0f} requests/s)")
    return rate


def _length(before: tuple[int, float, float], after: tuple[int, float, float]) -> float:
    if after[1] <= before[1]:
        raise ValueError(f"line {after[0]}: its time must be later than that of the line before")
    return after[1] - before[1]


def _scaled(rate: float, scale: float, line: int) -> Rate:
    if rate * scale > MAX_RATE:
        raise ValueError(f"line {line}: its rate is more than {MAX_RATE:,.0f} requests/s after scaling")
    scaled = Rate.of(rate * scale)
    if rate and not scaled:  # must not become a pause
        raise ValueError(
            f"line {line}: its rate is too small; above 0, it must be at least 0.001 requests/s after scaling"
        )
    return scaled

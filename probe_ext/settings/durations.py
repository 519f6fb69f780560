"""Durations such as 30s or 1h30m."""

import math
import re

_SECONDS_PER_UNIT = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_DURATION = re.compile(rf"{_NUMBER}|(?:{_NUMBER}(?:ms|s|m|h))+")
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|)")


def seconds(text: str) -> float:
    """Return `30`, `30s`, `500ms`, `2m` or `1h30m` in seconds. ValueError for anything else."""
    text = text.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError("invalid duration (e.g. 30s, 500ms or 2m)")
    total = sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in _PART.findall(text))
    if not math.isfinite(total):
        raise ValueError("duration is too long")
    return total

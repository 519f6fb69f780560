"""Durations as people write them."""

import math
import re

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)")


def seconds(text: str) -> float:
    """`30`, `30s`, `500ms`, `2m`, `1h30m` in seconds. ValueError for anything else."""
    text = text.strip().lower()
    parts = _PART.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text or (len(parts) > 1 and not parts[-1][1]):
        raise ValueError("is no duration such as 30s, 500ms or 2m")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not math.isfinite(total):
        raise ValueError("is longer than any run")
    return total

"""The load of an open stream: requests per second that are asked for, whether or not the server keeps up.

A level of a run is a number of users or a rate. Everything that orders, compares and interpolates levels takes either,
since a rate is an integer, too: of thousandths of a request per second.
"""

import math
from typing import Any

PER_SECOND = 1000
"""units in 1 request per second"""
DIGITS = 3
"""of an estimate; what a user asked for keeps all of its own"""


class Rate(int):
    """A rate in thousandths of a request per second. As text, it is the number of requests per second."""

    @classmethod
    def of(cls, per_second: float) -> "Rate":
        """Return the rate of so many requests per second."""
        return cls(round(per_second * PER_SECOND))

    @property
    def per_second(self) -> float:
        return int(self) / PER_SECOND

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        if spec not in {"", ","}:
            return format(int(self), spec)
        text = f"{self.per_second:,.3f}" if spec else f"{self.per_second:.3f}"
        return text.rstrip("0").rstrip(".")


def in_unit_of(like: int, load: float, *, up: bool = False) -> int:
    """Return an estimated load as a whole number of users, or as a rate of DIGITS digits if `like` is a rate.

    Rounded down, or `up`.
    """
    if not isinstance(like, Rate):
        return int(load)
    step = 10 ** max(0, math.floor(math.log10(load)) + 1 - DIGITS) if load >= 1 else 1
    return Rate((math.ceil if up else math.floor)(load / step) * step)


def as_json(value: Any) -> Any:
    """Return a rate as requests per second, also within lists and dictionaries; anything else as it is."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value.per_second if isinstance(value, Rate) else value

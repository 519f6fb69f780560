"""Read option values from text. Each reader raises ValueError with the rest of a sentence that names flag and value."""

import math
import re
from collections.abc import Callable
from typing import TypeVar

from probe_ext.load.level_plan import MAX_USERS
from probe_ext.settings.durations import seconds

T = TypeVar("T")

MIN_PAUSE_S, MAX_PAUSE_S = 0.001, 86_400.0
"""mean pause of a user, if not 0"""

_DIGITS = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off", "")


def text_or_none(text: str) -> str | None:
    """Return the stripped text, None if empty."""
    return text.strip() or None


def positive_int(text: str) -> int:
    """Read an integer of at least 1."""
    if not _DIGITS.fullmatch(text.strip()) or int(text) < 1:
        raise ValueError("must be a positive integer")
    return int(text)


def non_negative_int(text: str) -> int:
    """Read an integer of at least 0."""
    if not _DIGITS.fullmatch(text.strip()):
        raise ValueError("must be a non-negative integer")
    return int(text)


def user_count(text: str) -> int:
    """Read a number of users, 1 to MAX_USERS."""
    users = positive_int(text)
    if users > MAX_USERS:
        raise ValueError(f"must be at most {MAX_USERS}")
    return users


def number(text: str) -> float:
    """Read a finite decimal number such as 0.7, .7 or 1e-2; stricter than float(), which takes nan, inf and 1_0."""
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise ValueError("is not a number")
    return float(text)


def positive_number(text: str) -> float:
    """Read a number greater than 0."""
    value = number(text)
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


def share(text: str) -> float:
    """Read a share greater than 0 and at most 1, as 0.2 or 20%."""
    percent = text.strip().endswith("%")
    value = number(text.strip().removesuffix("%")) / (100 if percent else 1)
    if not 0 < value <= 1:
        raise ValueError("must be greater than 0 and at most 100%")
    return value


def positive_seconds(text: str) -> float:
    """Read a duration greater than 0."""
    value = seconds(text)
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


def pause(text: str) -> float:
    """Read a user's mean pause: 0, or MIN_PAUSE_S to MAX_PAUSE_S."""
    value = seconds(text)
    if value and not MIN_PAUSE_S <= value <= MAX_PAUSE_S:
        raise ValueError("must be 0, or 1ms to 24h")
    return value


def warm_up_requests(text: str) -> int | None:
    """Read a number of concurrent requests: 0 for `off`, None for `auto`."""
    text = text.strip()
    if text in {"auto", "off"}:
        return None if text == "auto" else 0
    if not _DIGITS.fullmatch(text) or int(text) < 1:
        raise ValueError("must be a positive integer, auto or off")
    return int(text)


def url_list(text: str) -> tuple[str, ...]:
    """Read comma-separated http(s) URLs."""
    urls = tuple(part.strip() for part in text.split(",") if part.strip())
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an http(s) URL")
    return urls


def switch(text: str) -> bool:
    """Read a flag, also from an environment variable's text."""
    text = text.strip().lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(f"must be one of {', '.join(_TRUE)} or {', '.join(_FALSE[:-1])}")
    return text in _TRUE


def optional(read: Callable[[str], T]) -> Callable[[str], T | None]:
    """Make a reader that returns None for empty text."""
    return lambda text: read(text) if text.strip() else None


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a reader that accepts these texts only."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read

"""People, things and dimensions in plain words, singular and plural."""

import math
from collections.abc import Sequence
from typing import Literal

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing.formats import seconds

CAUSES = {
    "first_word": "the wait for the first word",
    "typing": "typing speed",
    "silence": "silent pauses",
    "answer": "failed or late answers",
}


Who = Literal["people", "agents"]
"""what the users of a run are called: people, unless all of them are agents"""
RATE_UNIT = "requests/s"
"""unit of a rate, which stands for users in a run with an open stream"""


def unit(load: int) -> str:
    """Return `users`, or `requests/s` of a rate."""
    return RATE_UNIT if isinstance(load, Rate) else "users"


def more(load: int) -> str:
    """Return what more load than this is: `more users`, `higher rates`."""
    return "higher rates" if isinstance(load, Rate) else "more users"


def cause(dimension: str | None) -> str:
    """Name the dimension that failed, in plain words."""
    return CAUSES.get(dimension or "", "several dimensions together")


def are_or_is(dimension: str | None) -> str:
    """Return the verb that `cause` takes."""
    return "is" if dimension in {"first_word", "typing"} else "are"


def capitalised(text: str) -> str:
    """Return the text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def people(n: int, who: Who = "people") -> str:
    """Return `1 person`, `8 people`, `8 agents`; of a rate `7.5 requests/s`."""
    if isinstance(n, Rate):
        return _rate(n)
    return f"{n:,} {one_of(who) if n == 1 else who}"


def one_of(who: Who) -> str:
    """Return `person`, `agent`."""
    return "agent" if who == "agents" else "person"


def who_pause(n: int, pause: float | None) -> str:
    """Return ` who pause 30 s on average`, of several people; empty where they ask again at once."""
    if pause is None:
        return ""
    return f" who {'pauses' if n == 1 else 'pause'} {seconds(pause)} on average"


def things(n: int, singular: str, plural: str = "") -> str:
    """Return `1 reply`, `3 replies`; the plural defaults to the singular with an s. Of a rate: `7.5 requests/s`."""
    if isinstance(n, Rate):
        return _rate(n)
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def minutes(length: float, singular: str = "minute") -> str:
    """Return `4 minutes` for a length in seconds, rounded up; `4 more minutes` where the singular is `more minute`."""
    return things(math.ceil(length / 60), singular)


def some_of(some: int, total: int, singular: str, plural: str = "") -> str:
    """Return `3 of 5 replies`, `all 5 replies`, `the only reply`."""
    if some < total:
        return f"{some:,} of {things(total, singular, plural)}"
    return f"the only {singular}" if total == 1 else f"all {things(total, singular, plural)}"


def is_one(n: int) -> bool:
    """Tell whether a number takes the singular: `1 user`, `1 request/s`."""
    return n == (Rate.of(1) if isinstance(n, Rate) else 1)


def is_or_are(n: int) -> str:
    """Return the verb of so many things."""
    return "is" if is_one(n) else "are"


def was_or_were(n: int) -> str:
    """Return the verb of so many things, in the past."""
    return "was" if is_one(n) else "were"


def _rate(rate: Rate) -> str:
    """Return `1 request/s`, `7.5 requests/s`."""
    return "1 request/s" if is_one(rate) else f"{rate:,} {RATE_UNIT}"


def levels(numbers: Sequence[int], most: int = 4) -> str:
    """Return `1 user`, `4 and 8 users`, `2 and 4 requests/s`."""
    if len(numbers) == 1:
        return things(numbers[0], "user")
    return f"{listed([f'{number:,}' for number in numbers], most)} {unit(numbers[0])}" if numbers else ""


def listed(words: Sequence[str], most: int = 4) -> str:
    """Return `a, b and c`; of more than `most`, the first few and how many more."""
    shown = list(words[:most])
    if len(words) > most:
        return f"{', '.join(shown)} and {len(words) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)

"""Types of values in `capacity.json`, with the limits that their JSON Schema states, and what rates look like in it.

A rate has keys of its own in the main answer, so that nobody takes it for users.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from probe_ext.measure.rate import as_json

DIMENSIONS = ("first_word", "typing", "silence", "answer")


@dataclass(frozen=True)
class Limits:
    """Limits of a value; None: not limited."""

    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    one_of: tuple[str, ...] | None = None
    unique_items: bool | None = None
    required: tuple[str, ...] | None = None
    """keys that an object must have"""
    decimals: bool = False
    """an integer of the program that the JSON may hold as a decimal number"""
    nullable: bool = False
    """an integer of the program that the JSON may hold as null"""


Text = Annotated[str, Limits(min_length=1)]
Count = Annotated[int, Limits(minimum=0)]
Amount = Annotated[float, Limits(minimum=0)]
"""Seconds, tokens, rates or money."""
Fraction = Annotated[float, Limits(minimum=0, maximum=1)]
Dimension = Annotated[str, Limits(one_of=DIMENSIONS)]
Load = Annotated[int, Limits(minimum=0, decimals=True)]
"""Users; in a run with an open stream a `Rate`, which is in requests per second in the JSON."""
Users = Annotated[int, Limits(minimum=0, nullable=True)]
"""Users; in a run with an open stream null, as a key beside it has the rate."""
Bracket = tuple[Load | None, Load | None]
"""Largest number of users that holds, smallest number that fails; None where there is no such level."""
Interval = tuple[Load, Load | None]
"""Lowest and highest value that the data allow; None: no highest."""
State = Literal["held", "failed", "unproven"]
"""A level is proven to be served, proven not to be, or neither."""

_ANSWER = {"served_users": "served_rate", "interval": "rate_interval", "bracket": "rate_bracket"}
_OF_USERS = ("estimate", "suggestion")
_LEVEL_USERS = ("users", "users_low", "users_high")


@dataclass(frozen=True)
class RateSuggestion:
    """What the data suggest, proven or not, in requests per second."""

    rate: Amount
    low: Amount
    high: Amount | None


def in_json(view: dict[str, Any]) -> dict[str, Any]:
    """Return a judgement's view with every rate in requests per second, and the main answer under the keys of rates."""
    if view["load"] != "rate":
        return view
    found = {**view, **dict.fromkeys(_OF_USERS)}
    for users, rate in _ANSWER.items():
        found[users], found[rate] = None, view[users]
    found["bracket"] = [None, None]
    if suggestion := view["suggestion"]:
        found["rate_suggestion"] = {"rate": suggestion["users"], "low": suggestion["low"], "high": suggestion["high"]}
    found["levels"] = [{**level, **dict.fromkeys(_LEVEL_USERS)} for level in view["levels"]]
    plain: dict[str, Any] = as_json(found)
    return plain

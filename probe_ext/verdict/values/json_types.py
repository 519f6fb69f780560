"""Types of values in `capacity.json`, with the limits that their JSON Schema states."""

from dataclasses import dataclass
from typing import Annotated, Literal

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

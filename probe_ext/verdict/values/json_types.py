"""Types of values in `capacity.json`, with the limits that their JSON Schema states."""

from dataclasses import dataclass
from typing import Annotated

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


Text = Annotated[str, Limits(min_length=1)]
Count = Annotated[int, Limits(minimum=0)]
Amount = Annotated[float, Limits(minimum=0)]
"""Seconds, tokens, rates or money."""
Fraction = Annotated[float, Limits(minimum=0, maximum=1)]
Dimension = Annotated[str, Limits(one_of=DIMENSIONS)]
Bracket = tuple[Count | None, Count | None]
"""Largest number of users that holds, smallest number that fails; None where there is no such level."""

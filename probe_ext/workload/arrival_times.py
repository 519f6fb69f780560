"""When the requests of an open stream arrive: seeded schedules, the same in every process.

A schedule belongs to one *segment* of a run: a stretch of constant rate with the same workers. Every worker computes
the whole schedule and takes each W-th arrival of it, so that four workers send at the moments when one would have sent.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

T = TypeVar("T")
Form = Literal["constant", "poisson", "gamma"]
FORMS: tuple[Form, ...] = ("constant", "poisson", "gamma")
MIN_CV, MAX_CV = 0.1, 10.0


@dataclass(frozen=True)
class ArrivalForm:
    """How the gaps between arrivals are distributed around their mean.

    `constant`: all alike. `poisson`: exponential, as of many people who do not know of each other. `gamma`: with a
    coefficient of variation `cv`; above 1, arrivals come in bursts.
    """

    form: Form = "poisson"
    cv: float = 1.0
    """standard deviation of the gaps ÷ their mean; for `gamma`"""

    def times(self, rate: float, seed: str) -> Iterator[float]:
        """Yield seconds from the start of a segment, without end. `rate`: arrivals per second, above 0."""
        rng = random.Random(seed)  # noqa: S311 -- no secret
        at = self._first(rate, rng)
        while True:
            yield at
            at += self._gap(rate, rng)

    def _first(self, rate: float, rng: random.Random) -> float:
        """Return the time from a random moment to the next arrival, so that the rate holds from the start.

        The gap around a random moment is longer than most: its density is that of a gap, weighted by length.
        """
        if self.form == "constant":
            return rng.random() / rate
        if self.form == "poisson":
            return rng.expovariate(rate)
        return rng.random() * rng.gammavariate(1 / self.cv**2 + 1, self.cv**2 / rate)

    def _gap(self, rate: float, rng: random.Random) -> float:
        if self.form == "constant":
            return 1 / rate
        if self.form == "poisson":
            return rng.expovariate(rate)
        return rng.gammavariate(1 / self.cv**2, self.cv**2 / rate)

    def as_json(self) -> dict[str, object]:
        """Return the form for the manifest and for workers; `cv` only where it matters."""
        return {"form": self.form, **({"cv": self.cv} if self.form == "gamma" else {})}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "ArrivalForm":
        """Return the form that `as_json` described. ValueError if it is none."""
        form, cv = content.get("form"), content.get("cv", 1.0)
        known = next((one for one in FORMS if one == form), None)
        if known is None or not isinstance(cv, int | float) or not MIN_CV <= cv <= MAX_CV:
            raise ValueError(f"{content} is not a form of arrivals")
        return cls(known, float(cv))


def segment_seed(seed: int, number: int) -> str:
    """Return the seed of a run's segment."""
    return f"arrivals {seed} {number}"


def own_share(arrivals: Iterator[T], index: int, of: int) -> Iterator[T]:
    """Yield what worker `index` of `of` takes of a schedule."""
    return islice(arrivals, index, None, of)


def kind_of(shares: Mapping[str, float], seed: str, number: int) -> str:
    """Return which kind of user the arrival with this number in its segment is of; empty without kinds.

    It follows from the seed and the number, whoever takes the arrival.
    """
    if not shares:
        return ""
    names = list(shares)
    return random.Random(f"{seed} {number}").choices(names, [shares[name] for name in names])[0]  # noqa: S311 -- no secret


def count_until(times: Iterator[float], seconds: float) -> int:
    """Return how many arrivals of a schedule lie before `seconds`."""
    number = 0
    for at in times:
        if at >= seconds:
            break
        number += 1
    return number

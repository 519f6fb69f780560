"""When the requests of an open stream arrive: seeded schedules, the same in every process.

A schedule belongs to one *segment* of a run: a stretch of constant rate with the same workers. Every worker computes
the whole schedule and takes each W-th arrival of it, so that four workers send at the moments when one would have sent.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from probe_ext.workload.draws import pick, uniform_share
from probe_ext.workload.traces.replay_times import Replayed

Form = Literal["constant", "poisson", "gamma"]
TRACE = "trace"
"""form of the arrivals of a replayed trace, whose times are recorded and not drawn"""
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


@dataclass(frozen=True, slots=True)
class ScheduledArrival:
    """One arrival of a segment, the same whoever takes it."""

    at: float
    """seconds from the start of the segment"""
    kind: str
    """of user; empty without kinds to choose from"""
    in_run: int
    """how many arrivals of the run come before it"""
    in_kind: int
    """how many of them are of its kind"""
    replayed: Replayed | None = None
    """which request of a trace it stands for"""


def own_arrivals(
    times: Iterator[float],
    kinds: Mapping[str, float],
    seed: str,
    before: Mapping[str, int],
    index: int,
    of: int,
    *,
    to_each: bool = False,
) -> Iterator[ScheduledArrival]:
    """Yield what worker `index` of `of` takes of a segment's schedule.

    `before`: number of arrivals of each kind in the run's earlier segments. `to_each`: every arrival comes to each
    kind, as the same one of its run; the workers take turns within an arrival, too.
    """
    if to_each:
        for number, at in enumerate(times):
            for place, kind in enumerate(kinds):
                if (number + place) % of == index:
                    place_in_run = before.get(kind, 0) + number
                    yield ScheduledArrival(at, kind, place_in_run, place_in_run)
        return
    counts, in_run = Counter(before), sum(before.values())
    for number, at in enumerate(times):
        kind = kind_of(kinds, seed, number)
        if number % of == index:
            yield ScheduledArrival(at, kind, in_run + number, counts[kind])
        counts[kind] += 1


class ArrivalCount:
    """Counts the arrivals of a segment, by kind, as time goes on."""

    def __init__(self, times: Iterator[float], kinds: Mapping[str, float], seed: str, *, to_each: bool = False) -> None:
        self._arrivals = own_arrivals(times, kinds, seed, {}, 0, 1, to_each=to_each)
        self._next: ScheduledArrival | None = None
        self._counts: Counter[str] = Counter()

    def until(self, seconds: float) -> Counter[str]:
        """Return how many of each kind lie before `seconds` from the start; never less than in an earlier call."""
        while True:
            self._next = self._next or next(self._arrivals)
            if self._next.at >= seconds:
                return self._counts
            self._counts[self._next.kind] += 1
            self._next = None


def kind_of(shares: Mapping[str, float], seed: str, number: int) -> str:
    """Return which kind of user the arrival with this number in its segment is of; empty without kinds.

    It follows from the seed and the number, whoever takes the arrival.
    """
    if not shares:
        return ""
    total = sum(shares.values())
    return pick({name: share / total for name, share in shares.items()}, uniform_share("arrival's kind", seed, number))

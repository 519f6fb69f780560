"""Who asks: lengths of prompts and answers, pauses to think, and what stands between them and the server."""

import math
from dataclasses import dataclass
from random import Random

LONGEST_SIGMA = 4.0
"""no length lies further above the median than this, in sigmas: every request must fit the cache"""


@dataclass(frozen=True)
class People:
    """How simulated people ask. Tokens and seconds; a spread is the sigma of a log-normal around the mean."""

    prompt: int = 200
    """tokens of a prompt, those that all share included"""
    reply: int = 80
    prompt_spread: float = 0.0
    reply_spread: float = 0.15
    shared: int = 0
    """tokens at the start of every prompt that are the same for all"""
    think: float = 0.0
    """mean seconds, exponential, between the end of an answer and the next question"""
    cached: float = 0.0
    """share of the questions that a response cache in front answers at once, from memory"""
    first_token_only: bool = False
    """whether something in front cuts every answer to its first token"""

    def __post_init__(self) -> None:
        if not 0 <= self.shared < self.prompt:
            raise ValueError(f"shared: {self.shared} of {self.prompt} prompt tokens leaves none of a user's own")


@dataclass(frozen=True)
class Question:
    """One request as it is drawn: tokens."""

    own: int
    reply: int
    from_cache: bool


class Draws:
    """Draws from a seed; the same seed draws the same."""

    def __init__(self, people: People, seed: int) -> None:
        self._people = people
        self._random = Random(f"people/{seed}")  # noqa: S311 - a simulation, no secret

    def question(self) -> Question:
        """The next question, whoever asks it."""
        people = self._people
        own = self._length(people.prompt - people.shared, people.prompt_spread)
        reply = 1 if people.first_token_only else self._length(people.reply, people.reply_spread)
        return Question(own, reply, self._random.random() < people.cached)

    def think(self) -> float:
        """Seconds until the next question."""
        return self._random.expovariate(1 / self._people.think) if self._people.think else 0.0

    def _length(self, mean: int, spread: float) -> int:
        if not spread:
            return mean
        middle = math.log(mean) - spread**2 / 2
        drawn = min(self._random.gauss(0.0, 1.0), LONGEST_SIGMA)
        return max(1, round(math.exp(middle + spread * drawn)))

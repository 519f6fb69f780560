"""Lays text of a stated length: a beginning that no other text of the run has, bricks, single words, a request."""

import math
import random
from functools import cached_property, lru_cache

from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.phrases import REQUESTS, bricks, generator

_NUMBERS_EACH = 1 << 20
"""texts that a user may have before the beginnings of two users could meet"""
_BEGINNINGS = _NUMBERS_EACH << 30
"""at least so many: room for a thousand million user numbers, since workers take theirs far apart"""
_FILLERS = 64


class TooShortError(ValueError):
    """The asked length cannot hold what every prompt needs; the message names both."""


@lru_cache(maxsize=8)
def layer(seed: int | str, model: LengthModel) -> "Layer":
    """The layer of a seed and a model: one for all users of a process, since making one takes a millisecond."""
    return Layer(seed, model)


class Layer:
    """Texts of one seed. The same (user, number) is the same text in any process and any number of workers."""

    def __init__(self, seed: int | str, model: LengthModel) -> None:
        self._seed = seed
        self._model = model
        runs = bricks(seed).runs
        self._runs = tuple(run for run in runs if run in model.known) or runs
        self._alphabet = model.sure
        self._fillers = sorted(model.sure, key=lambda word: (model.tokens(word), word))[:_FILLERS]
        self._costs = {piece: model.tokens(piece) for piece in (*self._runs, *self._fillers, *REQUESTS)}
        self._least = self._costs[self._fillers[0]]
        self._head_words = math.ceil(math.log(_BEGINNINGS, len(self._alphabet)))
        self._heads = len(self._alphabet) ** self._head_words
        rng = generator(seed, "heads")
        self._step = _coprime(rng, self._heads)
        self._offset = rng.randrange(self._heads)

    def head(self, user: int, number: int) -> str:
        """A beginning of a few words: another one for each (user, number), and mostly another first word already.

        One-to-one by construction (a multiplication that can be undone, modulo the count of all beginnings).
        """
        value = ((user * _NUMBERS_EACH + number) * self._step + self._offset) % self._heads
        digits = []
        for _ in range(self._head_words):
            value, digit = divmod(value, len(self._alphabet))
            digits.append(self._alphabet[digit])
        return " ".join(reversed(digits))

    @cached_property
    def least(self) -> int:
        """The shortest text that `unique` can always lay, in tokens."""
        return math.ceil(self._head_words * max(map(self._model.tokens, self._alphabet)))

    def unique(self, user: int, number: int, tokens: float) -> str:
        """A text of about `tokens` that begins like no other."""
        head = self.head(user, number)
        left = tokens - sum(map(self._model.tokens, head.split(" ")))
        request = next((r for r in REQUESTS if self._costs[r] <= left / 2), "")
        body = self.filling(generator(self._seed, user, number), left - (self._costs[request] if request else 0))
        return " ".join(part for part in (head, body, request) if part)

    def shared(self, name: str, tokens: float) -> str:
        """A text of about `tokens` that is the same for everybody."""
        return self.filling(generator(self._seed, name), tokens)

    def filling(self, rng: random.Random, tokens: float) -> str:
        """Bricks while they fit, then single words; ends within one short word of `tokens`."""
        parts = []
        left = tokens + 0.5
        while (cost := self._costs[piece := rng.choice(self._runs)]) <= left:
            parts.append(piece)
            left -= cost
        while left >= self._least:
            if (cost := self._costs[piece := rng.choice(self._fillers)]) <= left:
                parts.append(piece)
                left -= cost
        return " ".join(parts)


def _coprime(rng: random.Random, modulus: int) -> int:
    while math.gcd(step := rng.randrange(modulus // 4, modulus), modulus) != 1:
        pass
    return step

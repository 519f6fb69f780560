"""Composes text of a given length: a unique beginning, phrases, single words, an instruction."""

import math
import random
from functools import cache, cached_property, lru_cache

from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.phrases import INSTRUCTIONS, phrases_of, seed_of, seeded_random

_TEXTS_PER_USER = 1 << 20
_MIN_BEGINNINGS = _TEXTS_PER_USER << 30
"""enough for 2^30 user numbers, since workers use number ranges that are far apart"""
_FILLER_COUNT = 64


class TooShortError(ValueError):
    """The requested length is too short for a prompt; the message says how many tokens are needed."""


@lru_cache(maxsize=8)
def composer(seed: int | str, model: LengthModel) -> "Composer":
    """Return the composer of a seed and model, shared by all users of a process (making one takes a millisecond)."""
    return Composer(seed, model)


class Composer:
    """Composes the texts of one seed. The same (user, number) gives the same text in every process."""

    def __init__(self, seed: int | str, model: LengthModel) -> None:
        self._seed = seed
        self._model = model
        self._cost_of_word = cache(model.tokens)
        self._random = random.Random()  # noqa: S311 -- load, not secrets
        phrases = phrases_of(seed).phrases
        self._phrases = tuple(phrase for phrase in phrases if phrase in model.measured) or phrases
        self._alphabet = model.vocabulary
        self._fillers = sorted(model.vocabulary, key=lambda word: (model.tokens(word), word))[:_FILLER_COUNT]
        self._costs = {piece: model.tokens(piece) for piece in (*self._phrases, *self._fillers, *INSTRUCTIONS)}
        self._min_filler_cost = self._costs[self._fillers[0]]
        self._beginning_words = math.ceil(math.log(_MIN_BEGINNINGS, len(self._alphabet)))
        self._beginnings = len(self._alphabet) ** self._beginning_words
        rng = seeded_random(seed, "heads")
        self._step = _coprime(rng, self._beginnings)
        self._offset = rng.randrange(self._beginnings)

    def beginning(self, user: int, number: int) -> str:
        """Return a beginning of a few words that is unique for each (user, number); mostly the first word differs.

        Unique by construction: multiplication modulo the number of beginnings by a coprime step is invertible.
        """
        value = ((user * _TEXTS_PER_USER + number) * self._step + self._offset) % self._beginnings
        words = []
        for _ in range(self._beginning_words):
            value, digit = divmod(value, len(self._alphabet))
            words.append(self._alphabet[digit])
        return " ".join(reversed(words))

    @cached_property
    def min_tokens(self) -> int:
        """Minimum length of a unique text in tokens."""
        return math.ceil(self._beginning_words * max(map(self._model.tokens, self._alphabet)))

    def unique(self, user: int, number: int, tokens: float) -> str:
        """Return a text of about `tokens` with a unique beginning."""
        beginning = self.beginning(user, number)
        left = tokens - sum(map(self._cost_of_word, beginning.split(" ")))
        instruction = next((text for text in INSTRUCTIONS if self._costs[text] <= left / 2), "")
        body_tokens = left - (self._costs[instruction] if instruction else 0)
        self._random.seed(seed_of(self._seed, user, number))  # making a generator for each text takes twice as long
        body = self.fill(self._random, body_tokens)
        return " ".join(part for part in (beginning, body, instruction) if part)

    def shared(self, name: str, tokens: float) -> str:
        """Return a text of about `tokens` that is the same for all users."""
        return self.fill(seeded_random(self._seed, name), tokens)

    def fill(self, rng: random.Random, tokens: float) -> str:
        """Return phrases while they fit, then single words; within one short word of `tokens`."""
        pieces, left = [], tokens + 0.5
        # The loops draw what successive calls of `rng.choice` return, in a fraction of the time.
        random_bits, costs = rng.getrandbits, self._costs
        phrases, count, bits = self._phrases, len(self._phrases), len(self._phrases).bit_length()
        while True:
            if (number := random_bits(bits)) < count:
                if (cost := costs[piece := phrases[number]]) > left:
                    break
                pieces.append(piece)
                left -= cost
        fillers, count, bits = self._fillers, len(self._fillers), len(self._fillers).bit_length()
        while left >= self._min_filler_cost:
            if (number := random_bits(bits)) < count and (cost := costs[piece := fillers[number]]) <= left:
                pieces.append(piece)
                left -= cost
        return " ".join(pieces)


def _coprime(rng: random.Random, modulus: int) -> int:
    while math.gcd(step := rng.randrange(modulus // 4, modulus), modulus) != 1:
        pass
    return step

"""The phrases that prompts are composed of. Each is measured in tokens once, so that no prompt has to be counted.

A phrase is a fixed sequence of words. Phrases depend on the seed only, so all processes have the same ones.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

from probe_ext.prompts.word_list import words

WORDS_PER_PHRASE = 16
_PHRASE_COUNT = 48
_SINGLE_WORD_COUNT = 64

INSTRUCTIONS = (
    "Now write a very long story that uses all of these words, in many chapters. Do not sum up and do not stop early.",
    "Write a long story about this.",
)
"""end of a prompt (the longest that fits), so that real models keep writing"""


@dataclass(frozen=True)
class Phrases:
    """The phrases of a seed."""

    anchor: str
    """the others are measured after it"""
    phrases: tuple[str, ...]
    single_words: tuple[str, ...]
    """measured individually if the phrases do not reveal the cost of a word"""


@lru_cache(maxsize=8)
def phrases_of(seed: int | str) -> Phrases:
    """Return the phrases of a seed, the same in every process."""
    rng = seeded_random(seed, "bricks")
    anchor, *phrases = (" ".join(rng.sample(words(), WORDS_PER_PHRASE)) for _ in range(_PHRASE_COUNT + 1))
    short_words = [word for word in words() if len(word) <= 4]
    return Phrases(anchor, tuple(phrases), tuple(rng.sample(short_words, _SINGLE_WORD_COUNT)))


def seeded_random(seed: int | str, *purpose: int | str) -> random.Random:
    """Return a generator that depends on seed and purpose only; changing a purpose changes all prompts of a seed."""
    return random.Random(seed_of(seed, *purpose))  # noqa: S311 -- load, not secrets


def seed_of(seed: int | str, *purpose: int | str) -> str:
    """Return what seeds the generator of `seeded_random`."""
    return "/".join(map(str, (seed, *purpose)))

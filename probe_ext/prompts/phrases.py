"""The pieces a prompt is laid of. Their cost in tokens is measured once, so no prompt has to be counted by itself.

A brick is a fixed run of words. Bricks differ from seed to seed, but are the same in every process that has the seed.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

from probe_ext.prompts.word_list import words

BRICK_WORDS = 16
_BRICKS = 48
_SINGLES = 64

REQUESTS = (
    "Now write a very long story that uses all of these words, in many chapters. Do not sum up and do not stop early.",
    "Write a long story about this.",
)
"""what a prompt ends with, so that a real model keeps writing; the longest that fits is taken"""


@dataclass(frozen=True)
class Bricks:
    """The pieces of one seed."""

    anchor: str
    """what the others are measured behind"""
    runs: tuple[str, ...]
    singles: tuple[str, ...]
    """words to be measured by themselves where the runs do not tell what a word costs"""


@lru_cache(maxsize=8)
def bricks(seed: int | str) -> Bricks:
    """The pieces of a seed: the same in every process."""
    rng = generator(seed, "bricks")
    anchor, *runs = (" ".join(rng.sample(words(), BRICK_WORDS)) for _ in range(_BRICKS + 1))
    short = [word for word in words() if len(word) <= 4]
    return Bricks(anchor, tuple(runs), tuple(rng.sample(short, _SINGLES)))


def generator(seed: int | str, *where: int | str) -> random.Random:
    """A generator for one place in a run, whatever process asks (text seeds are hashed alike everywhere)."""
    return random.Random("/".join(map(str, (seed, *where))))  # noqa: S311 -- load, not secrets

"""Text for prompts that are known by the hashes of their blocks only: equal numbers give equal text.

A block's text depends on the seed, the replay, its number and its length, so every process makes the same. It begins
with a few words that hardly any other block has: a prefix cache finds what was the same text, and nothing else. A block
that is cut short is the beginning of the whole one, to within a phrase.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from probe_ext.prompts.composer import composer
from probe_ext.prompts.length_model import LengthModel
from probe_ext.prompts.phrases import seeded_random
from probe_ext.prompts.prompt import Prompt, single

_NUMBER_BITS = 20  # of the two numbers that a unique beginning is made of
_CACHED_BLOCKS = 1024


class BlockTexts:
    """Makes the prompts of one replay of a trace; another `replay` of the same has other texts."""

    def __init__(self, seed: int | str, model: LengthModel, replay: int) -> None:
        self._composer, self._model = composer(seed, model), model
        self._seed, self._replay = seed, replay
        self._block = lru_cache(maxsize=_CACHED_BLOCKS)(self._text)

    def prompt(self, blocks: Sequence[tuple[int, float]], own: str, tokens: int) -> Prompt:
        """Return a prompt of `tokens` tokens, template included: blocks with their lengths, then text of its own.

        `own`: names the text that follows the blocks, so that no other prompt has it.
        """
        pieces = []
        left, template = float(tokens), self._model.constant
        for number, length in blocks:
            pieces.append(self._block(str(number), max(0.0, length - template)))
            left, template = left - length, max(0.0, template - length)
        if left - template >= 1 or not any(pieces):
            pieces.append(self._text(f"own {own}", max(1.0, left - template)))
        return single(" ".join(filter(None, pieces)), tokens)

    def _text(self, name: str, tokens: float) -> str:
        """Return about `tokens` of text: a beginning of its own, as far as it fits, and phrases."""
        words, left = [], tokens + 0.5
        for word in self._beginning(name).split(" "):
            if (cost := self._model.tokens(word)) > left:
                break
            words.append(word)
            left -= cost
        rest = self._composer.fill(seeded_random(self._seed, "block", self._replay, name), left - 0.5)
        return " ".join(filter(None, (*words, rest)))

    def _beginning(self, name: str) -> str:
        digest = blake2b(f"{self._seed}/{self._replay}/{name}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest)
        return self._composer.beginning(number >> _NUMBER_BITS, number & (1 << _NUMBER_BITS) - 1)

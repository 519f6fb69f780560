"""The answer to a request, drawn before it runs: words, length, and how it ends. The same seed draws the same."""

import math
from dataclasses import dataclass
from random import Random

from probe_ext.sim.api.request_body import Ask
from probe_ext.sim.profile import Profile
from probe_ext.sim.tokenizer import EOS, FIRST_TEXT, NEXT_TEXT, WORD_IDS, WORDS


@dataclass(frozen=True, slots=True)
class Reply:
    """Token numbers, their texts, and "stop" or "length".

    A reply that stops ends with the end-of-text token, as vLLM counts it: one token, no text.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    ends: str


class Replies:
    """Draws replies for a profile from a seed."""

    def __init__(self, profile: Profile, seed: int, first_token_only: bool = False) -> None:
        self._seed = seed
        self._first_token_only = first_token_only
        spread = profile.reply_tokens_spread
        self._mu = math.log(profile.reply_tokens_mean) - spread * spread / 2  # so that the mean is the mean
        self._sigma = spread

    def draw(self, ask: Ask, number: int, choice: int = 0) -> Reply:
        """The reply to request ``number``; greedy or seeded requests with one prompt always get the same."""
        rng = self._rng(ask, number, choice)
        length = max(2, round(rng.lognormvariate(self._mu, self._sigma)), ask.min_tokens + 1)
        if self._first_token_only:
            return self._words(rng, 1, "stop")
        if ask.ignore_eos or length > ask.max_tokens:
            return self._words(rng, ask.max_tokens, "length")
        reply = self._words(rng, length - 1, "stop")
        return Reply((*reply.ids, EOS), (*reply.texts, ""), "stop")

    def _rng(self, ask: Ask, number: int, choice: int) -> Random:
        if ask.greedy or ask.seed is not None:
            key = f"{self._seed}/{ask.seed}/{hash(ask.prompt)}/{0 if ask.greedy else choice}"
        else:
            key = f"{self._seed}/{number}/{choice}"
        return Random(key)  # noqa: S311 - a simulation, no secret

    @staticmethod
    def _words(rng: Random, count: int, ends: str) -> Reply:
        drawn = rng.choices(range(len(WORDS)), k=count)
        texts = (FIRST_TEXT[drawn[0]], *[NEXT_TEXT[word] for word in drawn[1:]])
        return Reply(tuple([WORD_IDS[word] for word in drawn]), texts, ends)

"""Draw the reply to a request before it runs: its words, length and finish reason, reproducible by seed."""

import math
from dataclasses import dataclass
from random import Random

from probe_ext.sim.profile import Profile
from probe_ext.sim.protocol.request_body import ApiRequest
from probe_ext.sim.tokenizer import EOS, FIRST_TEXT, NEXT_TEXT, WORD_IDS, WORDS


@dataclass(frozen=True, slots=True)
class Reply:
    """Token ids, the text of each token, and the finish reason ("stop" or "length").

    A reply that stops ends with the EOS token, which vLLM counts as a token without text.
    """

    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    finish_reason: str


class ReplyGenerator:
    """Draws replies; their lengths are log-normal with the profile's mean and spread."""

    def __init__(self, profile: Profile, seed: int, first_token_only: bool = False) -> None:
        self._seed = seed
        self._first_token_only = first_token_only
        self._sigma = profile.reply_tokens_spread
        self._mu = math.log(profile.reply_tokens_mean) - self._sigma**2 / 2  # the distribution's mean is then that mean

    def draw(self, request: ApiRequest, number: int, choice: int = 0) -> Reply:
        """Draw the reply to request ``number``; greedy or seeded requests with the same prompt get the same reply."""
        rng = self._rng(request, number, choice)
        length = max(2, round(rng.lognormvariate(self._mu, self._sigma)), request.min_tokens + 1)
        if self._first_token_only:
            return self._words(rng, 1, "stop")
        if request.ignore_eos or length > request.max_tokens:
            return self._words(rng, request.max_tokens, "length")
        reply = self._words(rng, length - 1, "stop")
        return Reply((*reply.token_ids, EOS), (*reply.texts, ""), "stop")

    def _rng(self, request: ApiRequest, number: int, choice: int) -> Random:
        if request.greedy or request.seed is not None:
            key = f"{self._seed}/{request.seed}/{hash(request.prompt)}/{0 if request.greedy else choice}"
        else:
            key = f"{self._seed}/{number}/{choice}"
        return Random(key)  # noqa: S311 - a simulation, not a secret

    @staticmethod
    def _words(rng: Random, count: int, finish_reason: str) -> Reply:
        drawn = rng.choices(range(len(WORDS)), k=count)
        texts = (FIRST_TEXT[drawn[0]], *[NEXT_TEXT[word] for word in drawn[1:]])
        return Reply(tuple([WORD_IDS[word] for word in drawn]), texts, finish_reason)

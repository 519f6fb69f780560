"""How much of a server's work in a level was for requests that this run did not send."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Fraction

MAX_OTHERS_SHARE = 0.10
"""Of the server's work. Someone who takes a tenth moves the capacity by about a tenth, half of the interval at which a
search ends by default; below that, a level still answers the question that was asked."""


@dataclass(frozen=True)
class OthersShare:
    """Others' share of the server's work, by its counters; null where the server does not count.

    Each is a lower bound: whatever may have been for this run's own requests counts as its own.
    """

    requests: Fraction | None
    """of the requests that the server finished"""
    tokens: Fraction | None
    """of the tokens that it generated"""
    prompt_tokens: Fraction | None
    """of the prompt tokens that it took in"""

    @property
    def share(self) -> float:
        """The share by which a level is judged.

        Tokens decide where they are counted, if somebody else asked for any: otherwise the server went on with replies
        whose clients had left, or something in front of it cut them short. Many small requests, such as a monitoring
        system's, count only if they had long prompts, since reading these is work as well.
        """
        asked = self.prompt_tokens if self.requests is None else self.requests
        if self.tokens is None or not asked:
            return (self.requests if self.tokens is None else None) or 0.0
        return max(self.tokens, min(asked, self.prompt_tokens or 0.0))

    @property
    def too_much(self) -> bool:
        """Whether the level says little about this run's own load."""
        return self.share > MAX_OTHERS_SHARE

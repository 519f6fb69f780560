"""What one user does next, drawn from the distributions of its kind.

Each draw has a random number of its own, made from the run's seed, the purpose, the kind, the user and a count. So it
depends neither on the order of draws nor on the process: any number of workers sends the same requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from probe_ext.workload.user_kind import UserKind

_BITS = 53  # of a float's fraction


def uniform_share(*key: int | str) -> float:
    """Return a number from 0 to 1 (exclusive) that depends on the key only; those of different keys are independent."""
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - _BITS)) / (1 << _BITS)


@dataclass(frozen=True, slots=True)
class RequestDraw:
    """One request; None: the run's options say it."""

    prompt_tokens: int | None
    """of the user's message"""
    output_tokens: int | None
    streamed: bool | None


class Draws:
    """The draws of one user: of a kind, by its number among all users of that kind."""

    def __init__(self, kind: UserKind, seed: int | str, user: int | str) -> None:
        self._kind = kind
        self._key = (seed, kind.name, user)

    def _share(self, purpose: str, *count: int) -> float:
        return uniform_share(purpose, *self._key, *count)

    def turns(self, conversation: int) -> int:
        """Return how many questions a conversation has."""
        return self._kind.turns.count(self._share("turns", conversation))

    def model(self, conversation: int) -> str | None:
        """Return the model of a conversation; None: the run's."""
        choice = self._kind.model
        return None if choice is None else pick(choice.names, self._share("model", conversation))

    def request(self, number: int) -> RequestDraw:
        """Return a user's request, numbered over all its conversations."""
        kind, source = self._kind, self._kind.prompts
        tokens = source.tokens if source and source.file is None else None
        return RequestDraw(
            prompt_tokens=tokens.count(self._share("prompt", number)) if tokens else None,
            output_tokens=kind.output_tokens.count(self._share("output", number)) if kind.output_tokens else None,
            streamed=None if kind.stream is None else self._share("stream", number) < kind.stream,
        )

    def pause(self, number: int) -> float:
        """Return the seconds before a request."""
        return self._kind.think_time.quantile(self._share("pause", number))

    def rest_of_pause(self, number: int) -> float:
        """Return the seconds that are left of a pause that a user joins in the middle of.

        A random moment falls into a long pause more often than into a short one. So a team that joins asks as often
        from the first second on as it does later.
        """
        pause = self._kind.think_time.quantile_by_value(self._share("pause", number))
        return pause * self._share("join", number)


def pick(shares: Mapping[str, float], share: float) -> str:
    """Return the name at a share (0 to 1) of the way through all shares."""
    names = list(shares)
    for name, up_to in zip(names, accumulate(shares.values()), strict=True):
        if share < up_to:
            return name
    return names[-1]

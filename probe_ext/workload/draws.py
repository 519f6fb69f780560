"""What one user does next, drawn from the distributions of its kind.

Each draw has a random number of its own, made from the run's seed, the purpose, the kind, the user and a count. So it
depends neither on the order of draws nor on the process: any number of workers sends the same requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from probe_ext.workload.agent_kind import Agent
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
        self._key = (seed, kind.seed_name, user)

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

    def tool_time(self, number: int) -> float:
        """Return the seconds that the tool takes which an agent's request has called."""
        return self._agent.tool_time.quantile(self._share("tool time", number))

    def result_tokens(self, number: int) -> int:
        """Return the length of the tool's result that an agent sends with a request."""
        return self._agent.result_tokens.count(self._share("result", number))

    def summary_tokens(self, number: int) -> int:
        """Return the upper bound of a summary's length."""
        compact = self._agent.compact
        return compact.summary_tokens.count(self._share("summary", number)) if compact else 0

    def subagents(self, number: int) -> int:
        """Return how many sub-agents an agent starts after a request; 0 where it calls a tool."""
        subagents = self._agent.subagents
        if subagents is None or self._share("subagents", number) >= subagents.share:
            return 0
        return subagents.count.count(self._share("subagents' number", number))

    def of_helper(self, number: int) -> "Draws":
        """Return the draws of an agent's sub-agent, numbered over all its sessions."""
        seed, _, user = self._key
        return Draws(self._kind, seed, f"{user}/{number}")

    def rest_of_tool_time(self, number: int) -> float:
        """Return the seconds that are left of a tool's time that an agent joins in the middle of."""
        whole = self._agent.tool_time.quantile_by_value(self._share("tool time", number))
        return whole * self._share("join", number)

    def place_in_session(self) -> float:
        """Return how far through its session an agent is that joins, as a share of its turns."""
        return self._share("place in session")

    @property
    def _agent(self) -> Agent:
        assert self._kind.agent is not None  # noqa: S101 -- asked of agents only
        return self._kind.agent

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

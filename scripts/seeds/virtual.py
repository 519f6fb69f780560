"""Users against the simulator's engine alone, on virtual time: what fitting needs, thousands of times faster.

Nothing of the probe takes part, so what the probe measures later is no echo of this. Seconds, tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request, Step
from probe_ext.sim.profile import Profile

BETWEEN_USERS = 0.001
"""seconds between the requests of users that ask at the same moment: a client makes them one after another"""
_OWN = 1_000_000
_REPLY = 500_000_000


@dataclass(frozen=True)
class Load:
    """Users that ask together, each ``rounds`` times."""

    users: int
    own: int
    """tokens of a prompt that no other has"""
    reply: int
    shared: int = 0
    """tokens at the start of all prompts"""
    rounds: int = 1


@dataclass
class Seen:
    """What came of it."""

    sent: dict[int, float] = field(default_factory=dict)
    first: dict[int, float] = field(default_factory=dict)
    last: dict[int, float] = field(default_factory=dict)
    tokens: int = 0
    kv_usage_max: float = 0.0
    preemptions: int = 0
    queries: int = 0
    hits: int = 0

    def ttft(self, q: float) -> float:
        """A quantile of the waits for the first token."""
        return quantile([self.first[n] - self.sent[n] for n in self.sent], q)

    def decode_rate(self, reply: int) -> float:
        """The median user's tokens a second."""
        return quantile([(reply - 1) / (self.last[n] - self.first[n]) for n in self.sent], 0.5)

    @property
    def total(self) -> float:
        """Tokens a second, from the first request to the last token."""
        return self.tokens / (max(self.last.values()) - min(self.sent.values()))

    @property
    def hit_rate(self) -> float:
        """Share of the prompt tokens that were cached."""
        return self.hits / self.queries


def quantile(values: list[float], q: float) -> float:
    """Linear between order statistics."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def run(profile: Profile, load: Load) -> Seen:
    """Run a load to its end."""
    engine, seen = Engine(profile), Seen()
    left = load.users * (load.rounds - 1)
    ask = _asker(engine, seen, load)
    for user in range(load.users):
        ask(user * BETWEEN_USERS)
    while (step := engine.step()) is not None:
        _note(seen, step)
        for position, _ in enumerate(step.finished[:left]):
            ask(step.end + (position + 1) * BETWEEN_USERS)
        left -= min(left, len(step.finished))
    return seen


def _asker(engine: Engine, seen: Seen, load: Load) -> Callable[[float], None]:
    shared, reply = tuple(range(load.shared)), tuple(range(_REPLY, _REPLY + load.reply))

    def ask(moment: float) -> None:
        number = len(seen.sent) + 1
        own = tuple(range(_OWN * number, _OWN * number + load.own))
        seen.sent[number] = moment
        engine.add(Request(number, moment, shared + own, reply))

    return ask


def _note(seen: Seen, step: Step) -> None:
    seen.kv_usage_max = max(seen.kv_usage_max, step.snapshot.kv_usage)
    seen.preemptions += len(step.preempted)
    seen.queries += step.tally.prefix_queries
    seen.hits += step.tally.prefix_hits
    seen.tokens += len(step.outputs)
    for output in step.outputs:
        seen.first.setdefault(output.request_id, step.end)
        seen.last[output.request_id] = step.end

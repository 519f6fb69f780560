"""Simulate users against the engine alone, on virtual time: thousands of times faster, for fitting.

`probe` takes no part in this, so its later measurements are independent. Units: seconds, tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Request, Step
from probe_ext.sim.profile import Profile

REQUEST_SPACING_S = 0.001  # a client sends "simultaneous" requests one after another
_OWN_TOKENS_BASE = 1_000_000
_REPLY_TOKENS_BASE = 500_000_000


@dataclass(frozen=True)
class Load:
    """Users that send their requests at the same time, each ``rounds`` times."""

    users: int
    own: int
    """Unique tokens of each prompt."""
    reply: int
    shared: int = 0
    """Common prefix of all prompts, in tokens."""
    rounds: int = 1


@dataclass
class VirtualResult:
    """Outcome of a simulated load; times are by request number."""

    sent: dict[int, float] = field(default_factory=dict)
    first: dict[int, float] = field(default_factory=dict)
    last: dict[int, float] = field(default_factory=dict)
    tokens: int = 0
    kv_usage_max: float = 0.0
    preemptions: int = 0
    queries: int = 0
    hits: int = 0

    def ttft(self, q: float) -> float:
        """Return a quantile of TTFT."""
        return quantile([self.first[n] - self.sent[n] for n in self.sent], q)

    def decode_rate(self, reply: int) -> float:
        """Return the median user's tokens/s."""
        return quantile([(reply - 1) / (self.last[n] - self.first[n]) for n in self.sent], 0.5)

    @property
    def total_rate(self) -> float:
        """Tokens/s, from the first request to the last token."""
        return self.tokens / (max(self.last.values()) - min(self.sent.values()))

    @property
    def hit_rate(self) -> float:
        """Fraction of the prompt tokens found in the prefix cache."""
        return self.hits / self.queries


def quantile(values: list[float], q: float) -> float:
    """Return a quantile, interpolating linearly between order statistics."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def run(profile: Profile, load: Load) -> VirtualResult:
    """Run a load to completion."""
    engine, result = Engine(profile), VirtualResult()
    remaining = load.users * (load.rounds - 1)
    send = _request_sender(engine, result, load)
    for user in range(load.users):
        send(user * REQUEST_SPACING_S)
    while (step := engine.step()) is not None:
        _record(result, step)
        for position, _ in enumerate(step.finished[:remaining]):
            send(step.end + (position + 1) * REQUEST_SPACING_S)
        remaining -= min(remaining, len(step.finished))
    return result


def _request_sender(engine: Engine, result: VirtualResult, load: Load) -> Callable[[float], None]:
    shared, reply = tuple(range(load.shared)), tuple(range(_REPLY_TOKENS_BASE, _REPLY_TOKENS_BASE + load.reply))

    def send(moment: float) -> None:
        number = len(result.sent) + 1
        own = tuple(range(_OWN_TOKENS_BASE * number, _OWN_TOKENS_BASE * number + load.own))
        result.sent[number] = moment
        engine.add(Request(number, moment, shared + own, reply))

    return send


def _record(result: VirtualResult, step: Step) -> None:
    result.kv_usage_max = max(result.kv_usage_max, step.snapshot.kv_usage)
    result.preemptions += len(step.preempted)
    result.queries += step.tally.prefix_queries
    result.hits += step.tally.prefix_hits
    result.tokens += len(step.outputs)
    for output in step.outputs:
        result.first.setdefault(output.request_id, step.end)
        result.last[output.request_id] = step.end

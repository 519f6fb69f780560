"""Warm a server up: step after step with more requests at once, each repeated until TTFT stops falling."""

from collections.abc import Callable
from dataclasses import dataclass, field

from probe_ext.access.sender import Question, Sender, is_answered
from probe_ext.inspection.warmup.rounds import Round, round_in_words, round_sizes, send_round
from probe_ext.inspection.warmup.settling import MAX_ROUNDS, is_settled
from probe_ext.measure import clock

Ask = Callable[[], Question]
Tell = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class WarmUpStep:
    """All rounds with the same number of requests at once."""

    requests: int
    first_tokens: tuple[float, ...] = field(default_factory=tuple)
    """median seconds to the first token, or without streams of the whole reply, of each round that was answered"""
    seconds: float = 0.0
    failed: int = 0
    """requests without an answer"""
    sent: int = 0
    message: str | None = None
    """what the server said to one that failed"""
    streamed: bool = True
    """whether replies came as streams; if not, times are those of whole replies"""
    out_of_time: bool = False

    @property
    def settled(self) -> bool:
        """Whether first-token times have stopped falling."""
        return is_settled(self.first_tokens)

    @property
    def first(self) -> float | None:
        """Time to first token of the first round."""
        return self.first_tokens[0] if self.first_tokens else None

    @property
    def last(self) -> float | None:
        """Best time to first token of the step's last rounds: what a warm server takes."""
        return min(self.first_tokens[-2:]) if self.first_tokens else None


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A warm-up that has ended."""

    steps: tuple[WarmUpStep, ...]
    planned: tuple[int, ...]
    """requests at once of each step that was to be taken"""
    seconds: float

    @property
    def warm(self) -> bool:
        """Whether every planned step has settled."""
        return len(self.steps) == len(self.planned) and all(step.settled for step in self.steps)

    @property
    def streamed(self) -> bool:
        """Whether times are those of first tokens; of whole replies, if not."""
        return any(step.streamed for step in self.steps if step.first_tokens)

    @property
    def failing(self) -> bool:
        """Whether the server answered nothing at all in the last step."""
        return not self.steps or not self.steps[-1].first_tokens


def warm(sender: Sender, ask: Ask, largest: int, seconds: float, tell: Tell = lambda _: None) -> WarmUp:
    """Take all steps up to `largest` requests at once, for at most `seconds`; end early where nothing is answered."""
    began = clock.monotonic()
    deadline, planned = began + seconds, round_sizes(largest)
    steps: list[WarmUpStep] = []
    for requests in planned:
        tell(round_in_words(requests, planned[-1]))
        steps.append(_step(sender, ask, requests, deadline))
        if not steps[-1].first_tokens or steps[-1].out_of_time:
            break
    tell(None)
    return WarmUp(tuple(steps), tuple(planned), clock.monotonic() - began)


def _step(sender: Sender, ask: Ask, requests: int, deadline: float) -> WarmUpStep:
    """Repeat a round until it settles, has been repeated often enough, or the time is over."""
    began, rounds = clock.monotonic(), list[Round]()
    times: list[float] = []
    while len(rounds) < MAX_ROUNDS and not is_settled(times):
        left = deadline - clock.monotonic()
        if left <= 0:
            break
        rounds.append(send_round(sender, [ask() for _ in range(requests)], left))
        time = rounds[-1].first_token
        if time is None:
            break
        times.append(time)
    replies = [reply for one in rounds for reply in one.replies]
    messages = [reply.message for reply in replies if not is_answered(reply) and reply.message]
    return WarmUpStep(
        requests=requests,
        first_tokens=tuple(times),
        seconds=clock.monotonic() - began,
        failed=sum(one.failed for one in rounds),
        sent=sum(one.requests for one in rounds),
        message=messages[0] if messages else None,
        streamed=any(reply.streamed for reply in replies if is_answered(reply)) or not times,
        out_of_time=clock.monotonic() >= deadline,
    )

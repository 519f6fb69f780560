"""What the checks of a server share: how to ask it, the run to come, and a few replies that all of them may read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gevent

from probe_ext.access.known_server import KnownServer
from probe_ext.access.sender import Answered, Question, Sender
from probe_ext.inspection.planned_run import PlannedRun
from probe_ext.measure import clock
from probe_ext.prompts.length_model import estimated_model
from probe_ext.prompts.prompt import Prompt
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.settings.options import Options
from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.metrics.catalogue import Reading, read_page
from probe_ext.target.metrics.metrics_text import Unreadable
from probe_ext.target.metrics.poller import SLOW_PAGE_TIMEOUT_S

_RESERVE_TOKENS = 64
"""of the context, for the chat template"""


class CooperativeFetcher:
    """A Fetcher whose calls let the greenlets of open streams go on."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def get(self, url: str, timeout: float | None = None) -> Answer | Failed:
        """Send a GET."""
        return self._elsewhere(lambda: self._fetcher.get(url, timeout))

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        """POST JSON."""
        return self._elsewhere(lambda: self._fetcher.post(url, payload, timeout))

    def _elsewhere(self, call: Callable[[], Answer | Failed]) -> Answer | Failed:
        result: Answer | Failed = gevent.get_hub().threadpool.apply(call)
        return result


@dataclass
class Subject:
    """A server that is being looked at."""

    server: KnownServer
    options: Options
    plan: PlannedRun
    sender: Sender
    fetcher: CooperativeFetcher
    new_fetcher: Callable[[], Fetcher]
    """makes a fetcher whose connections are new"""
    seed: int
    deadline: float
    """monotonic seconds at which the look ends"""
    samples: list[Answered] = field(default_factory=list)
    """a few streamed replies, one after another"""
    first_reading: tuple[Reading, float] | None = None
    """the first metrics page before the samples, and when it was read"""
    _prompts: int = 0

    @property
    def seconds_left(self) -> float:
        """Time until the deadline."""
        return max(0.0, self.deadline - clock.monotonic())

    @property
    def answers(self) -> list[Answered]:
        """The samples that were answered."""
        return [sample for sample in self.samples if sample.ok]

    def question(self, tokens: int, max_tokens: int, **more: Any) -> Question:
        """Return a question with a new prompt of about `tokens`, and a reply of `max_tokens` if the server allows."""
        return Question(self.prompt(tokens), max_tokens, parameters=self.server.exact_length, **more)

    def prompt(self, tokens: int) -> Prompt:
        """Return a prompt of about this many tokens that nobody sent before."""
        self._prompts += 1
        asked = max(_SHORTEST, round(tokens / self._tokens_per_estimated))
        return PromptMaker(self.seed, asked, estimated_model()).prompt(0, self._prompts)

    @property
    def _tokens_per_estimated(self) -> float:
        """The server's tokens for each token that was estimated from the characters."""
        counted = [s.tokens_in / _SAMPLE_PROMPT_TOKENS for s in self.answers if s.tokens_in]
        return max(0.2, min(counted)) if counted else 1.0

    @property
    def sample_tokens(self) -> int:
        """Tokens that a sample is asked for."""
        return min(_SAMPLE_TOKENS, self.plan.max_tokens)

    def sample_question(self) -> Question:
        """Return the question of a sample."""
        return self.question(_SAMPLE_PROMPT_TOKENS, self.sample_tokens)

    @cached_property
    def longest_prompt(self) -> int | None:
        """Tokens of the longest prompt that fits the context, with a short reply; None: unknown."""
        limit = self.server.max_model_len
        return None if limit is None else max(_SHORTEST, limit - _RESERVE_TOKENS)

    def metrics(self, fetcher: Fetcher | None = None) -> Reading | Failed | Unreadable:
        """Read the first metrics page."""
        url = self.server.metrics_urls[0] if self.server.metrics_urls else None
        if url is None or self.options.no_metrics:
            return Failed("not read (--no-metrics)" if self.options.no_metrics else "no metrics URL")
        # As long as a run would wait, for `CooperativeFetcher` and `Fetcher` alike.
        answer = (fetcher or self.fetcher).get(url, SLOW_PAGE_TIMEOUT_S)
        return answer if isinstance(answer, Failed) else read_page(answer.body, self.server.model)

    def read_first(self) -> None:
        """Read the first metrics page, to compare later ones with it."""
        reading = self.metrics()
        if isinstance(reading, Reading):
            self.first_reading = reading, clock.monotonic()

    def quantity(self, name: str, fetcher: Fetcher | None = None) -> float | None:
        """Return a quantity of the first metrics page, summed over engines; None if it is not there."""
        reading = self.metrics(fetcher)
        values = [f.value for f in reading.figures if f.quantity == name] if isinstance(reading, Reading) else []
        return sum(values) if values else None


_SHORTEST = 40
"""tokens of a prompt with a unique beginning"""
_SAMPLE_PROMPT_TOKENS, _SAMPLE_TOKENS = 60, 48

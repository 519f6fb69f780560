"""One server of a scout: what it says about itself, and probes of it.

A probe is 16 requests, 8 at once, with short prompts and answers of 64 tokens where the server allows to ask for
exactly that many. Every prompt is new. Beside it, a prompt that was asked before is asked again, one request at a time,
for the signs of a response cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from probe_ext.access.agreed_form import agree
from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import KnownServer, fetcher_for, know_server, target_and_key
from probe_ext.access.sender import Answered, Question, Sender
from probe_ext.client.api.request_form import RequestForm
from probe_ext.client.exchange import Limits
from probe_ext.client.wire.address import Target
from probe_ext.inspection.obedience import obeys_length
from probe_ext.inspection.replies.usage import UNDECODABLE, tokens_of_text
from probe_ext.inspection.scout.cheats import Suspicion, suspicion
from probe_ext.inspection.scout.exposure import OpenPage, open_pages
from probe_ext.inspection.scout.rolling_window import ProbeResult
from probe_ext.inspection.scout.samples import COUNTED, Pair, Sample, sample_of
from probe_ext.inspection.scout.token_check import CountedText, TokenCheck, check_tokens
from probe_ext.inspection.subject import CooperativeFetcher
from probe_ext.measure import clock
from probe_ext.prompts.length_model import estimated_model
from probe_ext.prompts.prompt import Prompt, single
from probe_ext.prompts.synthetic import PromptMaker
from probe_ext.settings.options import Options
from probe_ext.target.control.call_result import Failed
from probe_ext.target.metrics.catalogue import Reading, read_page
from probe_ext.target.token_count import Tokenizer, find

REQUESTS, AT_ONCE = 16, 8
ANSWER_TOKENS, PAIR_TOKENS = 64, 32
PAIRS = 4
PROBE_LIMIT_S = 60.0
"""for the 16 requests together; what is not answered by then has failed"""
_PAIR_LIMIT_S = 20.0
_PAGE_LIMIT_S = 3.0
_KEPT_PAIRS, _KEPT_ANSWERS = 8, 64
_PROMPT_TOKENS = 40
_GENERATED = "generation_tokens"
_LIMITS = Limits(connect=5.0, first=30.0, gap=30.0, total=PROBE_LIMIT_S)


@dataclass
class CheatEvidence:
    """What the tests for cheats have seen so far, the newest last."""

    primer: Sample | None = None
    pairs: list[Pair] = field(default_factory=list)
    answers: list[Sample] = field(default_factory=list)
    obeys: bool | None = None
    round_trip: float | None = None
    """the shortest time to connect, seconds"""

    def suspicion(self) -> Suspicion:
        """Test what is there."""
        return suspicion(self.primer, self.pairs, self.answers, obeys=self.obeys, round_trip=self.round_trip)


class Candidate:
    """A server under a URL. SettingsError if the URL or the API key is invalid."""

    def __init__(self, url: str, options: Options, seed: int) -> None:
        target, self._key = target_and_key(url)
        self.target: Target = target
        # A dead server is asked for several pages, one after another.
        self._options = replace(options, timeout_connect=min(options.timeout_connect, _PAGE_LIMIT_S))
        self._seed = seed
        self._asked = 0
        self.fetcher = CooperativeFetcher(fetcher_for(target, self._key, self._options))
        self.server: KnownServer | None = None
        """None: it has not answered yet"""
        self.pages: tuple[OpenPage, ...] = ()
        """what it shows without a key"""
        self.evidence = CheatEvidence()
        self.token_check = TokenCheck()
        self._sender: Sender | None = None
        self._tokenizer: Tokenizer | None = None
        self._looked_for_tokenizer = False

    @property
    def url(self) -> str:
        """Scheme, authority and path prefix."""
        return self.target.url

    @property
    def with_key(self) -> bool:
        """Whether requests are sent with a key."""
        return bool(self._key)

    def identify(self) -> None:
        """Ask the server what it is, unless that is known."""
        found = know_server(self.target, self.fetcher, self._options)
        if found.model is None and self.server is not None:
            return  # it was there before, and is down
        self.server = found
        if found.model is not None:
            self.pages = open_pages(
                found.url, CooperativeFetcher(fetcher_for(self.target, None, self._options, with_headers=False))
            )
            self._sender = self._sender_of(found, self._agree(found))

    def _agree(self, server: KnownServer) -> RequestForm:
        """Return the request form that the server accepts, found with short requests."""

        def send(form: RequestForm) -> Answered:
            sender = self._sender_of(server, form)
            try:
                return sender.ask(self._question(1))
            finally:
                sender.close()

        return agree(RequestForm(self._options.usage), send, self._options).form

    def _sender_of(self, server: KnownServer, form: RequestForm) -> Sender:
        endpoint = Endpoint(server.url, self._options, server.model or "", form)
        return Sender(endpoint, self._options.api, limits=_LIMITS)

    def forget_evidence(self) -> None:
        """Start the tests again: another server may answer under the same URL."""
        self.evidence, self.token_check = CheatEvidence(), TokenCheck()
        self._looked_for_tokenizer = False

    def probe(self, pairs: int) -> ProbeResult:
        """Send the standard probe, and so many pairs for the test for a cache; never raises for what a server does."""
        started = clock.monotonic()
        if self._sender is None:
            return ProbeResult(started, clock.monotonic(), REQUESTS, 0, None, (), self._why_unusable())
        asked = [self._question(ANSWER_TOKENS) for _ in range(REQUESTS)]
        began = clock.monotonic()
        replies = self._sender.send(asked, AT_ONCE, seconds=PROBE_LIMIT_S)
        ended = clock.monotonic()
        self._note(replies)
        result = _result(began, ended, replies)
        if result.answered:
            self._look_for_cheats(pairs)
            self._check_tokens(replies)
        counted = None if result.tokens is None else round(result.tokens * self.token_check.factor)
        return replace(result, tokens=counted)

    def close(self) -> None:
        """Close all connections."""
        if self._sender is not None:
            self._sender.close()

    def _why_unusable(self) -> str:
        server = self.server
        return (server.models_error if server else None) or "lists no models; name one with --model"

    def _question(self, tokens: int) -> Question:
        """Return a new prompt that a model answers at length."""
        self._asked += 1
        return Question(self._prompt(self._asked), tokens, parameters=self._exact_length)

    def _prompt(self, number: int) -> Prompt:
        words = PromptMaker(self._seed, _PROMPT_TOKENS, estimated_model()).prompt(0, number).text or ""
        text = f"{words}\nNow count from {number % 89 + 1} to {number % 89 + 99}, one number after another."
        return single(text, _PROMPT_TOKENS)

    @property
    def _exact_length(self) -> dict[str, Any]:
        return self.server.exact_length if self.server else {}

    def _check_tokens(self, replies: Sequence[Answered]) -> None:
        """Hold the usage against the engine's counter, or against the text of the longest reply."""
        self.token_check = check_tokens(self.evidence.pairs, None)
        if self.token_check.source is None:
            self.token_check = check_tokens(self.evidence.pairs, self._counted_text(replies))

    def _counted_text(self, replies: Sequence[Answered]) -> CountedText | None:
        counted = [reply for reply in replies if reply.ok and reply.tokens_from in COUNTED and reply.tokens_out]
        reply = max(counted, key=lambda one: len(one.text) + len(one.reasoning), default=None)
        if reply is None or self.server is None or UNDECODABLE in reply.text:
            return None
        if not self._looked_for_tokenizer:
            self._looked_for_tokenizer = True
            self._tokenizer = find(self.server.url, self.server.model or "", self.fetcher)
        text = reply.reasoning + reply.text
        return CountedText(reply.tokens_out or 0, tokens_of_text(text, self._tokenizer), len(text.encode()))

    def _note(self, replies: Sequence[Answered]) -> None:
        """Keep the newest answers, and the shortest time to connect, for the tests for cheats."""
        evidence = self.evidence
        samples = [sample_of(reply, ANSWER_TOKENS) for reply in replies]
        evidence.answers = [*evidence.answers, *samples][-_KEPT_ANSWERS:]
        connects = [reply.connect for reply in replies if reply.connect is not None]
        known = [evidence.round_trip] if evidence.round_trip is not None else []
        evidence.round_trip = min([*connects, *known], default=None)

    def _look_for_cheats(self, pairs: int) -> None:
        """Ask the repeated prompt again, next to new ones; in changing order, so that replicas do not look like it."""
        if self.evidence.obeys is None and self.server is not None:
            self.evidence.obeys = obeys_length(self.server.kind, lambda: self._prompt(1), self._ask)
        repeated = Question(self._prompt(0), PAIR_TOKENS, parameters=self._exact_length)
        deadline = clock.monotonic() + _PAIR_LIMIT_S
        if self.evidence.primer is None:
            self.evidence.primer = self._one(repeated)[0]
        for _ in range(pairs):
            if clock.monotonic() > deadline:
                break
            fresh = self._question(PAIR_TOKENS)
            repeat_first = len(self.evidence.pairs) % 2 == 1
            first, second = (repeated, fresh) if repeat_first else (fresh, repeated)
            results = [self._one(first), self._one(second)]
            (new, new_generated), (old, old_generated) = reversed(results) if repeat_first else results
            pair = Pair(new, old, new_generated, old_generated)
            self.evidence.pairs = [*self.evidence.pairs, pair][-_KEPT_PAIRS:]

    def _one(self, question: Question) -> tuple[Sample, float | None]:
        """Send one request; return the reply, and by how much the engine's counter of generated tokens grew."""
        assert self._sender is not None  # noqa: S101 -- callers have one
        before = self._generated()
        reply = self._sender.ask(question)
        after = self._generated()
        grown = None if before is None or after is None or after < before else after - before
        return sample_of(reply, question.max_tokens), grown

    def _generated(self) -> float | None:
        server = self.server
        if server is None or server.metrics_error is not None or not server.metrics_urls:
            return None
        answer = self.fetcher.get(server.metrics_urls[0])
        reading = None if isinstance(answer, Failed) else read_page(answer.body, server.model)
        values = [f.value for f in reading.figures if f.quantity == _GENERATED] if isinstance(reading, Reading) else []
        return sum(values) if values else None

    def _ask(self, question: Question) -> Answered:
        assert self._sender is not None  # noqa: S101 -- callers have one
        return self._sender.ask(question)


def _result(began: float, ended: float, replies: Sequence[Answered]) -> ProbeResult:
    good = [reply for reply in replies if reply.ok]
    tokens = [reply.tokens_out for reply in good]
    known = [count for count in tokens if count is not None]
    failed = next((reply.message or str(reply.outcome) for reply in replies if not reply.ok), None)
    if failed is None and len(replies) < REQUESTS:
        failed = f"not sent within {PROBE_LIMIT_S:g} s"
    return ProbeResult(
        started=began,
        ended=ended,
        sent=REQUESTS,
        answered=len(good),
        tokens=sum(known) if len(known) == len(tokens) else None,
        ttfts=tuple(reply.ttft for reply in good if reply.ttft is not None),
        error=failed,
    )

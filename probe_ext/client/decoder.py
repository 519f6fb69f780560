"""From body pieces with receive times to token events: what the model said, when, and how it ended."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat

from probe_ext.client.event_pattern import PATTERNS, Pattern, read_texts
from probe_ext.client.http_framing import Piece
from probe_ext.client.matched_runs import Run, Stretch, stretches
from probe_ext.client.openai_api import DONE, BadEventError, ChoicePart, Event, ServerError, read_event
from probe_ext.client.sse import SseParser
from probe_ext.measure.timeline import TokenEvents

_WORTH_IT = 4
"""reads from which on searching them together costs less than reading each"""


@dataclass(slots=True)
class Choice:
    """One choice of a reply."""

    events: TokenEvents = field(default_factory=TokenEvents)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str | None = None
    refused: bool = False
    held: int = 0
    """tokens of events without text since the last event with text"""
    continuous: bool | None = None
    """whether the server counts tokens from this choice's first token event on; None before it"""
    counted: int = 0
    """the server's count of completion tokens at the last event"""

    def grow(self, times: Sequence[float], texts: Sequence[str], counts: Sequence[int] | None, *, visible: bool) -> int:
        """Take events that came one by one, with the server's count at each; how many of them have text.

        The only loop over tokens: what each event does to a choice, as `Decoder` does it for a lone one.
        """
        events, held, before = self.events, self.held, self.counted
        said = []
        for at, text, counted in zip(times, texts, counts or repeat(None), strict=False):
            tokens = 1
            if counted is not None and counted >= before:
                held += counted - before
                before = counted
                tokens = held or 1
            if text:
                events.at.append(at)
                events.tokens.append(tokens)
                said.append(text)
                held = 0
        self.held, self.counted = held, before
        events.visible.extend(repeat(visible, len(said)))
        (self.text if visible else self.reasoning).extend(said)
        (self.reasoning if visible else self.text).extend(repeat("", len(said)))
        return len(said)


class Decoder:
    """Feed it the pieces of one event stream, in order.

    BadEventError and EventTooLargeError are raised by `feed`; what came before stays.
    """

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.error: ServerError | None = None
        self.done = False
        self.tokens_in: int | None = None
        self.tokens_cached: int | None = None
        self.listed_ids = False
        self.last_at: float | None = None
        """when the last token event came"""
        self.reads_unresolved = 0
        self._total: int | None = None
        self._at = 0.0
        self._sse = SseParser()
        self._read = 0
        self._events_of_read = 0
        self._pattern = next(iter(PATTERNS.known), None)
        self._prompt = b""

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Take pieces as they came. Most are one event of a known pattern, and are never read as JSON."""
        pattern, alone = self._pattern, self._sse.between_events
        for at, read, data in pieces:
            if read != self._read:
                self._read, self._events_of_read = read, 0
            self._at = at
            if not (alone and pattern and (found := pattern.expression.fullmatch(data)) and self._fits(pattern, found)):
                self._read_json(at, data, alone)
                pattern, alone = self._pattern, self._sse.between_events

    @property
    def between_events(self) -> bool:
        """Whether the next piece begins an event."""
        return self._sse.between_events

    def stretches(self, reads: Sequence[bytes]) -> Iterable[Stretch]:
        """Sort reads into runs of the event that is expected, and others."""
        self._pattern = self._pattern or next(iter(PATTERNS.known), None)
        if self._pattern is None or len(reads) < _WORTH_IT:
            return [(0, len(reads), None)]
        return stretches(self._pattern, reads)

    def take_run(self, times: Sequence[float], run: Run) -> None:
        """Take a run, as `feed` would take its events one by one; `times`: when each came, in a read of its own."""
        pattern = run.pattern
        choice = self._choice(pattern.choice)
        if run.prompt is not None:
            self.tokens_in, self._prompt = run.prompt, b"%d" % run.prompt
        self.tokens_cached = self.tokens_cached if pattern.cached is None else pattern.cached
        if choice.continuous is None and (run.counts or any(run.texts)):
            choice.continuous = run.counts is not None
        if run.counts and not choice.continuous:
            self._total = run.counts[-1]
        marks = choice.grow(times, run.texts, run.counts if choice.continuous else None, visible=pattern.visible)
        self.last_at = choice.events.at[-1] if marks else self.last_at

    def _choice(self, index: int) -> Choice:
        return self.choices.get(index) or self.choices.setdefault(index, Choice())

    def _read_json(self, at: float, data: bytes, alone: bool) -> None:
        """Take a piece of another shape; one that is an event by itself may show the shape of those to come."""
        events = self._sse.feed(data)
        for content in events:
            event = self._data(at, content)
            if alone and event is not None and len(events) == 1 and self._sse.between_events:
                self._pattern = PATTERNS.find(data) or PATTERNS.learn(data, event) or self._pattern

    def _fits(self, pattern: Pattern, found: re.Match[bytes]) -> bool:
        """Take an event of a known pattern, as `take_event` would; False where its text is none."""
        texts = read_texts([found[pattern.text]])
        if texts is None:
            return False
        (text,) = texts
        counted = int(found[pattern.completion]) if pattern.completion else None
        if pattern.prompt and found[pattern.prompt] != self._prompt:
            self._prompt = found[pattern.prompt]
            self.tokens_in = int(self._prompt)
        if pattern.cached is not None:
            self.tokens_cached = pattern.cached
        choice = self._choice(pattern.choice)
        if choice.continuous is None and (counted is not None or text):
            choice.continuous = counted is not None
        if counted is not None and not choice.continuous:
            self._total = counted
        tokens = _grown(choice, counted)
        if text:
            choice.text.append(text if pattern.visible else "")
            choice.reasoning.append("" if pattern.visible else text)
            self._mark(self._at, choice, tokens, pattern.visible)
        else:
            choice.held += tokens or 0
        return True

    def finish(self) -> None:
        """The stream is over: what it left unfinished came with the latest piece, and counts if it can be read."""
        with suppress(BadEventError):
            for data in self._sse.flush():
                self._data(self._at, data)

    @property
    def completion(self) -> int | None:
        """Completion tokens of all choices as the server counts them; None where it does not say.

        With several choices each counts its own as it goes on; only the last word adds them up.
        """
        if self._total is not None:
            return self._total
        counts = [choice.counted for choice in self.choices.values() if choice.continuous]
        return sum(counts) if counts else None

    def _data(self, at: float, data: bytes) -> Event | None:
        if data.strip() == DONE:
            self.done = True
        elif data.strip():
            event = read_event(data)
            self.take_event(at, event)
            return event
        return None

    def take_event(self, at: float, event: Event) -> None:
        """Take what one event, or a whole body, says."""
        self.error = self.error or event.error
        if event.usage is not None:
            self.tokens_in = event.usage.prompt if event.usage.prompt is not None else self.tokens_in
            self.tokens_cached = event.usage.cached if event.usage.cached is not None else self.tokens_cached
        counted = event.usage.completion if event.usage else None
        for part in event.parts:
            self._part(at, part, counted if len(event.parts) == 1 else None)
        if counted is not None and not self._of_one_choice(event):
            self._total = counted

    def _of_one_choice(self, event: Event) -> bool:
        """Whether an event's count is that of its own choice as it goes on, and not the sum over all."""
        return len(event.parts) == 1 and bool(self.choices[event.parts[0].choice].continuous)

    def _part(self, at: float, part: ChoicePart, counted: int | None) -> None:
        choice = self._choice(part.choice)
        if choice.continuous is None and (counted is not None or part.text or part.reasoning):
            choice.continuous = counted is not None
        choice.finish = part.finish or choice.finish
        choice.refused = choice.refused or part.refused
        self.listed_ids = self.listed_ids or part.token_ids is not None
        grown = _grown(choice, counted)
        tokens = part.token_ids if grown is None else grown
        if not (part.text or part.reasoning):
            choice.held += tokens or 0
            return
        choice.text.append(part.text)
        choice.reasoning.append(part.reasoning)
        self._mark(at, choice, tokens, bool(part.text))

    def _mark(self, at: float, choice: Choice, tokens: int | None, visible: bool) -> None:
        """A token event came."""
        events = choice.events
        events.at.append(at)
        events.tokens.append((tokens + choice.held or 1) if tokens is not None else 1)
        events.visible.append(visible)
        choice.held = 0
        self.last_at = at
        self._events_of_read += 1
        if self._events_of_read == 2:
            self.reads_unresolved += 1


def _grown(choice: Choice, counted: int | None) -> int | None:
    """Tokens by which the server's running count of a choice has grown, or None where it keeps none."""
    if counted is None or not choice.continuous or counted < choice.counted:
        return None
    grown, choice.counted = counted - choice.counted, counted
    return grown

"""Decode body pieces with receive times into token events.

The same event is decoded in one of three ways, the fastest that applies: in a run of reads that match a known pattern
(`take_run`), by matching one event with the pattern, or by parsing JSON. All three end in `Choice`, which holds the
rules for counting tokens.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat

from probe_ext.client.event_pattern import PATTERN_CACHE, EventPattern, decode_strings
from probe_ext.client.http_framing import Piece
from probe_ext.client.matched_runs import MatchedRun, ReadSpan, find_runs
from probe_ext.client.openai_api import DONE, BadEventError, ChoicePart, Event, ServerError, parse_event
from probe_ext.client.sse import SseParser
from probe_ext.measure.timeline import TokenEvents

_MIN_READS_FOR_RUNS = 4
"""with fewer reads, searching them together costs more than reading each"""


@dataclass(slots=True)
class Choice:
    """One choice of a reply."""

    events: TokenEvents = field(default_factory=TokenEvents)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str | None = None
    refused: bool = False
    held_tokens: int = 0
    """tokens of events without text since the last event with text"""
    has_running_count: bool | None = None
    """whether the server counts tokens from this choice's first event on; None before it"""
    server_count: int = 0
    """the server's count of completion tokens at the latest event"""

    def add(self, at: float, text: str, reasoning: str, count: int | None, token_ids: int | None = None) -> bool:
        """Add one event; `count` is the server's running count. Return whether it is a token event."""
        if self.has_running_count is None and (count is not None or text or reasoning):
            self.has_running_count = count is not None
        tokens = token_ids
        if count is not None and self.has_running_count and count >= self.server_count:
            tokens, self.server_count = count - self.server_count, count
        if not (text or reasoning):
            self.held_tokens += tokens or 0
            return False
        events = self.events
        events.at.append(at)
        events.tokens.append(1 if tokens is None else tokens + self.held_tokens or 1)
        events.visible.append(bool(text))
        self.text.append(text)
        self.reasoning.append(reasoning)
        self.held_tokens = 0
        return True

    def add_run(
        self, times: Sequence[float], texts: Sequence[str], counts: Sequence[int] | None, *, visible: bool
    ) -> int:
        """Do what `add` does for successive events, in one loop; return the number of token events."""
        if self.has_running_count is None and (counts or any(texts)):
            self.has_running_count = counts is not None
        events, held, before = self.events, self.held_tokens, self.server_count
        running = counts if counts and self.has_running_count else repeat(None)
        shown = []
        for at, text, count in zip(times, texts, running, strict=False):
            tokens = 1
            if count is not None and count >= before:
                held += count - before
                before = count
                tokens = held or 1
            if text:
                events.at.append(at)
                events.tokens.append(tokens)
                shown.append(text)
                held = 0
        self.held_tokens, self.server_count = held, before
        events.visible.extend(repeat(visible, len(shown)))
        (self.text if visible else self.reasoning).extend(shown)
        (self.reasoning if visible else self.text).extend(repeat("", len(shown)))
        return len(shown)


class Decoder:
    """Feed it the pieces of one event stream, in order.

    `feed` raises BadEventError and EventTooLargeError; events before the bad one are kept.
    """

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.error: ServerError | None = None
        self.done = False
        self.tokens_in: int | None = None
        self.tokens_cached: int | None = None
        self.has_token_ids = False
        self.last_at: float | None = None
        """time of the last token event"""
        self.reads_unresolved = 0
        self._final_count: int | None = None
        """the latest count of completion tokens that is not one choice's running count"""
        self._at = 0.0
        self._sse = SseParser()
        self._read_number = 0
        self._token_events_in_read = 0
        self._pattern = PATTERN_CACHE.latest
        self._prompt_digits = b""

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Decode pieces. Most are one event of a known pattern, which needs no JSON parser."""
        pattern, alone = self._pattern, self._sse.between_events
        for at, read_number, data in pieces:
            if read_number != self._read_number:
                self._read_number, self._token_events_in_read = read_number, 0
            self._at = at
            if not (
                alone and pattern and (match := pattern.expression.fullmatch(data)) and self._take_match(pattern, match)
            ):
                self._parse(at, data, alone)
                pattern, alone = self._pattern, self._sse.between_events

    @property
    def between_events(self) -> bool:
        """Whether the next piece begins an event."""
        return self._sse.between_events

    def find_runs(self, reads: Sequence[bytes]) -> Iterable[ReadSpan]:
        """Split reads into runs of the expected event and others."""
        self._pattern = self._pattern or PATTERN_CACHE.latest
        if self._pattern is None or len(reads) < _MIN_READS_FOR_RUNS:
            return [(0, len(reads), None)]
        return find_runs(self._pattern, reads)

    def take_run(self, times: Sequence[float], run: MatchedRun) -> None:
        """Take a run, whose events arrived at `times`, each in a read of its own."""
        pattern = run.pattern
        choice = self._choice(pattern.choice)
        if run.prompt_tokens is not None:
            self.tokens_in, self._prompt_digits = run.prompt_tokens, b"%d" % run.prompt_tokens
        self.tokens_cached = self.tokens_cached if pattern.cached_tokens is None else pattern.cached_tokens
        added = choice.add_run(times, run.texts, run.counts, visible=pattern.visible)
        if run.counts and not choice.has_running_count:
            self._final_count = run.counts[-1]
        self.last_at = choice.events.at[-1] if added else self.last_at

    def _choice(self, index: int) -> Choice:
        return self.choices.get(index) or self.choices.setdefault(index, Choice())

    def _take_match(self, pattern: EventPattern, match: re.Match[bytes]) -> bool:
        """Take an event of a known pattern; False if its text is not a valid JSON string."""
        texts = decode_strings([match[pattern.text]])
        if texts is None:
            return False
        (text,) = texts
        count = int(match[pattern.completion_tokens]) if pattern.completion_tokens else None
        if pattern.prompt_tokens and match[pattern.prompt_tokens] != self._prompt_digits:
            self._prompt_digits = match[pattern.prompt_tokens]
            self.tokens_in = int(self._prompt_digits)
        if pattern.cached_tokens is not None:
            self.tokens_cached = pattern.cached_tokens
        choice = self._choice(pattern.choice)
        if choice.add(self._at, text, "", count) if pattern.visible else choice.add(self._at, "", text, count):
            self._note_token_event(self._at)
        if count is not None and not choice.has_running_count:
            self._final_count = count
        return True

    def _parse(self, at: float, data: bytes, alone: bool) -> None:
        """Parse a piece of unknown shape; if it is exactly one event, learn its pattern for those that follow."""
        events = self._sse.feed(data)
        for content in events:
            event = self._take_data(at, content)
            if alone and event is not None and len(events) == 1 and self._sse.between_events:
                self._pattern = PATTERN_CACHE.find(data) or PATTERN_CACHE.learn(data, event) or self._pattern

    def finish(self) -> None:
        """End the stream: an incomplete last event came with the latest piece, and counts if it can be parsed."""
        with suppress(BadEventError):
            for data in self._sse.flush():
                self._take_data(self._at, data)

    @property
    def completion_tokens(self) -> int | None:
        """Completion tokens of all choices as the server counts them, None if it does not.

        With several choices, running counts are per choice; only the final count is the sum.
        """
        if self._final_count is not None:
            return self._final_count
        counts = [choice.server_count for choice in self.choices.values() if choice.has_running_count]
        return sum(counts) if counts else None

    def _take_data(self, at: float, data: bytes) -> Event | None:
        if data.strip() == DONE:
            self.done = True
        elif data.strip():
            event = parse_event(data)
            self.take_event(at, event)
            return event
        return None

    def take_event(self, at: float, event: Event) -> None:
        """Take a parsed event, or the body of a reply that is not streamed."""
        self.error = self.error or event.error
        if event.usage is not None:
            self.tokens_in = event.usage.prompt if event.usage.prompt is not None else self.tokens_in
            self.tokens_cached = event.usage.cached if event.usage.cached is not None else self.tokens_cached
        count = event.usage.completion if event.usage else None
        for part in event.parts:
            self._take_part(at, part, count if len(event.parts) == 1 else None)
        if count is not None and not self._is_running_count(event):
            self._final_count = count

    def _is_running_count(self, event: Event) -> bool:
        return len(event.parts) == 1 and bool(self.choices[event.parts[0].choice].has_running_count)

    def _take_part(self, at: float, part: ChoicePart, count: int | None) -> None:
        choice = self._choice(part.choice)
        choice.finish = part.finish or choice.finish
        choice.refused = choice.refused or part.refused
        self.has_token_ids = self.has_token_ids or part.token_ids is not None
        if choice.add(at, part.text, part.reasoning, count, part.token_ids):
            self._note_token_event(at)

    def _note_token_event(self, at: float) -> None:
        self.last_at = at
        self._token_events_in_read += 1
        if self._token_events_in_read == 2:
            self.reads_unresolved += 1

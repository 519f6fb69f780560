"""Decode body pieces with receive times into token events.

The same event is decoded in one of three ways, the fastest that applies: in a run of reads that match a known pattern
(`take_run`), by matching one event with the pattern, or by parsing JSON. All three end in `Choice`, which holds the
rules for counting tokens.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress, pairwise, repeat

from probe_ext.client import native_patterns
from probe_ext.client.api.api_event import BadEventError, ChoicePart, Event, ServerError, ServerTimes
from probe_ext.client.api.finish_reasons import FinishKind, finish_kind
from probe_ext.client.api.json_text import joined_objects, leading_object
from probe_ext.client.api.openai_api import parse_event
from probe_ext.client.api.server_errors import error_in_text, page_title, parse_error
from probe_ext.client.event_pattern import PATTERN_CACHE, EventPattern, decode_strings
from probe_ext.client.matched_runs import MatchedRun, ReadSpan, find_runs
from probe_ext.client.wire.http_framing import Piece
from probe_ext.client.wire.native.native_arrivals import ReadCounts
from probe_ext.client.wire.sse import BYTE_ORDER_MARK, ErrorData, SseParser
from probe_ext.measure.timeline import TokenEvents

_MIN_READS_FOR_RUNS = 4
"""with fewer reads, searching them together costs more than reading each"""
_DONE = re.compile(
    rb"\s*\"?(?:\[*\s*done\s*\]*|\[\s*(?:end|eos|eof|stop|finish|finished|complete|completed)\s*\]"
    rb"|<\|?(?:done|end|eos|endoftext|im_end)\|?>)\"?[;.,]?\s*",
    re.IGNORECASE,
)
_HEARTBEAT = re.compile(rb"\s*(?:null|true|ping|\"ping\"|heartbeat|keep-?alive|\{\}|\[\]|:.*)\s*", re.IGNORECASE)
_TAGS = r"(?:seed:)?(?:think|thinking|thought|thoughts|reasoning)"
_REASONING_BEGINS = re.compile(
    rf"\s*(?:<{_TAGS}>|\[THINK\]|◁think▷|<\|channel\|>analysis<\|message\|>|<\|(?:begin_of_thought|START_THINKING"
    r"|inner_prefix|think)\|>|<\|channel>thought\n|<unused94>(?:thought)?|Here(?:'s| is) my thought process:)"
)
_REASONING_ENDS = re.compile(
    rf"</{_TAGS}>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>|<\|(?:end_of_thought|END_THINKING|inner_suffix"
    r"|/think)\|>|<channel\|>|<unused95>|Here(?:'s| is) my response:"
)
"""of the models' own templates, where no reasoning parser removes them"""
_OPENINGS = ("<", "[", "◁", "H")
_MIN_TEXTS_WITH_REPEATS = 2
_MIN_GROWTHS = 2
_MIN_REPEATED_LENGTH = 4
"""characters; shorter texts may repeat by chance"""
_MIN_LATE_REPEAT_LENGTH = 16
_FIELD_NAMES = (b"data", b"event", b"retry", b"error")
_SHORTENED_LENGTH = 2000
_MAX_WORD_BYTES = 200
"""of data that may be a word, such as [DONE]: searching a megabyte of blanks for it takes minutes"""
_MAX_PARTS = 100
"""of data that is several events without empty lines between them"""
_MAX_WHOLE_PARTS = 100
"""of a choice: each is compared with all of its text"""


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
    whole_parts: int = 0
    """events that repeated all of a text"""
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
        if not held and all(texts) and (counts is None or counts == list(range(before + 1, before + 1 + len(counts)))):
            self._add_single_tokens(times, texts, counts, visible=visible)
            return len(texts)
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

    def _add_single_tokens(
        self, times: Sequence[float], texts: Sequence[str], counts: Sequence[int] | None, *, visible: bool
    ) -> None:
        """Do the same where each event is one token, as nearly always."""
        events, shown = self.events, self.text if visible else self.reasoning
        events.at.extend(times)
        events.tokens.extend(repeat(1, len(texts)))
        events.visible.extend(repeat(visible, len(texts)))
        shown.extend(texts)
        (self.reasoning if visible else self.text).extend(repeat("", len(texts)))
        if counts and self.has_running_count:
            self.server_count = counts[-1]

    def remove_repeats(self) -> None:
        """Reduce texts that repeat all text so far, as some servers send, to what each of them adds."""
        if len(self.text) < _MIN_TEXTS_WITH_REPEATS:
            return
        thought = False in self.events.visible
        new = [_without_repeats(self.text) or _without_late_repeats(self.text)]
        new.append(_without_repeats(self.reasoning) if thought else None)
        if new == [None, None]:
            return
        self.text, self.reasoning = new[0] or self.text, new[1] or self.reasoning
        self._keep([bool(text or reasoning) for text, reasoning in zip(self.text, self.reasoning, strict=True)])
        self.events.visible = [bool(text) for text in self.text]

    def _keep(self, kept: Sequence[bool]) -> None:
        events = self.events
        events.at, events.tokens = list(compress(events.at, kept)), list(compress(events.tokens, kept))
        self.text, self.reasoning = list(compress(self.text, kept)), list(compress(self.reasoning, kept))

    def separate_inline_reasoning(self) -> None:
        """Move reasoning that the content holds between tags, as from servers without a reasoning parser."""
        opening = next((text for text in self.text if text.strip()), "")
        content = "".join(self.text)
        if opening.lstrip()[:1] not in _OPENINGS and "</think>" not in content:
            return
        begins, ends = _REASONING_BEGINS.match(content), _REASONING_ENDS.search(content)
        if begins is None and (ends is None or ends[0] != "</think>" or any(self.reasoning)):
            return  # no reasoning, or the server separates it itself and the text mentions the tag
        length = ends.end() if ends else len(content)
        for index, text in enumerate(self.text):
            inside, length = text[:length], max(0, length - len(text))
            self.text[index] = text[len(inside) :]
            self.reasoning[index] += inside
        self.events.visible = [bool(text) for text in self.text]


def _without_repeats(texts: Sequence[str]) -> list[str] | None:
    """Return what each text adds if texts are cumulative or the last one repeats all others; None if not."""
    if not texts or not (last := next(filter(None, reversed(texts)), "")):
        return None
    first = next(filter(None, texts))
    if last is first or not last.startswith(first):
        return None
    shown = [text for text in texts if text]
    if all(after.startswith(before) for before, after in pairwise(shown)):
        growths = sum(len(after) > len(before) for before, after in pairwise(shown))
        if growths >= _MIN_GROWTHS or (growths == 1 and len(first) >= _MIN_REPEATED_LENGTH):
            lengths = accumulate((len(text) for text in texts), max, initial=0)
            return [text[before:] for text, before in zip(texts, lengths, strict=False)]
    if len(shown) > 2 and len(last) >= _MIN_REPEATED_LENGTH and last == "".join(shown[:-1]):
        end = max(index for index, text in enumerate(texts) if text)
        return [text if index < end else "" for index, text in enumerate(texts)]
    return None


def _without_late_repeats(texts: Sequence[str]) -> list[str] | None:
    """Do the same where one other text comes first: the name of a function whose arguments are sent cumulatively."""
    before = next((n for n, text in enumerate(texts, 1) if text), len(texts))
    rest = texts[before:]
    new = _without_repeats(rest)
    if new is None or max(map(len, rest)) < _MIN_LATE_REPEAT_LENGTH:
        return None
    return [*texts[:before], *new]


class Decoder:
    """Feed it the pieces of one event stream, in order.

    An event that cannot be read costs itself only; `unreadable` counts them. `feed` raises EventTooLargeError; the
    events before that one are kept. `choices`: how many were asked for; with one, the index of a choice says nothing
    (some servers count tokens in it).
    """

    def __init__(self, choices: int = 1) -> None:
        self._choices_asked = choices
        self.choices: dict[int, Choice] = {}
        self.error: ServerError | None = None
        self.done = False
        self.tokens_in: int | None = None
        self.tokens_cached: int | None = None
        self.tokens_reasoning: int | None = None
        self.server_times: ServerTimes | None = None
        self.unreadable = 0
        self.first_unreadable: str | None = None
        """why the first unreadable event is one, with all of its data"""
        self.last_words: str | None = None
        """text in the stream that belongs to no event, such as a proxy's complaint"""
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
        """of `tokens_in`, if it is from an event of a known pattern"""

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
        return self._sse.between_events or self._sse.at_start

    def find_runs(self, reads: Sequence[bytes]) -> Iterable[ReadSpan]:
        """Split reads into runs of the expected event and others."""
        self._pattern = self._pattern or PATTERN_CACHE.latest
        if self._pattern is None or len(reads) < _MIN_READS_FOR_RUNS:
            return [(0, len(reads), None)]
        return find_runs(self._pattern, reads)

    def take_run(self, times: Sequence[float], run: MatchedRun, reads: ReadCounts) -> None:
        """Take a run, whose events arrived at `times`."""
        self._sse.begin()
        pattern = run.pattern
        choice = self._choice(pattern.choice)
        if run.prompt_tokens is not None:
            self.tokens_in, self._prompt_digits = run.prompt_tokens, b"%d" % run.prompt_tokens
        self._take_constants(pattern)
        added = choice.add_run(times, run.texts, run.counts, visible=pattern.visible)
        if run.counts and not choice.has_running_count:
            self._final_count = run.counts[-1]
        self.last_at = choice.events.at[-1] if added else self.last_at
        self._count_reads(reads)

    def take_constants(self, times: Sequence[float], events: Sequence[Event], reads: ReadCounts) -> None:
        """Take events without text, which arrived at `times`."""
        self._sse.begin()
        for at, event in zip(times, events, strict=True):
            self.take_event(at, event)
        self._count_reads(reads)

    def _count_reads(self, reads: ReadCounts) -> None:
        """Count the reads of a run. The first one may be the latest of what came before."""
        before = self._token_events_in_read if reads.first == self._read_number else 0
        together = before + reads.in_first
        self.reads_unresolved += reads.unresolved + (together > 1) - (before > 1) - (reads.in_first > 1)
        self._read_number = reads.last
        self._token_events_in_read = reads.in_last + (before if reads.first == reads.last else 0)

    def _take_constants(self, pattern: EventPattern) -> None:
        if pattern.cached_tokens is not None:
            self.tokens_cached = pattern.cached_tokens
        if pattern.reasoning_tokens is not None:
            self.tokens_reasoning = pattern.reasoning_tokens

    def _choice(self, index: int) -> Choice:
        index = index if 0 <= index < self._choices_asked else 0
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
        self._take_constants(pattern)
        choice = self._choice(pattern.choice)
        if choice.add(self._at, text, "", count) if pattern.visible else choice.add(self._at, "", text, count):
            self._note_token_event(self._at)
        if count is not None and not choice.has_running_count:
            self._final_count = count
        return True

    def _parse(self, at: float, data: bytes, alone: bool) -> None:
        """Parse a piece of unknown shape; if it is exactly one event, learn its pattern for those that follow."""
        alone = alone or (self._sse.at_start and data[:1] != BYTE_ORDER_MARK[:1])
        events = self._sse.feed(data)
        for content in events:
            event = self._take_data(at, content)
            if alone and event is not None and len(events) == 1 and self._sse.between_events and not self._sse.stray:
                self._learn(data, event)
        if self._sse.stray:
            self._take_stray()

    def _learn(self, raw: bytes, event: Event) -> None:
        pattern = PATTERN_CACHE.find(raw)
        if pattern is None:
            pattern = PATTERN_CACHE.learn(raw, event)
            if pattern is None:
                native_patterns.learn_constant(raw, event)
            else:
                native_patterns.register(pattern)
        self._pattern = pattern or self._pattern

    def finish(self) -> None:
        """End the stream: an incomplete last event came with the latest piece, and counts if it can be parsed."""
        for data in self._sse.flush():
            unreadable = self.unreadable
            self._take_data(self._at, data)
            if self.unreadable > unreadable:  # cut off, not invalid
                self.unreadable = unreadable
                self.first_unreadable = self.first_unreadable if unreadable else None
                if b'"error"' in data or data.lstrip()[:1] not in (b"{", b"["):
                    self.last_words = data[:_SHORTENED_LENGTH].decode("utf-8", "replace")
        if self._sse.stray:
            self._take_stray()

    def _take_stray(self) -> None:
        """Keep lines that are no field of an event: the last words of a proxy, or an error object without `data:`."""
        stray, self._sse.stray = self._sse.stray, b""
        if any(name.startswith(stray) for name in _FIELD_NAMES):
            return  # cut off in the name of a field
        self.error = self.error or parse_error(leading_object(stray))
        self.last_words = page_title(stray) or stray.decode("utf-8", "replace")

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
        if len(data) < _MAX_WORD_BYTES and _DONE.fullmatch(data):
            self.done = True
            return None
        try:
            event = parse_event(data)
        except BadEventError as error:
            self._take_unparsed(at, data, error)
            return None
        if isinstance(data, ErrorData) and event.error is None:
            event = event._replace(error=parse_error({"error": leading_object(data)}))
        self.take_event(at, event)
        return event

    def _take_unparsed(self, at: float, data: bytes, problem: BadEventError) -> None:
        """Take data that is not a JSON object: a heartbeat, an error as text, several events without empty lines."""
        if not data.strip() or (len(data) < _MAX_WORD_BYTES and _HEARTBEAT.fullmatch(data)):
            return
        parts = data.split(b"\n", _MAX_PARTS)
        if len(parts) == 1 or not all(part.lstrip()[:1] in (b"{", b"[", b"") for part in parts):
            parts = joined_objects(data)
        if len(parts) > 1:
            for part in parts:
                self._take_data(at, part)
            return
        error = error_in_text(data, certain=isinstance(data, ErrorData))
        if error is not None:
            self.error = self.error or error
            return
        self.unreadable += 1
        self.first_unreadable = self.first_unreadable or str(problem)
        if data.lstrip()[:1] not in (b"{", b"["):
            self.last_words = data[:_SHORTENED_LENGTH].decode("utf-8", "replace")

    def take_event(self, at: float, event: Event) -> None:
        """Take a parsed event, or the body of a reply that is not streamed."""
        self.error = self.error or event.error
        if event.usage is not None:
            if event.usage.prompt is not None:
                self.tokens_in, self._prompt_digits = event.usage.prompt, b""
            self.tokens_cached = event.usage.cached if event.usage.cached is not None else self.tokens_cached
            if event.usage.reasoning is not None:
                self.tokens_reasoning = event.usage.reasoning
        self.done = self.done or event.last
        self.server_times = event.server_times or self.server_times
        count = event.usage.completion if event.usage else None
        for part in event.parts:
            self._take_part(at, part, count if len(event.parts) == 1 else None)
        if count is not None and not self._is_running_count(event):
            self._final_count = count

    def _is_running_count(self, event: Event) -> bool:
        return len(event.parts) == 1 and bool(self._choice(event.parts[0].choice).has_running_count)

    def _take_part(self, at: float, part: ChoicePart, count: int | None) -> None:
        choice = self._choice(part.choice)
        if part.finish and (choice.finish is None or finish_kind(choice.finish) is not FinishKind.FAILED):
            choice.finish = part.finish  # a failure stays one, whatever a gateway sends after it
        choice.refused = choice.refused or part.refused
        self.has_token_ids = self.has_token_ids or part.token_ids is not None
        text, reasoning = part.text, part.reasoning
        if part.whole:
            choice.whole_parts += 1
            wanted = choice.whole_parts <= _MAX_WHOLE_PARTS
            text = _unseen(text, choice.text) if wanted else ""
            reasoning = _unseen(reasoning, choice.reasoning) if wanted else ""
        if choice.add(at, text, reasoning, count, part.token_ids):
            self._note_token_event(at)

    def _note_token_event(self, at: float) -> None:
        self.last_at = at
        self._token_events_in_read += 1
        if self._token_events_in_read == 2:
            self.reads_unresolved += 1


def _unseen(whole: str, seen: Sequence[str]) -> str:
    """Return text unless it repeats what was seen."""
    return "" if not whole or whole in "".join(seen) else whole

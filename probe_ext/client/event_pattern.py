"""Recognize stream events by their constant bytes instead of parsing their JSON.

Events of one server differ in few values: the text, the running counts, the reply's id and its time. An event parsed as
JSON shows where these values are; everything around them becomes a regular expression. The pattern is accepted only
after the JSON parser has found other values put in the same places. From then on an event that matches in every byte
needs no JSON parser, and any other event is parsed. `tests/client/test_event_pattern.py` checks that both ways give the
same result.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import orjson

from probe_ext.client.api.api_event import BadEventError, ChoicePart, Event, Usage
from probe_ext.client.api.openai_api import parse_event
from probe_ext.client.wire.sse import SseParser

SEPARATOR = b"\0"
"""before, between and after reads that are searched together; no matching event contains it"""
_UNESCAPED = rb"[^\"\\\x00-\x1f]*"
_TEXT = rb"(%s|%s(?:\\[^\x00-\x1f]%s)+)" % (_UNESCAPED, _UNESCAPED, _UNESCAPED)
"""content of a JSON string; escapes are decoded once the rest is known to match"""
_ID = rb"([^\"\\\x00-\x1f\x80-\xff]*)"
_NUMBER = rb"(0|[1-9][0-9]{0,14})"
_COUNT = rb"(0|[1-9][0-9]{0,7})"  # larger ones are parsed as JSON, where they are not believed
_VARIABLE_FIELDS = re.compile(
    rb'"(id|item_id|created|sequence_number|obfuscation|prompt_tokens|completion_tokens|total_tokens)": ?'
    rb'(?:([0-9]+)|"([^"\\]*)")'
)
"""values that differ between events or between replies"""
_TRIAL_TEXT, _TRIAL_ID = "qz~7", b"tried-1"
_TRIAL_COUNTS = {b"prompt_tokens": 7001, b"completion_tokens": 8002}
_CAPTURED_FIELDS = (b"text", b"prompt_tokens", b"completion_tokens")
_CHUNK_TEMPLATE = rb"(?<=\0)(?:([0-9a-fA-F]{1,7})\r\n%s\r\n|([^\0]+))\0"
_MAX_TEXT_OCCURRENCES = 4
"""how many occurrences of the text are tried: a short text may appear elsewhere in the event too"""
_MAX_PATTERN_BYTES = 16 * 2**10
"""of an event that is worth a pattern: compiling a long one takes seconds"""
_MAX_PATTERNS = 8
"""a server usually has two: one for answers, one for reasoning"""
_MAX_LEARN_ATTEMPTS = 64
"""per process; beyond that, a server's events are too different from one another"""


class EventPattern(NamedTuple):
    """What all events of one shape match, and the numbers of the match's groups."""

    expression: re.Pattern[bytes]
    chunk: re.Pattern[bytes]
    """a read between two SEPARATORs; groups: size of a chunk with a matching event, its `captured`, any other read"""
    captured: tuple[bytes, ...]
    """names of the values that `chunk` captures, in order"""
    text: int
    prompt_tokens: int | None
    completion_tokens: int | None
    choice: int
    visible: bool
    cached_tokens: int | None
    reasoning_tokens: int | None
    """both constant in all events of this shape"""
    literals: tuple[bytes, ...]
    """the constant bytes before, between and after the values"""
    slots: str
    """kinds of the values, one letter each, as patterns.h knows them"""


class PatternCache:
    """The event patterns that this process has learned."""

    def __init__(self) -> None:
        self.patterns: list[EventPattern] = []
        self._attempts = 0

    @property
    def latest(self) -> EventPattern | None:
        """The most recently used pattern."""
        return self.patterns[0] if self.patterns else None

    def find(self, raw: bytes) -> EventPattern | None:
        """Return the known pattern of this event and make it the latest."""
        for index, pattern in enumerate(self.patterns):
            if pattern.expression.fullmatch(raw):
                self.patterns.insert(0, self.patterns.pop(index))
                return pattern
        return None

    def learn(self, raw: bytes, event: Event) -> EventPattern | None:
        """Learn the pattern of an event whose only bytes are these; None if it is not a plain token event."""
        if self._attempts >= _MAX_LEARN_ATTEMPTS or len(raw) > _MAX_PATTERN_BYTES or not _is_plain_token(event):
            return None
        self._attempts += 1
        pattern = make_pattern(raw, event)
        if pattern is not None:
            self.patterns.insert(0, pattern)
            del self.patterns[_MAX_PATTERNS:]
        return pattern


def _is_plain_token(event: Event) -> bool:
    """Return whether the event carries text of one choice, and nothing else but counts."""
    if len(event.parts) != 1 or event.error is not None or event.last or event.parts[0].whole:
        return False
    part = event.parts[0]
    one_text = bool(part.text) is not bool(part.reasoning)
    return one_text and part.finish is None and part.token_ids is None and not part.refused


def make_pattern(raw: bytes, event: Event) -> EventPattern | None:
    """Return the pattern of a plain token event, None if it cannot be verified."""
    text = event.parts[0].text or event.parts[0].reasoning
    literal = f'"{text}"'.encode()
    index = -1
    for _ in range(_MAX_TEXT_OCCURRENCES):
        index = raw.find(literal, index + 1)
        if index < 0:
            break
        pattern = _pattern_with_text_at(raw, index + 1, index + len(literal) - 1, event)
        if pattern is not None:
            return pattern
    return None


class _Slot(NamedTuple):
    start: int
    end: int
    name: bytes
    trial: bytes


def _kind(slot: _Slot) -> str:
    """Return the letter of the slot's kind in patterns.h."""
    letters = {b"text": "t", b"prompt_tokens": "p", b"completion_tokens": "c"}
    return letters.get(slot.name) or ("n" if slot.trial.isdigit() else "i")


def _group(slot: _Slot) -> bytes:
    if slot.name == b"text":
        return _TEXT
    if slot.name in _TRIAL_COUNTS:
        return _COUNT
    return _NUMBER if slot.trial.isdigit() else _ID


def constant_shape(raw: bytes, event: Event) -> tuple[tuple[bytes, ...], str] | None:
    """Return literals and slots of an event without text; None if they cannot be verified."""
    divided = _divided(raw, _variable_fields(raw), event)
    return None if divided is None else (tuple(divided[0]), "".join(map(_kind, divided[1])))


def _variable_fields(raw: bytes) -> list[_Slot]:
    slots = []
    for match in _VARIABLE_FIELDS.finditer(raw):
        is_number = match[3] is None
        trial = b"%d" % _TRIAL_COUNTS.get(match[1], 5) if is_number else _TRIAL_ID
        slots.append(_Slot(*match.span(2 if is_number else 3), match[1], trial))
    return slots


def _divided(raw: bytes, slots: list[_Slot], event: Event) -> tuple[list[bytes], list[_Slot]] | None:
    """Return the literals around the slots, and these in order; None if other values there make another event."""
    slots = sorted(slots)
    names = [slot.name for slot in slots]
    if any(names.count(name) > 1 for name in (b"text", *_TRIAL_COUNTS)):
        return None
    usage = event.usage
    if b"total_tokens" in names and usage and (usage.reasoning or usage.completion is None):
        return None  # the total decides what the other counts mean
    edges = [0, *(edge for slot in slots for edge in (slot.start, slot.end)), len(raw)]
    literals = [raw[a:b] for a, b in list(pairwise(edges))[::2]]  # from the end of one slot to the start of the next
    if not _parses_as(_interleave(literals, [slot.trial for slot in slots]), _with_trial_values(event)):
        return None
    return literals, slots


def _pattern_with_text_at(raw: bytes, start: int, end: int, event: Event) -> EventPattern | None:
    """Return the pattern if the text is at this position, None if not."""
    others = [slot for slot in _variable_fields(raw) if slot.end <= start or slot.start >= end]
    divided = _divided(raw, [_Slot(start, end, b"text", _TRIAL_TEXT.encode()), *others], event)
    if divided is None:
        return None
    literals, slots = divided
    names = [slot.name for slot in slots]
    groups = [_group(slot) for slot in slots]
    escaped = [re.escape(literal) for literal in literals]
    group_numbers = {name: names.index(name) + 1 for name in names}
    chunk_groups = [
        group if name in _CAPTURED_FIELDS else group.replace(b"(", b"(?:", 1)
        for name, group in zip(names, groups, strict=True)
    ]
    return EventPattern(
        re.compile(_interleave(escaped, groups)),
        re.compile(_CHUNK_TEMPLATE % _interleave(escaped, chunk_groups)),
        tuple(name for name in names if name in _CAPTURED_FIELDS),
        group_numbers[b"text"],
        group_numbers.get(b"prompt_tokens"),
        group_numbers.get(b"completion_tokens"),
        event.parts[0].choice,
        bool(event.parts[0].text),
        event.usage.cached if event.usage else None,
        event.usage.reasoning if event.usage else None,
        tuple(literals),
        "".join(map(_kind, slots)),
    )


def _interleave(literals: list[bytes], values: list[bytes]) -> bytes:
    return literals[0] + b"".join(value + literal for value, literal in zip(values, literals[1:], strict=True))


def _with_trial_values(event: Event) -> Event:
    parts = [_with_trial_text(part) for part in event.parts]
    usage = event.usage
    if usage is not None:
        prompt = None if usage.prompt is None else _TRIAL_COUNTS[b"prompt_tokens"]
        completion = None if usage.completion is None else _TRIAL_COUNTS[b"completion_tokens"]
        usage = Usage(prompt, completion, usage.cached, usage.reasoning)
    return Event(parts, usage, None)


def _with_trial_text(part: ChoicePart) -> ChoicePart:
    if part.text:
        return part._replace(text=_TRIAL_TEXT)
    return part._replace(reasoning=_TRIAL_TEXT) if part.reasoning else part


def _parses_as(raw: bytes, event: Event) -> bool:
    try:
        return [parse_event(data) for data in SseParser().feed(raw)] == [event]
    except BadEventError:
        return False


def decode_strings(contents: Sequence[bytes]) -> list[str] | None:
    """Decode the contents of JSON strings; None if one of them is invalid."""
    try:
        texts: list[str] = orjson.loads(b'["' + b'","'.join(contents) + b'"]')
    except orjson.JSONDecodeError:
        return None
    return texts


PATTERN_CACHE = PatternCache()
"""shared by all streams of this process"""

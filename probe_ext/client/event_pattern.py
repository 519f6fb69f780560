"""Recognise a stream's next event by what stays the same, instead of reading its JSON.

One event of a server is like the other in all but a few values: the text, the running counts, the reply's id and its
time. An event that was read as JSON shows where these stand; what surrounds them becomes a regular expression. It is
believed only after other values were put in its places and the JSON reader found exactly those. An event that fits in
every byte is then known without reading; any other is read as JSON. A pattern never guesses: `tests/client/
test_pattern.py` holds the two ways against one another.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import orjson

from probe_ext.client.openai_api import BadEventError, Event, Usage, read_event
from probe_ext.client.sse import SseParser

_PLAIN = rb"[^\"\\\x00-\x1f]*"
_TEXT = rb"(%s|%s(?:\\[^\x00-\x1f]%s)+)" % (_PLAIN, _PLAIN, _PLAIN)
"""a JSON string's inside, most without escapes: those are read when all else is known to fit"""
_ID = rb"([^\"\\\x00-\x1f\x80-\xff]*)"
"""an id: ASCII without escapes"""
_NUMBER = rb"(0|[1-9][0-9]{0,14})"
_PLACES = re.compile(rb'"(id|created|prompt_tokens|completion_tokens|total_tokens)": ?(?:([0-9]+)|"([^"\\]*)")')
"""values that differ from event to event or from reply to reply"""
_OTHER_TEXT, _OTHER_ID = "qz~7", b"tried-1"
_OTHER_NUMBERS = {b"prompt_tokens": 7001, b"completion_tokens": 8002}
"""the values with which a pattern is tried"""
_TRIES = 4
"""occurrences of the text that are tried: a short one may stand elsewhere too"""
_KEPT = (b"text", b"prompt_tokens", b"completion_tokens")
"""what is wanted of an event; the rest need only be there"""
BETWEEN = b"\0"
"""stands before, between and behind the reads that are searched at once; no event of a pattern holds it"""
_CHUNK = rb"(?<=\0)(?:([0-9a-fA-F]{1,7})\r\n%s\r\n|([^\0]+))\0"
_MOST = 8
"""patterns that are kept; a server has one for its answers, and one for its thoughts"""
_MOST_LEARNT = 64
"""patterns that a process learns: a server whose events are never alike is read as JSON"""


class Pattern(NamedTuple):
    """What every event of one shape matches, and which of the match's groups is what."""

    expression: re.Pattern[bytes]
    chunk: re.Pattern[bytes]
    """a read between two BETWEEN; groups: the size of a chunk that is such an event, those of `kept`, any other read"""
    kept: tuple[bytes, ...]
    """names of what `chunk` gives out, in order"""
    text: int
    prompt: int | None
    completion: int | None
    choice: int
    visible: bool
    cached: int | None
    """prompt tokens from the cache, as every event of this shape says"""


class Patterns:
    """The shapes of events that this process has met."""

    def __init__(self) -> None:
        self.known: list[Pattern] = []
        self._learnt = 0

    def find(self, raw: bytes) -> Pattern | None:
        """The known pattern of this event, which becomes the first to be tried."""
        for place, pattern in enumerate(self.known):
            if pattern.expression.fullmatch(raw):
                self.known.insert(0, self.known.pop(place))
                return pattern
        return None

    def learn(self, raw: bytes, event: Event) -> Pattern | None:
        """The pattern of a token event that stood alone in these bytes, if anything certain can be said of it."""
        if self._learnt >= _MOST_LEARNT or not _is_token(event):
            return None
        self._learnt += 1
        pattern = learn(raw, event)
        if pattern is not None:
            self.known.insert(0, pattern)
            del self.known[_MOST:]
        return pattern


def _is_token(event: Event) -> bool:
    """Whether it says some text of one choice, and nothing that is no text or count."""
    if len(event.parts) != 1 or event.error is not None:
        return False
    part = event.parts[0]
    one_text = bool(part.text) is not bool(part.reasoning)
    return one_text and part.finish is None and part.token_ids is None and not part.refused


def learn(raw: bytes, event: Event) -> Pattern | None:
    """The pattern of a token event; None where nothing certain can be said."""
    text = event.parts[0].text or event.parts[0].reasoning
    literal = f'"{text}"'.encode()
    place = -1
    for _ in range(_TRIES):
        place = raw.find(literal, place + 1)
        if place < 0:
            break
        found = _cut(raw, place + 1, place + len(literal) - 1, event)
        if found is not None:
            return found
    return None


class _Slot(NamedTuple):
    start: int
    end: int
    name: bytes
    other: bytes


def _cut(raw: bytes, start: int, end: int, event: Event) -> Pattern | None:
    """The pattern if the text stands between these places, or None if it does not."""
    slots = [_Slot(start, end, b"text", _OTHER_TEXT.encode())]
    for found in _PLACES.finditer(raw):
        number = found[3] is None
        where = found.span(2 if number else 3)
        if where[1] <= start or where[0] >= end:
            other = b"%d" % _OTHER_NUMBERS.get(found[1], 5) if number else _OTHER_ID
            slots.append(_Slot(*where, found[1], other))
    slots.sort()
    names = [slot.name for slot in slots]
    if any(names.count(name) > 1 for name in (b"text", *_OTHER_NUMBERS)):
        return None
    # from the end of one slot to the start of the next
    edges = [0, *(edge for slot in slots for edge in (slot.start, slot.end)), len(raw)]
    around = [raw[a:b] for a, b in list(pairwise(edges))[::2]]
    if not _found_again(_filled(around, [slot.other for slot in slots]), event):
        return None
    groups = [_TEXT if slot.name == b"text" else _NUMBER if slot.other.isdigit() else _ID for slot in slots]
    fixed = [re.escape(part) for part in around]
    number_of = {name: names.index(name) + 1 for name in names}
    kept = tuple(name for name in names if name in _KEPT)
    only_kept = [
        group if name in _KEPT else group.replace(b"(", b"(?:", 1) for name, group in zip(names, groups, strict=True)
    ]
    return Pattern(
        re.compile(_filled(fixed, groups)),
        re.compile(_CHUNK % _filled(fixed, only_kept)),
        kept,
        number_of[b"text"],
        number_of.get(b"prompt_tokens"),
        number_of.get(b"completion_tokens"),
        event.parts[0].choice,
        bool(event.parts[0].text),
        event.usage.cached if event.usage else None,
    )


def _filled(around: list[bytes], values: list[bytes]) -> bytes:
    """The values between what surrounds them."""
    return around[0] + b"".join(value + part for value, part in zip(values, around[1:], strict=True))


def _found_again(changed: bytes, event: Event) -> bool:
    """Whether the JSON reader finds the other values, each where it should be, and all else as in the event."""
    part = event.parts[0]
    part = part._replace(text=_OTHER_TEXT) if part.text else part._replace(reasoning=_OTHER_TEXT)
    usage = event.usage
    if usage is not None:
        prompt = None if usage.prompt is None else _OTHER_NUMBERS[b"prompt_tokens"]
        completion = None if usage.completion is None else _OTHER_NUMBERS[b"completion_tokens"]
        usage = Usage(prompt, completion, usage.cached)
    try:
        found = [read_event(data) for data in SseParser().feed(changed)]
    except BadEventError:
        return False
    return found == [Event([part], usage, None)]


def read_texts(insides: Sequence[bytes]) -> list[str] | None:
    """What these insides of JSON strings say; None where one of them is none."""
    try:
        texts: list[str] = orjson.loads(b'["' + b'","'.join(insides) + b'"]')
    except orjson.JSONDecodeError:
        return None
    return texts


PATTERNS = Patterns()
"""of this process: what one stream has shown, the next need not learn"""

"""From body pieces with receive times to token events: what the model said, when, and how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from probe_ext.client.framing import Piece
from probe_ext.client.openai import DONE, ChoicePart, Event, ServerError, read_event
from probe_ext.client.sse import SseParser
from probe_ext.measure.timeline import TokenEvents


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
    """whether the server counts tokens from this choice's first event on; None before it"""
    counted: int = 0
    """the server's count of completion tokens at the last event"""


class Decoder:
    """Feed it the pieces of one event stream, in order.

    BadEventError and EventTooLargeError are raised by `feed` and `finish`; what came before stays.
    """

    def __init__(self) -> None:
        self.choices: dict[int, Choice] = {}
        self.error: ServerError | None = None
        self.done = False
        self.tokens_in: int | None = None
        self.tokens_cached: int | None = None
        self.completion: int | None = None
        self.listed_ids = False
        self.last_at: float | None = None
        """when the last token event came"""
        self.reads_unresolved = 0
        self._sse = SseParser()
        self._read = 0
        self._events_of_read = 0

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Take pieces as they came."""
        for piece in pieces:
            if piece.read != self._read:
                self._read, self._events_of_read = piece.read, 0
            for data in self._sse.feed(piece.data):
                self._data(piece.at, data)

    def finish(self, at: float) -> None:
        """The stream is over: what it left unfinished counts if it can be read."""
        for data in self._sse.flush():
            self._data(at, data)

    def _data(self, at: float, data: bytes) -> None:
        if data.strip() == DONE:
            self.done = True
        elif data.strip():
            self.take_event(at, read_event(data))

    def take_event(self, at: float, event: Event) -> None:
        """Take what one event, or a whole body, says."""
        self.error = self.error or event.error
        if event.usage is not None:
            self.tokens_in = event.usage.prompt if event.usage.prompt is not None else self.tokens_in
            self.tokens_cached = event.usage.cached if event.usage.cached is not None else self.tokens_cached
            self.completion = event.usage.completion if event.usage.completion is not None else self.completion
        counted = event.usage.completion if event.usage and len(event.parts) == 1 else None
        for part in event.parts:
            self._part(at, part, counted)

    def _part(self, at: float, part: ChoicePart, counted: int | None) -> None:
        choice = self.choices.setdefault(part.index, Choice())
        choice.finish = part.finish or choice.finish
        choice.refused = choice.refused or part.refused
        self.listed_ids = self.listed_ids or part.token_ids is not None
        tokens = self._tokens(choice, part, counted)
        if not (part.text or part.reasoning):
            choice.held += tokens or 0
            return
        choice.text.append(part.text)
        choice.reasoning.append(part.reasoning)
        choice.events.add(at, 1 if tokens is None else max(1, tokens + choice.held), bool(part.text))
        choice.held = 0
        self.last_at = at
        self._events_of_read += 1
        if self._events_of_read == 2:
            self.reads_unresolved += 1

    @staticmethod
    def _tokens(choice: Choice, part: ChoicePart, counted: int | None) -> int | None:
        """Tokens that this event stands for, or None where the server does not say."""
        if choice.continuous is None:
            choice.continuous = counted is not None
        if choice.continuous and counted is not None and counted >= choice.counted:
            grown, choice.counted = counted - choice.counted, counted
            return grown
        return part.token_ids

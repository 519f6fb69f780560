"""From body pieces with receive times to token events: what the model said, when, and how it ended."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from probe_ext.client.framing import Piece
from probe_ext.client.openai import DONE, BadEventError, ChoicePart, Event, ServerError, read_event
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
    """whether the server counts tokens from this choice's first token event on; None before it"""
    counted: int = 0
    """the server's count of completion tokens at the last event"""


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

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Take pieces as they came."""
        for piece in pieces:
            if piece.read != self._read:
                self._read, self._events_of_read = piece.read, 0
            self._at = piece.at
            for data in self._sse.feed(piece.data):
                self._data(piece.at, data)

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
        counted = event.usage.completion if event.usage else None
        for part in event.parts:
            self._part(at, part, counted if len(event.parts) == 1 else None)
        if counted is not None and not self._of_one_choice(event):
            self._total = counted

    def _of_one_choice(self, event: Event) -> bool:
        """Whether an event's count is that of its own choice as it goes on, and not the sum over all."""
        return len(event.parts) == 1 and bool(self.choices[event.parts[0].choice].continuous)

    def _part(self, at: float, part: ChoicePart, counted: int | None) -> None:
        choice = self.choices.setdefault(part.choice, Choice())
        if choice.continuous is None and (counted is not None or part.text or part.reasoning):
            choice.continuous = counted is not None
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
        if choice.continuous and counted is not None and counted >= choice.counted:
            grown, choice.counted = counted - choice.counted, counted
            return grown
        return part.token_ids

"""Which conversation a request continues: the one whose messages and answer its own messages begin with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from probe_ext.tap.bounded_table import BoundedTable
from probe_ext.tap.traffic.keyed_hash import KeyedHash
from probe_ext.tap.traffic.prompt_messages import ASSISTANT, Message, Prompt

MAX_HISTORIES = 50_000
_MAX_SHARING = 32
"""conversations with the same messages and the same answer that are told apart"""


class Place(NamedTuple):
    """Where a request stands: session and number of the request in it, from 0."""

    session: str
    turn: int


@dataclass(slots=True)
class _Open:
    """A conversation after one of its replies."""

    place: Place
    continued: bool = False


class SessionTable:
    """Assigns requests to sessions. Keeps hashes of histories, and forgets those not used for longest."""

    def __init__(self, hashes: KeyedHash) -> None:
        self._hashes = hashes
        self._answered: BoundedTable[bytes, list[_Open]] = BoundedTable(MAX_HISTORIES)
        self._asked: BoundedTable[bytes, list[_Open]] = BoundedTable(MAX_HISTORIES)
        self._responses: BoundedTable[bytes, list[_Open]] = BoundedTable(MAX_HISTORIES)
        self._sessions = 0

    def place(self, prompt: Prompt, owner: str) -> Place:
        """Return the place of a request. `owner`: whose it is; histories of different owners are different."""
        found = self._found(prompt, owner)
        if found is None:
            self._sessions += 1
            return Place(self._hashes.name("session", str(self._sessions)), 0)
        found.continued = True
        return Place(found.place.session, found.place.turn + 1)

    def answered(self, prompt: Prompt, owner: str, place: Place, answers: Sequence[str], response: str | None) -> None:
        """Note the answer to a request, in one or more forms in which the client may send it back."""
        conversation = _Open(place)
        histories = self._histories(prompt.messages, owner)
        asked = histories[-1] if histories else b""
        _append(self._asked, asked, conversation)
        for answer in dict.fromkeys(map(_normalized, answers)):
            _append(self._answered, self._hashes.digest(asked, ASSISTANT, answer), conversation)
        if response:
            _append(self._responses, self._hashes.digest(owner, response), conversation)

    def _found(self, prompt: Prompt, owner: str) -> _Open | None:
        if prompt.previous:
            return _choice(self._responses.get(self._hashes.digest(owner, prompt.previous)))
        replies = [n for n, message in enumerate(prompt.messages) if message.role == ASSISTANT]
        if not replies:
            return None
        histories = self._histories(prompt.messages, owner)
        for n in reversed(replies):
            if found := _choice(self._answered.get(histories[n])):
                return found
        for n in reversed(replies):  # a client may change an answer before it sends it back
            if n and (found := _choice(self._asked.get(histories[n - 1]))):
                return found
        return None

    def _histories(self, messages: Sequence[Message], owner: str) -> list[bytes]:
        """Return a hash of each message with all before it."""
        digests, before = [], self._hashes.digest(owner)
        for message in messages:
            before = self._hashes.digest(before, message.role, _normalized(message.text))
            digests.append(before)
        return digests


def _normalized(text: str) -> str:
    """Return text without blanks: clients trim answers, and write the JSON of tool calls anew."""
    return "".join(text.split())


def _append(table: BoundedTable[bytes, list[_Open]], key: bytes, conversation: _Open) -> None:
    sharing = table.get(key) or []
    table.put(key, [*sharing[-_MAX_SHARING + 1 :], conversation])


def _choice(sharing: list[_Open] | None) -> _Open | None:
    """Return the oldest conversation that was not continued yet; else the latest, which then branches."""
    if not sharing:
        return None
    return next((each for each in sharing if not each.continued), sharing[-1])

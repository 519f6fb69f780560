"""Answers identical requests from memory: bounded in size and age, whole successful replies only.

Requests are identical if method, path with query, body (as JSON, whatever the order of its keys), credentials and
accepted encodings are. A streamed request differs from one that is not by its body.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from multidict import CIMultiDict

from probe_ext.tap.traffic.keyed_hash import KeyedHash
from probe_ext.tap.traffic.reply_meter import ReplyFacts
from probe_ext.tap.traffic.request_facts import endpoint_of, owner_of, parse_body

CACHE_HEADER = "x-probe-cache"
_BYPASSES = frozenset({"no-cache", "no-store"})
_KNOWN_VARIATIONS = frozenset({"", "accept-encoding", "origin", "authorization"})
_OVERHEAD_BYTES = 1000
"""of one stored reply beside its bytes"""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A whole reply."""

    status: int
    reason: str
    headers: CIMultiDict[str]
    pieces: tuple[bytes, ...]
    """the body, in the pieces in which it came"""
    stored_at: float
    """monotonic seconds"""
    facts: ReplyFacts
    """as measured when it came from the server"""

    @property
    def size(self) -> int:
        """Return about how many bytes of memory it takes."""
        head = sum(len(name) + len(value) for name, value in self.headers.items())
        return head + sum(map(len, self.pieces)) + sum(map(len, self.facts.texts)) + _OVERHEAD_BYTES


class ResponseCache:
    """Stored replies by request. The one that was not used for longest goes first."""

    def __init__(self, max_bytes: int, max_age: float) -> None:
        """`max_age`: seconds after which a reply is not used any more."""
        self._max_bytes, self._max_age = max_bytes, max_age
        self._replies: OrderedDict[bytes, StoredReply] = OrderedDict()
        self._hashes = KeyedHash()
        self.bytes = 0

    def key(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes | None:
        """Return the key of a request; None if it is not to be answered from memory. Header names in lower case."""
        if endpoint_of(method, path.partition("?")[0]) == "other" or "content-encoding" in headers:
            return None
        asked = {token.strip().lower() for token in headers.get("cache-control", "").split(",")}
        content = parse_body(body)
        if content is None or asked & _BYPASSES:
            return None
        try:
            canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # nested too deeply
            return None
        owner, encodings = owner_of(headers, self._hashes), headers.get("accept-encoding", "")
        return self._hashes.digest(path, owner, encodings, canonical, size=16)

    def find(self, key: bytes, now: float) -> StoredReply | None:
        """Return a stored reply that is not too old."""
        reply = self._replies.get(key)
        if reply is None:
            return None
        if now - reply.stored_at > self._max_age:
            self._drop(key)
            return None
        self._replies.move_to_end(key)
        return reply

    def may_store(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether a reply with this head may be stored, if it becomes whole. Header names in lower case."""
        variations = {token.strip().lower() for token in headers.get("vary", "").split(",")}
        directives = {token.strip().lower() for token in headers.get("cache-control", "").split(",")}
        return (
            status == 200
            and "set-cookie" not in headers
            and variations <= _KNOWN_VARIATIONS
            and "no-store" not in directives
        )

    def room_for(self, size: int) -> bool:
        """Whether a reply of so many bytes could be stored at all: at most a quarter of the cache."""
        return size <= self._max_bytes / 4

    def store(self, key: bytes, reply: StoredReply) -> None:
        """Store a whole reply, in place of older ones."""
        if not self.room_for(reply.size):
            return
        if key in self._replies:
            self._drop(key)
        self._replies[key] = reply
        self.bytes += reply.size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._replies)))

    def _drop(self, key: bytes) -> None:
        self.bytes -= self._replies.pop(key).size


class CacheDraft:
    """One request on its way through the cache: looked up, and its reply collected to be stored."""

    def __init__(self, cache: ResponseCache, method: str, path: str, headers: Mapping[str, str]) -> None:
        """`headers`: of the request, by names in lower case."""
        self._cache, self._request = cache, (method, path, headers)
        self._key: bytes | None = None
        self._head: tuple[int, str, CIMultiDict[str]] | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def find(self, body: bytes | None, now: float) -> StoredReply | None:
        """Return the stored reply to a request with this body."""
        self._key = self._cache.key(*self._request, body)
        return None if self._key is None else self._cache.find(self._key, now)

    def take_head(self, status: int, reason: str, headers: CIMultiDict[str], known: Mapping[str, str]) -> bool:
        """Note the head of the server's reply; return whether the request is one that the cache may answer."""
        if self._key is not None and self._cache.may_store(status, known):
            self._head = (status, reason, headers.copy())
        return self._key is not None

    def take_piece(self, piece: bytes) -> None:
        """Note a piece of the reply's body."""
        if self._head is None:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if not self._cache.room_for(self._size):
            self._head = None
            self._pieces.clear()

    def store(self, now: float, facts: ReplyFacts) -> None:
        """Store the reply, which is whole and a success."""
        if self._key is not None and self._head is not None:
            self._cache.store(self._key, StoredReply(*self._head, tuple(self._pieces), now, facts))

"""Hashes that mean nothing outside one recording: keyed with a salt that is never written."""

import os
from collections.abc import Iterable
from hashlib import blake2b

from probe_ext.recording.recorded_request import BLOCK_CHARACTERS

_DIGEST_BYTES = 8
_BLOCK_DIGEST_BYTES = 6  # many in each line


class KeyedHash:
    """Hashes text with a salt of its own; another instance gives other hashes of the same text."""

    def __init__(self, salt: bytes | None = None) -> None:
        self._salt = salt or os.urandom(32)

    def digest(self, *parts: str | bytes, size: int = _DIGEST_BYTES) -> bytes:
        """Return the hash of several parts; where one part ends and the next begins matters."""
        state = blake2b(digest_size=size, key=self._salt)
        for part in parts:
            data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
            state.update(len(data).to_bytes(8))
            state.update(data)
        return state.digest()

    def name(self, *parts: str | bytes) -> str:
        """Return the same as text."""
        return self.digest(*parts).hex()

    def chain(self, parts: Iterable[str]) -> list[bytes]:
        """Return a hash of each part that includes all before it."""
        digests, before = [], b""
        for part in parts:
            before = self.digest(before, part)
            digests.append(before)
        return digests

    def blocks(self, text: str) -> list[bytes]:
        """Return a hash of each whole block of text that includes all before it."""
        digests, before = [], b""
        for end in range(BLOCK_CHARACTERS, len(text) + 1, BLOCK_CHARACTERS):
            before = self.digest(before, text[end - BLOCK_CHARACTERS : end], size=_BLOCK_DIGEST_BYTES)
            digests.append(before)
        return digests

"""Which text of a prompt earlier prompts contained: at its start, where a prefix cache finds it, and further on."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from probe_ext.recording.recorded_request import BLOCK_CHARACTERS
from probe_ext.tap.bounded_table import BoundedTable

MAX_BLOCKS = 200_000
MAX_PIECES = 200_000
_SEARCHED_CHARACTERS = 16 * 1024
"""behind the shared start of a prompt; longer static prompts are seen in part"""
_MIN_PIECE_CHARACTERS = 24
_WORDS_PER_PIECE = 8
_WORD = re.compile(r"\S+\s*")
_SHARED = ""
"""instead of a session: several sessions had this piece"""


class Seen(NamedTuple):
    """Characters of a prompt that earlier ones contained."""

    prefix: int
    later: int


class PrefixMemory:
    """Remembers blocks and pieces of recent prompts, as hashes."""

    def __init__(self) -> None:
        self._blocks: BoundedTable[bytes, bool] = BoundedTable(MAX_BLOCKS)
        self._pieces: BoundedTable[int, str] = BoundedTable(MAX_PIECES)

    def add(self, blocks: Sequence[bytes], ends: Sequence[tuple[int, bytes]], text: str, session: str) -> Seen:
        """Return what of a prompt was seen before, and remember it.

        `blocks`: hashes of its blocks; `ends`: where its messages end, each with a hash of all up to there.
        """
        places = [*((n * BLOCK_CHARACTERS, block) for n, block in enumerate(blocks, 1)), *ends]
        start = max((place for place, block in places if self._blocks.get(block)), default=0)
        for _, block in places:
            self._blocks.put(block, True)
        return Seen(start, self._add_pieces(text[start : start + _SEARCHED_CHARACTERS], session))

    def _add_pieces(self, text: str, session: str) -> int:
        found, differs = 0, False
        for piece in pieces(text):
            key = hash(piece)  # randomly keyed in each process, and never written
            owner = self._pieces.get(key)
            elsewhere = owner is not None and owner != session
            if elsewhere and differs:
                found += len(piece)
            differs = differs or not elsewhere
            self._pieces.put(key, _SHARED if elsewhere else session)
        return found


def pieces(text: str) -> Iterator[str]:
    """Split text where its words say so, so that equal text gives equal pieces wherever it stands."""
    start = 0
    for word in _WORD.finditer(text):
        if crc32(word[0].encode("utf-8", "surrogatepass")) % _WORDS_PER_PIECE == 0:
            if word.end() - start >= _MIN_PIECE_CHARACTERS:
                yield text[start : word.end()]
            start = word.end()

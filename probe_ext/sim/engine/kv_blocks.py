"""The paged KV cache: blocks of fixed size, shared by hash, evicted least recently used first.

As in vLLM V1 (``v1/core/block_pool.py``): one block is the null block and never handed out; a block that no request
holds but whose content is known stays findable *and counts as free*; taking it for something else forgets it; a
request's blocks are freed tail first, so that the heads of prompts survive longest.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

NULL_BLOCKS = 1


class OutOfBlocksError(RuntimeError):
    """More blocks were taken than were free: a fault of the caller, who has to ask first."""


class BlockPool:
    """Numbered blocks with reference counts. Sizes are in blocks, ``block_size`` in tokens."""

    def __init__(self, num_blocks: int, block_size: int, caching: bool) -> None:
        self.block_size = block_size
        self.caching = caching
        self.usable = num_blocks - NULL_BLOCKS
        self._fresh = NULL_BLOCKS
        self._end = num_blocks
        # Blocks from _fresh on were never used; they come before any that was freed, and cost nothing until used.
        self._freed: OrderedDict[int, None] = OrderedDict()
        self._holders: dict[int, int] = {}
        self._hash_of: dict[int, int] = {}
        self._by_hash: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Blocks that can be taken now, cached content or not."""
        return self._end - self._fresh + len(self._freed)

    @property
    def usage(self) -> float:
        """Share of the usable blocks that requests hold: 0 to 1."""
        return len(self._holders) / self.usable

    def find(self, hashes: Iterable[int]) -> list[int]:
        """The blocks of the longest known prefix."""
        found: list[int] = []
        if self.caching:
            for key in hashes:
                block = self._by_hash.get(key)
                if block is None:
                    break
                found.append(block)
        return found

    def idle(self, blocks: Iterable[int]) -> int:
        """How many of these nobody holds: sharing them uses up free blocks."""
        return sum(1 for block in blocks if block not in self._holders)

    def share(self, blocks: Iterable[int]) -> None:
        """Hold blocks that were found."""
        for block in blocks:
            if block not in self._holders:
                del self._freed[block]
            self._holders[block] = self._holders.get(block, 0) + 1

    def take(self, count: int) -> list[int]:
        """Hold ``count`` fresh blocks; what they cached is forgotten, the longest unused first."""
        if count > self.free:
            raise OutOfBlocksError(f"{count} blocks wanted, {self.free} free")
        taken = [self._next() for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of a request's blocks, tail first."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                self._freed[block] = None

    def publish(self, block: int, key: int) -> None:
        """Make a full block findable; the first of two with equal content stays the one that is found."""
        if self.caching and key not in self._by_hash:
            self._by_hash[key] = block
            self._hash_of[block] = key

    def _next(self) -> int:
        if self._fresh < self._end:
            self._fresh += 1
            return self._fresh - 1
        block, _ = self._freed.popitem(last=False)
        key = self._hash_of.pop(block, None)
        if key is not None:
            del self._by_hash[key]
        return block


def chain(previous: int, tokens: Sequence[int]) -> int:
    """Hash of a full block that also stands for everything before it (integers hash alike in every process)."""
    return hash((previous, *tokens))

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
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(NULL_BLOCKS, num_blocks))
        self._holders = [0] * num_blocks
        self._hash_of: dict[int, int] = {}
        self._by_hash: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Blocks that can be taken now, cached content or not."""
        return len(self._free)

    @property
    def usage(self) -> float:
        """Share of the usable blocks that requests hold: 0 to 1."""
        return (self.usable - len(self._free)) / self.usable

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
        return sum(1 for block in blocks if not self._holders[block])

    def share(self, blocks: Iterable[int]) -> None:
        """Hold blocks that were found."""
        for block in blocks:
            if not self._holders[block]:
                del self._free[block]
            self._holders[block] += 1

    def take(self, count: int) -> list[int]:
        """Hold ``count`` fresh blocks; what they cached is forgotten, the longest unused first."""
        if count > len(self._free):
            raise OutOfBlocksError(f"{count} blocks wanted, {len(self._free)} free")
        taken = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
            self._forget(block)
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of a request's blocks, tail first."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                self._free[block] = None

    def publish(self, block: int, key: int) -> None:
        """Make a full block findable; the first of two with equal content stays the one that is found."""
        if self.caching and key not in self._by_hash:
            self._by_hash[key] = block
            self._hash_of[block] = key

    def _forget(self, block: int) -> None:
        key = self._hash_of.pop(block, None)
        if key is not None:
            del self._by_hash[key]


def chain(previous: int, tokens: Sequence[int]) -> int:
    """Hash of a full block that also stands for everything before it (integers hash alike in every process)."""
    return hash((previous, *tokens))

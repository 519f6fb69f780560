"""The paged KV cache: fixed-size blocks, shared by hash, evicted least recently used first.

As in vLLM V1 (``v1/core/block_pool.py``): one block is the null block and is never allocated. A cached block without
references can still be found *and counts as free*; allocating it evicts its content. A request's blocks are freed from
the tail, so that the beginnings of prompts stay cached longest.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

NULL_BLOCKS = 1


class OutOfBlocksError(RuntimeError):
    """More blocks were requested than are free; callers must check first."""


class BlockPool:
    """Numbered blocks with reference counts. Sizes are in blocks, ``block_size`` is in tokens."""

    def __init__(self, num_blocks: int, block_size: int, caching: bool) -> None:
        self.block_size = block_size
        self.caching = caching
        self.usable = num_blocks - NULL_BLOCKS
        self._first_unused = NULL_BLOCKS
        self._num_blocks = num_blocks
        # Blocks from _first_unused on have never been used; they are allocated before any freed block.
        self._free_queue: OrderedDict[int, None] = OrderedDict()
        self._references: dict[int, int] = {}
        self._hash_of: dict[int, int] = {}
        self._by_hash: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Blocks that can be allocated now, cached or not."""
        return self._num_blocks - self._first_unused + len(self._free_queue)

    @property
    def usage(self) -> float:
        """Fraction of the usable blocks that are referenced."""
        return len(self._references) / self.usable

    def find_prefix(self, hashes: Iterable[int]) -> list[int]:
        """Return the blocks of the longest cached prefix."""
        found: list[int] = []
        if self.caching:
            for block_hash in hashes:
                block = self._by_hash.get(block_hash)
                if block is None:
                    break
                found.append(block)
        return found

    def count_unreferenced(self, blocks: Iterable[int]) -> int:
        """Count the blocks without references: reusing them takes them from the free blocks."""
        return sum(1 for block in blocks if block not in self._references)

    def reuse(self, blocks: Iterable[int]) -> None:
        """Add a reference to cached blocks."""
        for block in blocks:
            if block not in self._references:
                del self._free_queue[block]
            self._references[block] = self._references.get(block, 0) + 1

    def allocate(self, count: int) -> list[int]:
        """Allocate ``count`` blocks, evicting the least recently used cached content if needed."""
        if count > self.free:
            raise OutOfBlocksError(f"{count} blocks requested, {self.free} free")
        allocated = [self._pop_free() for _ in range(count)]
        for block in allocated:
            self._references[block] = 1
        return allocated

    def release(self, blocks: Sequence[int]) -> None:
        """Drop a request's references, tail first."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if not self._references[block]:
                del self._references[block]
                self._free_queue[block] = None

    def cache_block(self, block: int, block_hash: int) -> None:
        """Make a full block findable; of two blocks with the same content, the first stays the cached one."""
        if self.caching and block_hash not in self._by_hash:
            self._by_hash[block_hash] = block
            self._hash_of[block] = block_hash

    def _pop_free(self) -> int:
        if self._first_unused < self._num_blocks:
            self._first_unused += 1
            return self._first_unused - 1
        block, _ = self._free_queue.popitem(last=False)
        block_hash = self._hash_of.pop(block, None)
        if block_hash is not None:
            del self._by_hash[block_hash]
        return block


def hash_block(previous: int, tokens: Sequence[int]) -> int:
    """Hash a full block together with everything before it (integers hash alike in every process)."""
    return hash((previous, *tokens))

"""The block pool: reference counts, free blocks and eviction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.sim.engine.kv_blocks import BlockPool, OutOfBlocksError, hash_block


@given(st.lists(st.tuples(st.sampled_from(["take", "release", "share"]), st.integers(0, 6)), max_size=60))
def test_referenced_and_free_blocks_add_up_to_all_blocks(actions: list[tuple[str, int]]) -> None:
    pool, references = BlockPool(17, 4, caching=True), []
    for action, amount in actions:
        if action == "take" and amount <= pool.free:
            references.append(pool.allocate(amount))
        elif action == "share" and references:
            pool.reuse(references[amount % len(references)])
            references.append(list(references[amount % len(references)]))
        elif action == "release" and references:
            pool.release(references.pop(amount % len(references)))
        distinct = {block for blocks in references for block in blocks}
        assert pool.free == 16 - len(distinct)
        assert pool.usage == len(distinct) / 16
        assert 0 not in distinct


def test_cached_blocks_count_as_free_and_stay_findable_until_allocated() -> None:
    pool = BlockPool(4, 4, caching=True)
    blocks = pool.allocate(2)
    keys = [hash_block(0, (1, 2, 3, 4)), hash_block(1, (5, 6, 7, 8))]
    for block, key in zip(blocks, keys, strict=True):
        pool.cache_block(block, key)
    pool.release(blocks)
    assert pool.free == 3
    assert pool.find_prefix(keys) == blocks
    assert pool.count_unreferenced(blocks) == 2
    pool.allocate(2)  # the unused block, then the tail of the prompt
    assert pool.find_prefix(keys) == blocks[:1]


def test_the_least_recently_used_block_is_evicted_first() -> None:
    pool = BlockPool(3, 4, caching=True)
    old, young = pool.allocate(1), pool.allocate(1)
    pool.cache_block(old[0], 1)
    pool.cache_block(young[0], 2)
    pool.release(old)
    pool.release(young)
    pool.reuse(pool.find_prefix([1]))
    pool.release(old)
    assert pool.allocate(1) == young
    assert pool.find_prefix([1]) == old


def test_only_the_first_of_two_blocks_with_equal_content_is_cached() -> None:
    pool = BlockPool(4, 4, caching=True)
    first, second = pool.allocate(2)
    pool.cache_block(first, 9)
    pool.cache_block(second, 9)
    assert pool.find_prefix([9]) == [first]


def test_allocating_more_blocks_than_are_free_is_an_error() -> None:
    with pytest.raises(OutOfBlocksError, match="5 blocks requested, 3 free"):
        BlockPool(4, 4, caching=False).allocate(5)


def test_nothing_is_found_with_caching_off() -> None:
    pool = BlockPool(4, 4, caching=False)
    pool.cache_block(pool.allocate(1)[0], 9)
    assert pool.find_prefix([9]) == []

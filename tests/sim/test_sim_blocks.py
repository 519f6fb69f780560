"""The block pool: reference counts, what counts as free, and who is evicted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.sim.engine.kv_blocks import BlockPool, OutOfBlocksError, hash_block


@given(st.lists(st.tuples(st.sampled_from(["take", "release", "share"]), st.integers(0, 6)), max_size=60))
def test_held_and_free_blocks_are_always_all_blocks(actions: list[tuple[str, int]]) -> None:
    pool, held = BlockPool(17, 4, caching=True), []
    for action, amount in actions:
        if action == "take" and amount <= pool.free:
            held.append(pool.allocate(amount))
        elif action == "share" and held:
            pool.reuse(held[amount % len(held)])
            held.append(list(held[amount % len(held)]))
        elif action == "release" and held:
            pool.release(held.pop(amount % len(held)))
        distinct = {block for blocks in held for block in blocks}
        assert pool.free == 16 - len(distinct)
        assert pool.usage == len(distinct) / 16
        assert 0 not in distinct


def test_cached_blocks_are_free_until_taken_and_found_until_then() -> None:
    pool = BlockPool(4, 4, caching=True)
    blocks = pool.allocate(2)
    keys = [hash_block(0, (1, 2, 3, 4)), hash_block(1, (5, 6, 7, 8))]
    for block, key in zip(blocks, keys, strict=True):
        pool.cache_block(block, key)
    pool.release(blocks)
    assert pool.free == 3
    assert pool.find_prefix(keys) == blocks
    assert pool.count_unreferenced(blocks) == 2
    pool.allocate(2)  # the unused one, then the tail of the prompt
    assert pool.find_prefix(keys) == blocks[:1]


def test_what_was_used_last_is_evicted_last() -> None:
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


def test_equal_content_is_found_once() -> None:
    pool = BlockPool(4, 4, caching=True)
    first, second = pool.allocate(2)
    pool.cache_block(first, 9)
    pool.cache_block(second, 9)
    assert pool.find_prefix([9]) == [first]


def test_taking_more_than_there_is_is_refused() -> None:
    with pytest.raises(OutOfBlocksError, match="5 blocks requested, 3 free"):
        BlockPool(4, 4, caching=False).allocate(5)


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(4, 4, caching=False)
    pool.cache_block(pool.allocate(1)[0], 9)
    assert pool.find_prefix([9]) == []

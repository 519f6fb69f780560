"""The block pool: reference counts, what counts as free, and who is evicted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.sim.engine.kv_blocks import BlockPool, OutOfBlocksError, chain


@given(st.lists(st.tuples(st.sampled_from(["take", "release", "share"]), st.integers(0, 6)), max_size=60))
def test_held_and_free_blocks_are_always_all_blocks(actions: list[tuple[str, int]]) -> None:
    pool, held = BlockPool(17, 4, caching=True), []
    for action, amount in actions:
        if action == "take" and amount <= pool.free:
            held.append(pool.take(amount))
        elif action == "share" and held:
            pool.share(held[amount % len(held)])
            held.append(list(held[amount % len(held)]))
        elif action == "release" and held:
            pool.release(held.pop(amount % len(held)))
        distinct = {block for blocks in held for block in blocks}
        assert pool.free == 16 - len(distinct)
        assert pool.usage == len(distinct) / 16
        assert 0 not in distinct


def test_cached_blocks_are_free_until_taken_and_found_until_then() -> None:
    pool = BlockPool(4, 4, caching=True)
    blocks = pool.take(2)
    keys = [chain(0, (1, 2, 3, 4)), chain(1, (5, 6, 7, 8))]
    for block, key in zip(blocks, keys, strict=True):
        pool.publish(block, key)
    pool.release(blocks)
    assert pool.free == 3
    assert pool.find(keys) == blocks
    assert pool.idle(blocks) == 2
    pool.take(2)  # the unused one, then the tail of the prompt
    assert pool.find(keys) == blocks[:1]


def test_what_was_used_last_is_evicted_last() -> None:
    pool = BlockPool(3, 4, caching=True)
    old, young = pool.take(1), pool.take(1)
    pool.publish(old[0], 1)
    pool.publish(young[0], 2)
    pool.release(old)
    pool.release(young)
    pool.share(pool.find([1]))
    pool.release(old)
    assert pool.take(1) == young
    assert pool.find([1]) == old


def test_equal_content_is_found_once() -> None:
    pool = BlockPool(4, 4, caching=True)
    first, second = pool.take(2)
    pool.publish(first, 9)
    pool.publish(second, 9)
    assert pool.find([9]) == [first]


def test_taking_more_than_there_is_is_refused() -> None:
    with pytest.raises(OutOfBlocksError, match="5 blocks wanted, 3 free"):
        BlockPool(4, 4, caching=False).take(5)


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(4, 4, caching=False)
    pool.publish(pool.take(1)[0], 9)
    assert pool.find([9]) == []

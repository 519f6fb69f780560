"""A set of batch numbers, added in any order."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.swarm.link.sequence_set import SequenceSet


@given(st.lists(st.integers(1, 60), max_size=120))
def test_behaves_like_a_set(came: list[int]) -> None:
    numbers, known = SequenceSet(), set()
    for number in came:
        numbers.add(number)
        known.add(number)
        assert all((n in numbers) == (n in known) for n in range(1, 62))
        assert numbers.highest == max(known)
        assert numbers.complete_up_to == next(n for n in range(62) if n + 1 not in known)


def test_numbers_in_order_take_no_memory() -> None:
    numbers = SequenceSet()
    for number in range(1, 100_000):
        numbers.add(number)
    assert not numbers._beyond

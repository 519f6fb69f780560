"""Bins of sketches are the same, counted by numpy or one by one."""

from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure import sketch
from probe_ext.swarm.users.bin_counts import bin_counts


@given(st.lists(st.one_of(st.just(0.0), st.floats(-1.0, 1e6)), min_size=1, max_size=50))
def test_bins_are_counted_as_by_a_loop(values: list[float]) -> None:
    arguments = values, sketch._SCALE, sketch.FLOOR
    assert bin_counts(*arguments) == sketch._count_bins(*arguments)

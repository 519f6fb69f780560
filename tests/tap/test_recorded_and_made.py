"""Users of a known workload, recorded, and the workload made from the recording, against the same simulated server."""

from pathlib import Path

import pytest

from probe_ext.tap.derived.distribution_fits import distance_between
from scripts.tap.study import recorded_and_made


@pytest.mark.untraced
def test_a_workload_made_from_a_recording_sends_what_was_recorded(tmp_path: Path) -> None:
    """Bounds are wide: some hundred requests differ by chance, and this is about faults. `make study-tap` is exact."""
    recorded, made, kinds = recorded_and_made(1, tmp_path, users=12, seconds=3.0)
    assert kinds == 2
    assert {each.outcome for each in (*recorded, *made)} == {"complete"}
    for name in ("input_tokens", "output_tokens"):
        one, two = ([getattr(each, name) for each in lines] for lines in (recorded, made))
        assert None not in one
        assert distance_between(one, two) < 0.35
    shares = [sum(each.stream for each in lines) / len(lines) for lines in (recorded, made)]
    assert abs(shares[0] - shares[1]) < 0.25

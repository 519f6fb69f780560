"""Replies in flight and typing at once."""

import numpy as np
import pytest

from probe_ext.verdict.diagnosis.facts import concurrency
from probe_ext.verdict.diagnosis.facts.concurrency import crowd
from probe_ext.verdict.levels.find_levels import Level


def test_three_replies_of_which_two_type_at_once() -> None:
    replies = {
        "sent": np.array([0.0, 2.0, 4.0, np.nan]),
        "first": np.array([1.0, 3.0, np.nan, np.nan]),
        "last": np.array([5.0, 7.0, np.nan, np.nan]),
        "end": np.array([6.0, 8.0, 9.0, np.nan]),
    }
    found = crowd(replies, Level(3, 3, 3, 1.0, 11.0, False))
    assert found is not None
    assert found.in_flight == pytest.approx((5 + 6 + 5) / 10)
    assert found.typing == pytest.approx((4 + 4) / 10)
    assert found.crowded == pytest.approx(6)  # from 2 to 8
    assert found.together == pytest.approx(2 / 6)  # from 3 to 5
    assert found.any_typing == pytest.approx(5 / 6)  # from 2 to 7
    assert found.typing_top == 2


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_counting_in_parts_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    sent = rng.uniform(0, 50, 200).round(1)
    replies = {"sent": sent, "first": sent + 0.5, "last": sent + rng.uniform(1, 4, 200), "end": sent + 5.0}
    level = Level(20, 20, 20, 5.0, 40.0, False)
    whole = crowd(replies, level)
    monkeypatch.setattr(concurrency, "_COUNTED_AT_ONCE", at_once)
    in_parts = crowd(replies, level)
    assert whole is not None
    assert in_parts is not None
    for name in concurrency.Crowd.__dataclass_fields__:
        assert getattr(in_parts, name) == pytest.approx(getattr(whole, name))

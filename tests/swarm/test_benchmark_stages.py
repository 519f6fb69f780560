"""The stages that the benchmarks time are functions of the package, and each is counted once."""

import time
from typing import Any

import pytest

from benchmarks import results, stages


def test_every_stage_can_be_timed_and_every_remedy_is_of_one() -> None:
    assert all(callable(getattr(owner, name)) for _, owner, name in stages.STAGES)
    named = [stage for stage, _, _ in stages.STAGES]
    assert len(named) == len(set(named))
    assert set(results.REPLY_STAGES) <= set(named)


def test_a_stage_excludes_those_that_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([0.0, 1.0, 3.0, 6.0])  # outer begins, inner begins, inner ends, outer ends
    monkeypatch.setattr(time, "thread_time", lambda: next(used))
    monkeypatch.setattr(stages, "used", lambda: {"main": (0.0, 0.0)})
    monkeypatch.setattr(stages, "WARM_UP_S", 0.0)
    timer = stages.StageTimer()
    inner = timer.timed("inner", lambda: None)
    outer: Any = timer.timed("outer", inner)
    outer()
    assert timer.seconds == {"inner": 2.0, "outer": 4.0}

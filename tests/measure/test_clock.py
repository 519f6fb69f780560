"""The clock's texts, and two axes read at one moment."""

import time
from collections.abc import Iterator

import pytest

from probe_ext.measure import clock


def test_utc_text_is_iso_with_milliseconds_and_a_z() -> None:
    assert clock.utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert clock.utc_text(1795214602.25) == "2026-11-20T22:43:22.250Z"


def test_compact_text_sorts_by_time_and_is_safe_in_a_file_name() -> None:
    texts = [clock.utc_compact(t) for t in (0.0, 59.9, 86399.0, 1795214602.9)]
    assert texts[-1] == "20261120T224322Z"
    assert texts == sorted(texts)
    assert all(text.isalnum() for text in texts)


def test_durations_come_from_a_clock_that_is_never_stepped() -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    ours, after = clock.monotonic(), time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= ours <= after
    assert time.get_clock_info("monotonic").adjustable is False


def test_both_axes_are_read_at_one_moment() -> None:
    monotonic, wall = clock.both()
    later_monotonic, later_wall = clock.both()
    assert later_monotonic >= monotonic
    assert later_wall - wall == pytest.approx((later_monotonic - monotonic) * 1e9, abs=50e6)


def test_a_core_lost_between_the_two_readings_is_noticed_and_they_are_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic: Iterator[float] = iter([1.0, 1.5, 2.0, 2.0000005])
    wall: Iterator[int] = iter([100, 200])
    monkeypatch.setattr(clock.time, "monotonic", lambda: next(monotonic))
    monkeypatch.setattr(clock.time, "time_ns", lambda: next(wall))
    assert clock.both() == (2.0000005, 200)


def test_a_machine_that_never_gives_the_time_of_two_readings_still_gets_an_answer_that_is_late_not_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic = iter(float(k) for k in range(100))
    monkeypatch.setattr(clock.time, "monotonic", lambda: next(monotonic))
    monkeypatch.setattr(clock.time, "time_ns", lambda: 7)
    after, wall = clock.both()
    assert wall == 7
    assert after % 2 == 1  # the later of a pair


def test_cpu_time_grows_with_work_and_not_with_sleep() -> None:
    start = clock.cpu()
    time.sleep(0.05)
    slept = clock.cpu() - start
    while clock.cpu() - start < slept + 0.02:
        sum(range(1000))
    assert clock.cpu() - start > slept
